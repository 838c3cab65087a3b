"""Slices: how many are told apart, what the rest adds up to, and how many rows a value has to rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from otel_ml_metrics.auditor import Auditor
from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.telemetry.receiver import Receiver
from tests.evaluation.material import DAY, START, Fact, Prediction, World

if TYPE_CHECKING:
    from otel_ml_metrics.evaluation_report import Report

LATER: Final = START + 3 * DAY
ROWS: Final = {"name": "n", "unit": "1", "sum": "1", "rows": "predictions", "description": "All"}
MANY: Final[dict[str, Any]] = {"slices": [{"field": "carrier", "top": 10_000}], "measures": [ROWS]}
FLIGHTS: Final = {"UA": 3, "B6": 2, "AA": 2, "DL": 1}


@pytest.fixture
def flights(world: World) -> World:
    """A log in which carriers have different numbers of predictions, all with labels; every second one is right."""
    carriers = [name for name, flights in FLIGHTS.items() for _ in range(flights)]
    world.log([Prediction(id=f"p-{at}", carrier=name) for at, name in enumerate(carriers)])
    world.label([Fact(id=f"p-{at}", label=at % 2 == 0) for at in range(len(carriers))])
    return world


def support_of(report: Report) -> dict[str, int]:
    """Rows behind each slice by carrier."""
    return {value.slice["carrier"]: value.support for value in report.values if value.slice}


def run(world: World, **given: Any) -> Report:
    """Measure accuracy once."""
    return world.run(LATER, **{"measures": ["accuracy"], "maturities": []} | given)


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (4, {"UA": 3, "AA": 2, "B6": 2, "DL": 1}),
        (3, {"UA": 3, "AA": 2, "B6": 2, "(other)": 1}),
        (2, {"UA": 3, "AA": 2, "(other)": 3}),
        (1, {"UA": 3, "(other)": 5}),
    ],
)
def test_the_largest_slices_are_told_apart(flights: World, top: int, expected: dict[str, int]) -> None:
    """By predictions, ties by name; the rest is one slice, and no row is lost."""
    report = run(flights, slices=[{"field": "carrier", "top": top}])

    assert support_of(report) == expected


def test_a_top_may_change_at_any_time(flights: World) -> None:
    """The ledger has the sums of each slice, so nothing has to be computed again."""
    run(flights, slices=[{"field": "carrier", "top": 1}])
    evaluation = flights.evaluation(measures=["accuracy"], slices=[{"field": "carrier", "top": 3}])

    with Evaluator(evaluation, environ={}) as evaluator:
        report = evaluator.as_of(LATER)

    assert support_of(report) == {"UA": 3, "AA": 2, "B6": 2, "(other)": 1}


def test_slices_that_are_folded_are_counted(flights: World) -> None:
    """In the report, and beside the slice that stands for them."""
    evaluation = flights.evaluation(measures=["accuracy"], slices=[{"field": "carrier", "top": 1}])
    with Receiver() as receiver:
        with Evaluator(evaluation, environ=receiver.environment) as evaluator:
            report = evaluator.run(as_of=START + 2 * DAY)
        found = [point for point in receiver.points if point.metric == "ml.evaluation.slices.folded"]

    assert report.folded == {"carrier": 3}
    assert [(point.attributes["ml.slice.carrier"], point.value) for point in found] == [("(other)", 3)]


def test_a_field_of_many_values_sends_a_bounded_number_of_series(world: World) -> None:
    """Without anybody asking for it: a thousand slices, and the rest."""
    world.log([Prediction(id=f"p-{at}", carrier=f"c-{at:05d}") for at in range(1_100)])
    world.label([Fact(id=f"p-{at}") for at in range(1_100)])

    report = run(world, slices=["carrier"])

    found = support_of(report)
    assert len(found) == 1_001
    assert found["(other)"] == 100
    assert "c-00999" in found


def test_a_late_segment_moves_the_ranking(flights: World) -> None:
    """Which slices are apart depends on the log, not on when a run looked at it."""
    run(flights, slices=[{"field": "carrier", "top": 1}])
    flights.log([Prediction(id=f"late-{at}", carrier="DL") for at in range(4)])

    report = run(flights, slices=[{"field": "carrier", "top": 1}])

    assert support_of(report)["DL"] == 1
    assert support_of(report)["(other)"] == 7


@pytest.mark.parametrize(
    ("slices", "told"),
    [
        ([{"field": "carrier", "top": 0}], r"slices\[0\].top: found 0, expected a whole number from 1 to 10,000"),
        ([{"field": "carrier", "top": True}], "whole number"),
        ([{"field": "carrier", "tops": 3}], "'tops' is not known here. Did you mean 'top'"),
        ([{"top": 3}], "a mapping such as"),
        ([{"field": ["carrier", "origin"]}], "several stand under fields:"),
        (["carrier", {"field": "carrier", "top": 3}], "one top for carrier"),
        ([{"field": "version"}], "under by:"),
    ],
)
def test_a_top_that_cannot_be_is_refused(world: World, slices: list[Any], told: str) -> None:
    """With what was expected."""
    with pytest.raises(ConfigurationError, match=told):
        world.evaluation(slices=slices)


def test_too_few_rows_give_nothing_but_their_number(flights: World) -> None:
    """Below the minimum support there is no value, no interval and no coverage; and it is counted why."""
    evaluation = flights.evaluation(
        measures=["accuracy", "roc_auc"], slices=["carrier"], minimum_support=3, maturities=[]
    )
    with Receiver() as receiver:
        with Evaluator(evaluation, environ=receiver.environment) as evaluator:
            report = evaluator.run(as_of=START + 2 * DAY)
        small = {point.metric for point in receiver.points if point.attributes.get("ml.slice.carrier") == "DL"}
        counted = {
            point.attributes["reason"]: point.value
            for point in receiver.points
            if point.metric == "ml.evaluation.undefined"
        }

    assert support_of(report) == {"UA": 3}
    assert small == {"ml.evaluation.support", "ml.evaluation.window.end"}
    assert report.undefined == counted == {"support_below_minimum": 6}


def test_minimum_support_is_a_number_of_rows(world: World) -> None:
    """At least one."""
    with pytest.raises(ConfigurationError, match="minimum_support: found 0, expected a whole number from 1"):
        world.evaluation(minimum_support=0)


def test_a_file_says_tops_and_minimum_support(world: World) -> None:
    """With the words of the code."""
    path = world.folder / "monitoring.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        "model: m\npredictions: predictions\nlabels: {path: labels}\nledger: sqlite:///ledger.db\n"
        "attribution_window: 1d\nminimum_support: 30\n"
        "slices: [carrier, {field: merchant, top: 50}, {fields: [merchant, carrier], top: 20}]\nmeasures: [accuracy]\n"
    )

    evaluation = Evaluation.from_file(path)

    assert evaluation.minimum_support == 30
    assert evaluation.tops == {("carrier",): 1_000, ("merchant",): 50, ("carrier", "merchant"): 20}


def test_the_ledger_tells_a_bounded_number_of_slices_apart(world: World) -> None:
    """Whichever run they came in; every row is somewhere, and somebody is told."""
    rows = [Prediction(id=f"p-{at}", carrier=f"c-{at:05d}") for at in range(10_100)]
    world.log(rows[::2])
    run(world, **MANY)
    world.log(rows[1::2])
    report = run(world, **MANY)

    with Auditor(world.evaluation(**MANY), environ={}) as auditor:
        everything = auditor.as_of(LATER).values
        check = auditor.check()

    found = {value.slice["carrier"]: value.value for value in everything if value.slice}
    assert (len(found), found["(other)"]) == (10_001, 100)
    assert "more than 10,000 slices by carrier" in "".join(report.warnings)
    assert check.verdict == "equal"
