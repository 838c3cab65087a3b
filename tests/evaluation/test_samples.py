"""A share of the predictions, kept by id: the same in every run, with the labels that belong to it, and scaled up."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import pytest

from otel_ml_metrics.errors import ConfigurationError, LedgerMismatchError
from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation import oracle
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World, key_of, us
from tests.evaluation.oracle import Settings
from tests.importing.material import ForeignTableWorld, ForeignWorld

if TYPE_CHECKING:
    from collections.abc import Callable

LATER: Final = START + 4 * DAY
SHARE: Final = 0.25
SUMS: Final = ("missed_fares", "fares_at_stake")
"""Measures that grow with the number of rows."""


def is_kept(name: str, share: float = SHARE) -> bool:
    """The rule, written once more: the leading 32 bits of the digest are below a bound."""
    return int(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:8], 16) < round(share * 2**32)


def sampled(world: World) -> dict[str, Any]:
    """The predictions of a world, and a share of them."""
    own = {"path": str(world.folder / "predictions")}
    return (world.foreign if isinstance(world, ForeignWorld) else own) | {"sample": SHARE}


def write_history(world: World, count: int = 200) -> None:
    """Predictions with labels, and a label of a prediction that is not there."""
    world.log(
        [
            Prediction(
                id=f"p-{row}",
                predicted_at=START + row % 40 * HOUR,
                score=row / count,
                prediction=row % 3 == 0,
                customer=row % 50,
            )
            for row in range(count)
        ]
    )
    world.label([Fact(id=f"p-{row}", label=row % 2 == 0, received_at=START + 50 * HOUR) for row in range(count)])
    world.label([Fact(id=f"q-{row}", received_at=START + 50 * HOUR) for row in range(40)])


@pytest.mark.parametrize("make", [World, ForeignWorld, ForeignTableWorld])
def test_a_sample_is_brute_force_over_what_is_kept(tmp_path: Any, make: Callable[..., World]) -> None:
    """Support and coverage are of the rows kept, sums are scaled up, everything else is as it is."""
    world = make(tmp_path)
    write_history(world)
    settings = Settings(attribution_us=3 * oracle.DAY_US)

    with Evaluator(world.evaluation(settings, predictions=sampled(world)), environ={}) as evaluator:
        report = evaluator.run(as_of=START + 6 * DAY)
        found = {key_of(value): value for value in evaluator.as_of(START + 6 * DAY).values}

    kept = [row for row in world.predictions if is_kept(row.id)]
    said = [fact for fact in world.facts if is_kept(str(fact.id))]
    expected = oracle.values(kept, said, settings, us(START + 6 * DAY))
    assert sorted(found) == sorted(expected)
    for key, each in expected.items():
        scale = 1 / SHARE if key.measure in SUMS else 1
        assert found[key].support == each.support
        assert found[key].coverage == each.coverage
        assert found[key].value == pytest.approx(each.value * scale, abs=each.tolerance * scale)
    assert report.labels["matched"] == len(kept)
    assert report.labels["orphan"] + report.waiting == sum(is_kept(f"q-{row}") for row in range(40))


def test_labels_of_entities_keep_together(world: World) -> None:
    """Else an outcome could find another prediction than the one that it is of."""
    world.log(
        [
            Prediction(id=f"p-{row}-{turn}", predicted_at=START + turn * HOUR, customer=row)
            for row in range(60)
            for turn in range(2)
        ]
    )
    world.label(
        [Fact(id=None, customer=row, received_at=START + 3 * HOUR, occurred_at=START + 2 * HOUR) for row in range(60)]
    )
    settings = Settings(key=("customer",))

    with Evaluator(world.evaluation(settings, predictions=sampled(world)), environ={}) as evaluator:
        report = evaluator.run(as_of=LATER)

    kept = sum(is_kept(str(row)) for row in range(60))
    assert 0 < kept < 60
    assert (report.labels["matched"], report.waiting, report.labels["orphan"]) == (kept, 0, 0)
    assert {value.support for value in report.values if value.measure == "accuracy"} == {kept}
    assert {value.coverage for value in report.values} == {0.5}


def test_a_share_is_about_that_share(world: World) -> None:
    """Of ids of any form; the sum of something is about what it is over all rows."""
    world.log([Prediction(id=f"order/{row}", fare=1.0) for row in range(4_000)])
    total = [{"name": "n", "unit": "USD", "sum": "fare", "rows": "predictions", "description": "All of it"}]

    report = world.run(LATER, predictions=sampled(world), measures=total)

    [value] = report.values
    assert 4_000 * SHARE * 0.9 < value.support < 4_000 * SHARE * 1.1
    assert value.value == value.support / SHARE


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    """What is below one bound is below every higher one."""
    names = [f"p-{row}" for row in range(1_000)]

    assert {name for name in names if is_kept(name, 0.1)} < {name for name in names if is_kept(name, 0.5)}


def test_all_of_it_is_no_sample(world: World) -> None:
    """A share of 1 changes nothing, not even what the ledger holds."""
    write_history(world)
    whole = world.run(LATER)

    again = world.run(LATER, predictions={"path": str(world.folder / "predictions"), "sample": 1})

    assert again.values == ()
    assert again.labels == whole.labels


def test_another_share_needs_another_ledger(world: World) -> None:
    """Sums of two samples would be neither."""
    write_history(world)
    world.run(LATER)

    with pytest.raises(LedgerMismatchError, match=r"sample was None and is 0\.25"):
        world.run(LATER, predictions=sampled(world))


@pytest.mark.parametrize("share", [0, -0.5, 1.01, "all", True])
def test_what_is_no_share_is_refused(world: World, share: object) -> None:
    """The error says what would be."""
    with pytest.raises(ConfigurationError, match=r"predictions\.sample: .*a share above 0 and at most 1, such as 0.1"):
        world.evaluation(predictions={"path": "predictions", "sample": share})
