"""Which values breach a declared threshold, and which are never judged."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml_metrics.alerting import judge
from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.evaluation_report import Value
from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_ml_metrics.alerting import Breach
    from otel_ml_metrics.declared_alerts import Alert

LATER = START + 30 * DAY


def alert(**said: Any) -> Alert:
    """One alert, as an evaluation reads it; without minimums where it names none."""
    evaluation = Evaluation(
        model="m",
        predictions="p",
        labels={"path": "l"},
        ledger="sqlite:///l.db",
        attribution_window="1d",
        maturities=["6h"],
        slices=["carrier"],
        measures=["accuracy", {"name": "loss", "unit": "USD", "sum": "fare", "description": "Fares lost"}],
        alerts=[{"measure": "accuracy", "minimum_support": 1, "minimum_coverage": 0} | said],
    )
    return evaluation.alerts[0]


def value(number: float, *, day: int = 0, **other: Any) -> Value:
    """A final value of a daily window."""
    given: dict[str, Any] = {
        "measure": "accuracy", "lower": None, "upper": None, "certificate": None, "unit": "1", "support": 500,
        "coverage": 0.9, "maturity": "1d", "stage": "final", "model": "m", "version": "1", "variant": "champion",
        "slice": {},
    }  # fmt: skip
    start = START + day * DAY
    return Value(value=number, window_start=start, window_end=start + DAY, **(given | other))


def judged(alerts: Alert, *values: Value) -> tuple[Breach, ...]:
    """What breaches among these values, all of whose windows are judged."""
    return judge([alerts], values, windows={each.window_start for each in values}, as_of=LATER)


@pytest.mark.parametrize(
    ("said", "values", "breaching"),
    [
        ({"below": 0.8}, [0.79, 0.8, 0.81], [0.79]),
        ({"above": 0.8}, [0.79, 0.8, 0.81], [0.81]),
        ({"drop": 0.02}, [0.80, 0.78, 0.75, 0.90], [0.75]),
        ({"rise": 0.1}, [0.80, 0.90, 0.75, 0.90], [0.90]),
        ({"measure": "loss", "rise": "10%"}, [100.0, 110.0, 122.0], [122.0]),
        ({"measure": "loss", "drop": "10%"}, [-100.0, -111.0], [-111.0]),
        ({"measure": "loss", "rise": "10%"}, [0.0, 50.0], []),
    ],
)
def test_a_value_beyond_its_threshold_breaches(
    said: dict[str, Any], values: Sequence[float], breaching: Sequence[float]
) -> None:
    """Strictly beyond: a value that equals the threshold is within it, also where binary fractions say otherwise."""
    figures = [value(each, day=day, measure=said.get("measure", "accuracy")) for day, each in enumerate(values)]

    found = judged(alert(**said), *figures)

    assert [breach.value for breach in found] == breaching


def test_a_window_without_one_before_it_has_not_changed() -> None:
    """After a gap nobody knows what the value moved from."""
    assert judged(alert(drop=0.1), value(0.9, day=0), value(0.5, day=2)) == ()


def test_variants_are_held_against_the_same_window_of_another() -> None:
    """The reference is the version of that variant with the most rows; it is not judged against itself."""
    champion = [value(0.9, version="1", support=900), value(0.5, version="0", support=100)]
    challenger = value(0.8, version="2", variant="challenger")

    (breach,) = judged(alert(drop=0.05, against={"variant": "champion"}), *champion, challenger)

    assert (breach.variant, breach.value, breach.other) == ("challenger", 0.8, 0.9)


@pytest.mark.parametrize(
    ("slices", "breaching"),
    [(None, [{}]), (["carrier"], [{"carrier": "AA"}, {"carrier": "UA"}]), ([{"carrier": "UA"}], [{"carrier": "UA"}])],
)
def test_only_the_slices_that_are_meant_are_judged(slices: Any, breaching: list[dict[str, str]]) -> None:
    """All rows by default; every slice of a field, or one of them, where an alert says so."""
    figures = [value(0.5, slice=chosen) for chosen in ({}, {"carrier": "UA"}, {"carrier": "AA"})]

    found = judged(alert(below=0.8, slices=slices), *figures)

    assert [breach.slice for breach in found] == breaching


def test_another_maturity_and_another_variant_are_not_judged() -> None:
    """An early value has its own alerts, and so has a variant that only shadows."""
    early = value(0.5, maturity="6h")
    shadow = value(0.5, variant="shadow")

    assert judged(alert(below=0.8, variant="champion"), early, shadow) == ()


def test_a_window_that_is_not_final_is_not_judged() -> None:
    """A provisional value moves with every hour; it would page and take it back."""
    window_end = START + DAY

    found = judge([alert(below=0.8)], [value(0.5)], windows={START}, as_of=window_end + DAY - HOUR)

    assert found == ()


@given(
    said=st.sampled_from(
        [{"above": 0.5}, {"below": 0.5}, {"drop": 0.1}, {"rise": "1%"}, {"drop": 0, "against": {"variant": "champion"}}]
    ),
    numbers=st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=2, max_size=4),
    minimum=st.tuples(st.integers(1, 1000), st.floats(0, 1)),
    behind=st.lists(st.tuples(st.integers(0, 1000), st.none() | st.floats(0, 1)), min_size=4, max_size=4),
)
def test_too_few_rows_or_labels_never_breach(
    said: dict[str, Any],
    numbers: list[float],
    minimum: tuple[int, float],
    behind: list[tuple[int, float | None]],
) -> None:
    """Neither a value nor what it is held against may rest on less than the alert asks for, or be undefined."""
    least_support, least_coverage = minimum
    figures = [
        value(number, day=day, support=support, coverage=coverage, variant=variant)
        for day, (number, (support, coverage)) in enumerate(zip(numbers, behind, strict=False))
        for variant in ("champion", "challenger")
    ]
    weak = {
        (each.window_start, each.value)
        for each in figures
        if each.support < least_support or (each.coverage or 0.0) < least_coverage
    }

    found = judged(alert(**said, minimum_support=least_support, minimum_coverage=least_coverage), *figures)

    assert all((breach.window_start, breach.value) not in weak for breach in found)
    assert all(
        (breach.window_start - DAY, breach.other) not in weak for breach in found if breach.alert.against is None
    )
    assert not any(math.isnan(breach.value) for breach in found)


def test_what_is_beyond_breaches_where_rows_and_labels_are_enough() -> None:
    """The law above is not kept by silence."""
    at_least = value(0.5, support=500, coverage=0.9)

    assert len(judged(alert(below=0.8, minimum_support=500, minimum_coverage=0.9), at_least)) == 1


@pytest.mark.parametrize(
    ("late", "is_news"),
    [(timedelta(0), True), (DAY - HOUR, True), (DAY, False)],
)
def test_a_breach_is_news_until_a_newer_window_can_be_final(late: timedelta, *, is_news: bool) -> None:
    """A first run over a year of history pages for its end, not for its beginning."""
    (breach,) = judged(alert(below=0.8), value(0.5))

    assert breach.is_news(START + DAY + DAY + late) is is_news


SAID = {"measure": "accuracy", "below": 0.8, "minimum_support": 1}


def add_day(world: World, day: int, *, right: bool = False) -> None:
    """Log and label a day whose only prediction was wrong, or right."""
    at = START + day * DAY
    world.log([Prediction(id=f"p-{day}", predicted_at=at)])
    world.label([Fact(id=f"p-{day}", label=right, received_at=at + HOUR)])


def test_a_run_tells_what_breaches(world: World) -> None:
    """What became final is judged in the run in which it did, against what the ledger knew before."""
    add_day(world, 0, right=True)
    drop = {"measure": "accuracy", "drop": 0.5, "minimum_support": 1}
    world.run(START + 2 * DAY, alerts=[SAID, drop])
    add_day(world, 1)

    report = world.run(START + 3 * DAY, alerts=[SAID, drop])

    assert [(each.alert.name, each.value, each.other) for each in report.breaches] == [
        ("accuracy_below", 0.0, None),
        ("accuracy_drop", 0.0, 1.0),
    ]
    assert report.to_dict()["breaches"][1]["against"] == 1.0


def test_a_run_that_finds_nothing_new_still_tells_of_the_newest_window(world: World) -> None:
    """A run that died between commit and page leaves the page to the next one."""
    add_day(world, 0)
    first = world.run(START + 2 * DAY, alerts=[SAID])

    second = world.run(START + 2 * DAY + HOUR, alerts=[SAID])
    third = world.run(START + 3 * DAY, alerts=[SAID])

    assert second.values == ()
    assert second.breaches == first.breaches != ()
    assert third.breaches == ()


def test_a_dry_run_judges_what_it_shows(world: World) -> None:
    """It says what a run would page about, and leaves it to page."""
    add_day(world, 0)

    with Evaluator(world.evaluation(alerts=[SAID]), environ={}) as evaluator:
        shown = evaluator.run(as_of=START + 2 * DAY, dry_run=True)
    done = world.run(START + 2 * DAY, alerts=[SAID])

    assert shown.breaches == done.breaches != ()


def test_an_older_instant_is_judged_by_what_was_known_then(world: World) -> None:
    """A query never uses what came later."""
    add_day(world, 0)
    world.run(START + 2 * DAY, alerts=[SAID])
    world.run(START + 5 * DAY, alerts=[SAID])

    early = world.run(START + DAY, alerts=[SAID])
    then = world.run(START + 2 * DAY, alerts=[SAID])

    assert early.breaches == ()
    assert [each.value for each in then.breaches] == [0.0]
