"""Labels of sparse dates that wait for company, and what makes them be applied all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from otel_ml_metrics.errors import ConfigurationError, LedgerMismatchError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.telemetry.receiver import Receiver
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World, native_id

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from otel_ml_metrics.evaluation_report import Report

IDS: Final = [native_id(START + HOUR, number) for number in range(4)]
EARLY: Final = START + 3 * HOUR
HELD: Final[dict[str, Any]] = {
    "hold_back": {"below": 3, "at_most": "2d"},
    "attribution_window": "7d",
    "measures": ["accuracy"],
}


@pytest.fixture(autouse=True)
def logged(world: World) -> None:
    """Four predictions of one hour."""
    world.log([Prediction(id=each, predicted_at=START + HOUR) for each in IDS])


def label(world: World, *ids: str, after: timedelta = 2 * HOUR) -> None:
    """Label some predictions, so long after the start."""
    world.label([Fact(id=each, received_at=START + after) for each in ids])


def run(world: World, as_of: datetime, **others: Any) -> Report:
    """Run an evaluation of its own, as a process would."""
    with Evaluator(world.evaluation(**HELD | others), environ={}) as evaluator:
        return evaluator.run(as_of=as_of)


def matched(report: Report) -> tuple[int, int]:
    """Labels that were applied, and that are held back."""
    return report.labels["matched"], report.held


def test_few_labels_of_a_date_wait_for_more(world: World) -> None:
    """With one more, all of them are applied."""
    label(world, IDS[0], IDS[1])
    first = run(world, EARLY)
    label(world, IDS[2], after=4 * HOUR)
    second = run(world, START + 5 * HOUR)

    assert matched(first) == (0, 2)
    assert matched(second) == (3, 0)


def test_no_label_waits_for_longer_than_is_said(world: World) -> None:
    """Whether or not it has company by then."""
    label(world, IDS[0])
    before = run(world, START + 2 * DAY)
    after = run(world, START + 2 * DAY + 2 * HOUR)

    assert matched(before) == (0, 1)
    assert matched(after) == (1, 0)


def test_a_label_that_a_final_value_needs_does_not_wait(world: World) -> None:
    """A window that is final at an age to which the label belongs has it, and only then."""
    ages = {"maturities": ["6h"]}
    label(world, IDS[0])

    before = run(world, START + DAY + 6 * HOUR - HOUR, **ages)
    after = run(world, START + DAY + 6 * HOUR, **ages)

    assert matched(before) == (0, 1)
    assert matched(after) == (1, 0)
    assert [value.coverage for value in after.values] == [0.25]


def test_a_label_that_comes_too_late_for_what_is_final_waits(world: World) -> None:
    """It belongs to a later age, of which nothing is final."""
    label(world, IDS[0], after=2 * DAY)

    report = run(world, START + 2 * DAY + HOUR, maturities=["6h"])

    assert matched(report) == (0, 1)
    assert [(value.value, value.coverage) for value in report.values] == []


def test_a_repeated_label_waits_with_the_first(world: World) -> None:
    """It is known as a duplicate once both are applied."""
    label(world, IDS[0])
    label(world, IDS[0], after=150 * HOUR / 60)
    run(world, EARLY)

    report = run(world, EARLY, hold_back=None)

    assert {name: count for name, count in report.labels.items() if count} == {"matched": 1, "duplicate": 1}


def test_ids_that_tell_no_date_are_never_held(world: World) -> None:
    """Nor is anything else in their log, since any of its ids might lie."""
    world.log([Prediction(id="p-1", predicted_at=START + HOUR)])
    label(world, IDS[0], "p-1")

    assert matched(run(world, EARLY)) == (2, 0)


def test_a_backfill_applies_what_is_held(world: World) -> None:
    """It reads all labels again, and counts none of them twice."""
    label(world, IDS[0])
    run(world, EARLY)
    with Evaluator(world.evaluation(**HELD), environ={}) as evaluator:
        report = evaluator.backfill(START, START + DAY)

    assert matched(report) == (1, 0)
    assert report.labels["duplicate"] == 0


def test_a_new_maturity_is_refused_while_labels_are_held(world: World) -> None:
    """It might judge them; another measure does not."""
    label(world, IDS[0])
    run(world, EARLY)

    assert matched(run(world, EARLY, measures=["accuracy", "f1"])) == (0, 1)
    with pytest.raises(LedgerMismatchError, match="without hold_back"):
        run(world, EARLY, measures=["accuracy", "f1"], maturities=["1h"])


def test_how_many_are_held_is_a_metric(world: World) -> None:
    """A gauge, where holding back is declared."""
    label(world, IDS[0])
    with Receiver() as receiver:
        with Evaluator(world.evaluation(**HELD), environ=receiver.environment) as evaluator:
            evaluator.run(as_of=EARLY)
        sent = [point.value for point in receiver.points if point.metric == "ml.labels.held"]

    assert sent == [1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hold_back": 3}, "expected a mapping"),
        ({"hold_back": {"below": 0}}, "from 1 on"),
        ({"hold_back": {"below": True}}, "from 1 on"),
        ({"hold_back": {"below": 3, "at_most": "soon"}}, "hold_back.at_most"),
        ({"hold_back": {"under": 3}}, "'under' is not known"),
        ({"hold_back": {"below": 3}, "provisional": True}, "provisional values"),
        ({"hold_back": {"below": 3}, "labels": {"path": "l/*", "key": "customer", "occurred_at": "o"}}, "an entity"),
    ],
)
def test_what_cannot_be_held_back_is_refused(world: World, settings: dict[str, Any], message: str) -> None:
    """At set-up, with what was expected."""
    with pytest.raises(ConfigurationError, match=message):
        world.evaluation(**settings)
