"""What the metrics say about the labels themselves: which wait and since when, whose clocks differ, what is to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.telemetry.receiver import Receiver
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World

if TYPE_CHECKING:
    from datetime import datetime

    from otel_ml_metrics.telemetry.received import ReceivedPoint

NOW: Final = START + 100 * DAY


def points_of(world: World, *as_of: datetime) -> list[ReceivedPoint]:
    """Run at these instants; what the last run sent."""
    evaluation = world.evaluation(measures=["accuracy"], maturities=["6h"])
    found: list[ReceivedPoint] = []
    for instant in as_of:
        with (
            Receiver() as receiver,
            Evaluator(evaluation, environ=receiver.environment, clock=lambda: NOW) as evaluator,
        ):
            evaluator.run(as_of=instant)
            found = list(receiver.points)
    return found


def values_of(points: list[ReceivedPoint], metric: str) -> list[float]:
    """The values of a metric."""
    return [float(point.value or 0) for point in points if point.metric == metric]


def test_the_oldest_label_that_waits_tells_its_age(world: World) -> None:
    """A label whose prediction is not logged yet waits until its horizon; how long the oldest has waited is a gauge."""
    world.log([Prediction(id="p-1")])
    world.label([Fact(id="p-2", received_at=START + HOUR), Fact(id="p-3", received_at=START + 2 * HOUR)])

    points = points_of(world, START + 5 * HOUR)

    assert values_of(points, "ml.labels.waiting") == [2.0]
    assert values_of(points, "ml.labels.waiting.age") == [4 * 3600.0]


def test_labels_from_before_their_prediction_are_counted(world: World) -> None:
    """Clocks differ: such a label counts with a delay of 0, and somebody may want to know."""
    world.log([Prediction(id="p-1"), Prediction(id="p-2")])
    world.label([Fact(id="p-1", received_at=START - HOUR), Fact(id="p-2")])

    points = points_of(world, START + 3 * DAY)

    assert values_of(points, "ml.labels.skewed") == [1.0]
    matched = [point.value for point in points if point.attributes.get("ml.label.status") == "matched"]
    assert matched == [2]


@pytest.mark.parametrize("as_of", [[START + 2 * DAY], [START + DAY, START + DAY + 6 * HOUR, START + 2 * DAY]])
def test_complete_windows_tell_which_share_of_labels_to_expect(world: World, as_of: list[datetime]) -> None:
    """Three of four labels came within six hours: a value at six hours rests on three quarters of what is to come."""
    world.log([Prediction(id=f"p-{number}") for number in range(5)])
    delays = [HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR]
    world.label([Fact(id=f"p-{number}", received_at=START + delay) for number, delay in enumerate(delays)])

    points = points_of(world, *as_of)

    shares = {
        point.attributes["ml.evaluation.maturity"]: point.value
        for point in points
        if point.metric == "ml.label.completeness"
    }
    assert shares == {"6h": 0.75, "1d": 1.0}
