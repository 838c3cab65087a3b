"""Groups of a slice are compared through the evaluator: over all rows, within slices, and as labels change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from otel_ml_metrics.errors import ConfigurationError, LedgerMismatchError
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CRITERIA: Final = ("demographic_parity", "equal_opportunity", "equalized_odds", "predictive_parity")
DECLARED: Final[list[Any]] = [
    "accuracy",
    *(
        {"measure": f"{name}_{how}", "over": "carrier", "name": f"{name}_{how}"}
        for name in CRITERIA
        for how in ("difference", "ratio")
    ),
]
RATES: Final[dict[str, list[Callable[[Any, Any], Any]]]] = {
    "demographic_parity": [lambda _, d: d.mean()],
    "equal_opportunity": [lambda y, d: d[y].mean()],
    "equalized_odds": [lambda y, d: d[y].mean(), lambda y, d: d[~y].mean()],
    "predictive_parity": [lambda y, d: y[d].mean()],
}


def _world(folder: Path, size: int = 240) -> tuple[World, list[Prediction], dict[str, bool]]:
    chance = np.random.default_rng(8)
    world = World(folder)
    rows = [
        Prediction(
            id=f"p-{at}",
            predicted_at=START + at * HOUR / 20,
            score=round(float(chance.random()), 6),
            prediction=bool(chance.random() < 0.3 + 0.1 * (at % 3)),
            carrier=("UA", "AA", "DL", None)[at % 4],
            origin=("EWR", "JFK")[at // 7 % 2],
        )
        for at in range(size)
    ]
    world.log(rows)
    return world, rows, {each.id: bool(chance.random() < 0.5) for each in rows}


def _expected(name: str, how: str, rows: list[Prediction], labels: dict[str, bool]) -> float:
    found = []
    for rate in RATES[name]:
        rates = [
            rate(
                np.array([labels[each.id] for each in rows if each.carrier == carrier]),
                np.array([bool(each.prediction) for each in rows if each.carrier == carrier]),
            )
            for carrier in ("UA", "AA", "DL")
        ]
        found.append(max(rates) - min(rates) if how == "difference" else min(rates) / max(rates))
    return float(max(found) if how == "difference" else min(found))


def test_groups_are_compared_over_all_rows_and_within_slices(tmp_path: Path) -> None:
    """After revisions, every criterion is that of the rows; a missing carrier is no group; crossed slices compare."""
    world, rows, labels = _world(tmp_path)
    slices = ["carrier", "origin", ["carrier", "origin"]]
    world.label(Fact(id=name, label=not label, received_at=START + 15 * HOUR) for name, label in labels.items())
    world.run(START + 15.5 * HOUR, measures=DECLARED, slices=slices)
    world.label(Fact(id=name, label=label, received_at=START + 16 * HOUR) for name, label in labels.items())

    report = world.run(START + 3 * DAY, measures=DECLARED, slices=slices)

    found = {(each.measure, tuple(each.slice.items())): each for each in report.values}
    for name in CRITERIA:
        for how in ("difference", "ratio"):
            for origin in (None, "EWR", "JFK"):
                members = [each for each in rows if origin in {None, each.origin}]
                value = found[f"{name}_{how}", (("origin", origin),) if origin else ()]
                assert value.value == pytest.approx(_expected(name, how, members, labels)), (name, how, origin)
                assert value.support == len(members)
    assert not [each for each in report.values if each.measure != "accuracy" and "carrier" in each.slice]
    assert report.undefined == {}


def test_slices_that_are_not_crossed_are_not_compared(tmp_path: Path) -> None:
    """Without the crossed slice there are no sums per carrier and origin: nothing is said, and nothing counted."""
    world, _, labels = _world(tmp_path)
    world.label(Fact(id=name, label=label, received_at=START + 15 * HOUR) for name, label in labels.items())

    report = world.run(START + 3 * DAY, measures=DECLARED, slices=["carrier", "origin"])

    assert {tuple(each.slice) for each in report.values if each.measure != "accuracy"} == {()}
    assert report.undefined == {}


def test_groups_with_too_few_rows_are_not_compared(tmp_path: Path) -> None:
    """The minimum support holds for every group on its own, be there enough rows together."""
    world, _, labels = _world(tmp_path)
    world.label(Fact(id=name, label=label, received_at=START + 15 * HOUR) for name, label in labels.items())

    report = world.run(START + 3 * DAY, measures=DECLARED, slices=["carrier"], minimum_support=61)

    assert {each.measure for each in report.values} == {"accuracy"}
    assert report.undefined["fewer_than_two_groups"] == 8


def test_one_group_is_undefined(tmp_path: Path) -> None:
    """There is nothing to compare it with, and the reason is counted."""
    world = World(tmp_path)
    world.log([Prediction()])
    world.label([Fact()])

    report = world.run(START + 3 * DAY, measures=DECLARED, slices=["carrier"])

    assert {each.measure for each in report.values} == {"accuracy"}
    assert report.undefined == {"fewer_than_two_groups": 8}


def test_at_a_threshold_weighted_and_with_an_interval(tmp_path: Path) -> None:
    """What can be asked of other measures can be asked of these."""
    world, rows, labels = _world(tmp_path)
    world.label(Fact(id=name, label=label, received_at=START + 15 * HOUR) for name, label in labels.items())
    declared = [
        {"measure": "demographic_parity_difference", "over": "carrier", "threshold": 0.4, "interval": "bootstrap"}
    ]

    (value,) = world.run(START + 3 * DAY, measures=declared, slices=["carrier"]).values

    shares = [np.mean([(each.score or 0) >= 0.4 for each in rows if each.carrier == it]) for it in ("UA", "AA", "DL")]
    assert value.measure == "demographic_parity_difference_carrier_at_0.4"
    assert value.value == pytest.approx(max(shares) - min(shares))
    assert value.lower is not None
    assert value.upper is not None
    assert value.lower <= value.value <= value.upper < 1


def test_a_measure_stays_over_its_slice(tmp_path: Path) -> None:
    """The ledger knows over what groups it compared, and takes no other under the same name."""
    world = World(tmp_path)
    world.log([Prediction()])
    world.label([Fact()])
    slices = ["carrier", "origin"]
    world.run(START + 3 * DAY, measures=[DECLARED[1]], slices=slices)

    with pytest.raises(LedgerMismatchError, match="another expression"):
        world.run(START + 3 * DAY, measures=[DECLARED[1] | {"over": "origin"}], slices=slices)


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"measure": "demographic_parity_ratio", "over": "fare"}, "Name it under slices"),
        ("demographic_parity_ratio", "needs 'over' here"),
        ({"measure": "demographic_parity_ratio", "over": 3}, "expected a text"),
        ({"measure": "demographic_parity_ratio", "over": "carrier", "beta": 3}, "does not take 'beta'"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, declared: Any, told: str) -> None:
    """At set-up, with what to write instead."""
    with pytest.raises(ConfigurationError, match=told):
        World(tmp_path).evaluation(measures=[declared], slices=["carrier"])
