"""Labels that name an entity: which predictions they are of, whatever is logged or received first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import pytest

from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation import oracle
from tests.evaluation.material import DAY, HOUR, MINUTE, START, Fact, Prediction, World, us
from tests.evaluation.oracle import HOUR_US, Settings
from tests.evaluation.test_laws import agree

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from otel_ml_metrics.evaluation_report import Report

Turn = Sequence[Prediction | Fact]

LATER: Final = START + 3 * DAY
CUSTOMER: Final = ("customer",)


def made(number: int, after: timedelta, **given: Any) -> Prediction:
    """A prediction about the one customer."""
    return Prediction(**{"id": f"p-{number}", "predicted_at": START + after, "customer": 1, **given})


def outcome(after: timedelta, *, landed: timedelta | None = None, **given: Any) -> Fact:
    """What happened to the one customer at an instant, known when it landed: at once where nothing else is said."""
    received_at = START + (after if landed is None else landed)
    return Fact(**{"id": None, "customer": 1, "occurred_at": START + after, "received_at": received_at, **given})


def played(world: World, settings: Settings, rounds: Sequence[Turn]) -> Report:
    """Log and label round by round, with a run after each that says what the oracle says; the last report."""
    report = None
    with Evaluator(world.evaluation(settings), environ={}) as evaluator:
        for turn in rounds:
            for each in turn:
                world.log([each]) if isinstance(each, Prediction) else world.label([each])
            report = evaluator.run(as_of=LATER)
            agree(
                evaluator.as_of(LATER).values,
                oracle.values(world.predictions, world.facts, settings, us(LATER)),
            )
            statuses = oracle.statuses(world.predictions, world.facts, settings, us(LATER))
            assert {**report.labels, "waiting": report.waiting} == {**statuses, "invalid": 0}
        assert report is not None
        return report


def supports(report: Report, measure: str = "accuracy") -> int:
    """Rows behind a measure over everything, which the last run must have told."""
    return next(value.support for value in report.values if value.measure == measure and not value.slice)


def test_an_outcome_is_of_the_last_prediction_before_it(world: World) -> None:
    """Not of an earlier one, nor of one that was made after it happened, though before it was known."""
    settings = Settings(key=CUSTOMER, slices=(("carrier",),))
    rows = [made(1, 1 * HOUR, carrier="A"), made(2, 2 * HOUR, carrier="B"), made(3, 4 * HOUR, carrier="C")]

    report = played(world, settings, [[*rows, outcome(3 * HOUR, landed=9 * HOUR)]])

    assert {value.slice.get("carrier") for value in report.values if value.measure == "accuracy"} == {None, "B"}


def test_of_two_predictions_at_once_the_larger_id_is_the_last(world: World) -> None:
    """What was logged first decides nothing."""
    settings = Settings(key=CUSTOMER, slices=(("carrier",),))
    rounds: list[Turn] = [
        [made(2, HOUR, carrier="B"), outcome(HOUR)],
        [made(1, HOUR, carrier="A")],
        [made(3, HOUR, carrier="C")],
    ]

    report = played(world, settings, rounds)

    assert {value.slice.get("carrier") for value in report.values if value.measure == "accuracy"} == {None, "C"}


def test_an_outcome_moves_to_a_prediction_that_is_logged_late(world: World) -> None:
    """It leaves the one that it was of, which is without a label again."""
    rounds: list[Turn] = [[made(1, 20 * HOUR), outcome(26 * HOUR)], [made(2, 25 * HOUR)]]

    report = played(world, Settings(key=CUSTOMER), rounds)

    assert {(value.window_start, value.coverage) for value in report.values} == {(START, 0.0), (START + DAY, 1.0)}


@pytest.mark.parametrize("take", ["last", "all"])
def test_an_outcome_returns_where_a_prediction_turns_out_to_be_of_another_entity(world: World, take: str) -> None:
    """The same id logged earlier and about somebody else takes the place of the row that had the outcome."""
    first: Turn = [made(1, HOUR), made(2, 2 * HOUR), outcome(3 * HOUR)]

    played(
        world, Settings(key=CUSTOMER, take=take), [first, [made(2, HOUR, customer=2)], [made(1, 0 * HOUR, customer=2)]]
    )


def test_an_outcome_is_of_every_prediction_within_a_time(world: World) -> None:
    """Those that are logged late included, each once."""
    first: Turn = [made(1, HOUR), made(2, 2 * HOUR), outcome(5 * HOUR)]

    report = played(
        world,
        Settings(key=CUSTOMER, take="all", within_us=4 * HOUR_US),
        [first, [made(3, 3 * HOUR), made(4, 30 * MINUTE)]],
    )

    assert supports(report) == 3
    assert (report.labels["matched"], report.labels["duplicate"]) == (3, 0)


def test_the_very_same_outcome_twice_is_a_duplicate_wherever_it_moves(world: World) -> None:
    """Each copy is counted for each prediction that it is of."""
    first: Turn = [made(1, HOUR), outcome(5 * HOUR), outcome(5 * HOUR)]

    report = played(world, Settings(key=CUSTOMER, take="all"), [first, [made(2, 2 * HOUR)], [outcome(5 * HOUR)]])

    assert (report.labels["matched"], report.labels["duplicate"]) == (2, 4)


@pytest.mark.parametrize("take", ["last", "all"])
def test_outcomes_wait_for_their_prediction(world: World, take: str) -> None:
    """One that happens before its prediction is of none; both wait, and one of them finds it."""
    rounds: list[Turn] = [[outcome(50 * HOUR), outcome(2 * HOUR, landed=51 * HOUR)], [made(1, 49 * HOUR)]]

    report = played(world, Settings(key=CUSTOMER, take=take), rounds)

    assert (report.labels["matched"], report.waiting) == (1, 1)


def test_equal_outcomes_that_land_together_are_added_up(tmp_path: Path) -> None:
    """Two payments of the same sum are two payments, although both were known with the same batch."""
    world = World(tmp_path, task="regression")
    settings = Settings(key=CUSTOMER, aggregate="sum", task="regression")
    paid = [outcome(hours * HOUR, landed=20 * HOUR, label=10.0) for hours in (2, 3, 3)]

    report = played(world, settings, [[made(1, HOUR, prediction=30.0), *paid]])

    assert {value.value for value in report.values if value.measure == "paid"} == {20.0}
    assert (report.labels["matched"], report.labels["duplicate"]) == (2, 1)


def test_any_of_several_outcomes_is_enough(world: World) -> None:
    """At each age, what was known until then; a no that comes later takes nothing back."""
    settings = Settings(key=CUSTOMER, aggregate="any", maturities_us=(2 * HOUR_US, 6 * HOUR_US))
    said = [outcome(2 * HOUR, label=False), outcome(5 * HOUR, label=True), outcome(9 * HOUR, label=False)]

    report = played(world, settings, [[made(1, HOUR)], said[1:], said[:1]])

    assert report.labels["matched"] == 3


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_entity_may_be_named_by_several_columns(world: World, form: str) -> None:
    """A number says the same as text, and whoever has no name is nobody."""
    settings = Settings(key=("customer", "region"))
    world.log([made(1, HOUR, region="north"), made(2, 2 * HOUR, region="south"), made(3, 2 * HOUR, customer=None)])
    world.label([outcome(3 * HOUR, region="north")], form=form)

    with Evaluator(world.evaluation(settings), environ={}) as evaluator:
        report = evaluator.run(as_of=LATER)

    agree(report.values, oracle.values(world.predictions, world.facts, settings, us(LATER)))
    assert report.labels["matched"] == 1
