"""Which points arrive at a receiver, at what time, and what happens while there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.telemetry.receiver import Receiver, Reply
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World, us

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from otel_ml_metrics.evaluation_report import Report
    from otel_ml_metrics.telemetry.received import ReceivedPoint

NOW: Final = START + 100 * DAY
ACCURACY: Final = "ml.evaluation.accuracy"


def run(world: World, as_of: datetime, receiver: Receiver | None, **given: Any) -> Report:
    """Run once with a clock that stands still."""
    environ = {} if receiver is None else receiver.environment
    defaults: dict[str, Any] = {"measures": ["accuracy", "recall"], "maturities": ["6h"]}
    with Evaluator(world.evaluation(**defaults | given), environ=environ, clock=lambda: NOW) as evaluator:
        return evaluator.run(as_of=as_of)


def told(points: Iterable[ReceivedPoint], metric: str) -> list[tuple[str, int, Any]]:
    """Maturity, hours from the start and value of the points of a metric."""
    found = [point for point in points if point.metric == metric]
    return sorted(
        (
            point.attributes["ml.evaluation.maturity"],
            (point.time_unix_nano // 1000 - us(START)) // 3_600_000_000,
            point.value,
        )
        for point in found
    )


@pytest.fixture
def two_days(world: World) -> World:
    """One right prediction on the first day, one wrong on the second, both known after an hour."""
    for day in range(2):
        world.log([Prediction(id=f"p-{day}", predicted_at=START + day * DAY)])
        world.label([Fact(id=f"p-{day}", label=day == 0, received_at=START + day * DAY + HOUR)])
    return world


def test_emit_sends_the_newest_final_window_at_each_maturity_stamped_now(two_days: World) -> None:
    """The gauge is the current state; beside it stands which window it is of."""
    with Receiver() as receiver:
        run(two_days, START + 2 * DAY + 6 * HOUR, receiver)

        now = 100 * 24
        assert told(receiver.points, ACCURACY) == [("1d", now, 1.0), ("6h", now, 0.0)]
        ends = [(maturity, end) for maturity, _, end in told(receiver.points, "ml.evaluation.window.end")]
        assert ends == [("1d", us(START + DAY) / 1e6), ("6h", us(START + 2 * DAY) / 1e6)]


def test_a_series_without_a_value_in_the_newest_window_is_not_sent(two_days: World) -> None:
    """No older value poses as current."""
    with Receiver() as receiver:
        run(two_days, START + 9 * DAY, receiver)

        assert told(receiver.points, ACCURACY) == []
        assert [point for point in receiver.points if point.metric == "ml.labels"]


def test_event_sends_each_window_once_with_its_end(two_days: World) -> None:
    """The series is the history: the second run adds what became final and repeats nothing."""
    with Receiver() as receiver:
        run(two_days, START + DAY + 6 * HOUR, receiver, timestamps="event")
        first = told(receiver.points, ACCURACY)
        run(two_days, START + 9 * DAY, receiver, timestamps="event")

        assert first == [("6h", 24, 1.0)]
        assert told(receiver.points, ACCURACY) == [("1d", 24, 1.0), ("1d", 48, 0.0), ("6h", 24, 1.0), ("6h", 48, 0.0)]


def revise(world: World) -> None:
    """Say the opposite of the first prediction after all."""
    world.label([Fact(id="p-0", label=False, received_at=START + 2 * HOUR)], name="revision")


@pytest.mark.parametrize("resend", [False, True])
def test_a_revision_of_a_sent_value_is_counted_and_sent_again_on_request(two_days: World, resend: bool) -> None:
    """Most backends refuse a second value for the same time; the report has it in any case."""
    with Receiver() as receiver:
        run(two_days, START + 9 * DAY, receiver, timestamps="event", resend_revisions=resend)
        before = len(told(receiver.points, ACCURACY))
        revise(two_days)
        report = run(two_days, START + 9 * DAY, receiver, timestamps="event", resend_revisions=resend)

        again = told(receiver.points, ACCURACY)
        assert len(again) - before == (2 if resend else 0)
        assert (("1d", 24, 0.0) in again) is resend
        counted = [point.value for point in receiver.points if point.metric == "ml.evaluation.revisions"]
        assert counted == [2]
        assert {(value.measure, value.value) for value in report.values} == {("accuracy", 0.0)}


def test_a_value_that_goes_and_comes_back_is_not_sent_twice(two_days: World) -> None:
    """Recall is undefined without positives; a backend still has what it was sent for that time."""
    with Receiver() as receiver:
        run(two_days, START + 9 * DAY, receiver, timestamps="event")
        revise(two_days)
        run(two_days, START + 9 * DAY, receiver, timestamps="event")
        two_days.label([Fact(id="p-0", label=True, received_at=START + 3 * HOUR)], name="back")
        run(two_days, START + 9 * DAY, receiver, timestamps="event")

        assert told(receiver.points, "ml.evaluation.recall") == [("1d", 24, 1.0), ("6h", 24, 1.0)]


def test_every_run_is_the_same_service_instance(two_days: World) -> None:
    """A new identity per process would make every run a new series."""
    with Receiver() as receiver:
        run(two_days, START + 2 * DAY, receiver)
        run(two_days, START + 3 * DAY, receiver)

        identities = {
            (point.resource["service.name"], point.resource["service.instance.id"]) for point in receiver.points
        }
        assert len(identities) == 1


def test_points_wait_for_an_endpoint_that_is_down(two_days: World) -> None:
    """The ledger commits; what was kept arrives later with the values and times that it had."""
    with Receiver() as down:
        pass
    kept = run(two_days, START + 9 * DAY, down, timestamps="event")
    with Receiver() as receiver:
        report = run(two_days, START + 9 * DAY, receiver, timestamps="event")

        assert kept.delivery.kept > 0
        assert kept.delivery.message
        assert (report.values, report.delivery.kept) == ((), 0)
        assert told(receiver.points, ACCURACY) == [("1d", 24, 1.0), ("1d", 48, 0.0), ("6h", 24, 1.0), ("6h", 48, 0.0)]


def test_points_wait_where_no_endpoint_is_set(two_days: World) -> None:
    """Setting one later sends them."""
    kept = run(two_days, START + 9 * DAY, None, timestamps="event")
    with Receiver() as receiver:
        run(two_days, START + 9 * DAY, receiver, timestamps="event")

        assert (kept.delivery.endpoint, kept.delivery.kept > 0) == (None, True)
        assert len(told(receiver.points, ACCURACY)) == 4


def test_points_that_are_refused_for_good_block_nobody(two_days: World) -> None:
    """They are counted, and not sent again."""
    with Receiver(reply=lambda _points: Reply(status=400, message="too old")) as receiver:
        refused = run(two_days, START + 9 * DAY, receiver, timestamps="event")

    assert refused.delivery.rejected > 0
    assert refused.delivery.kept == 0


def test_a_dry_run_commits_and_sends_nothing(two_days: World) -> None:
    """It says what would come."""
    with Receiver() as receiver:
        evaluation = two_days.evaluation(measures=["accuracy"])
        with Evaluator(evaluation, environ=receiver.environment) as evaluator:
            dry = evaluator.run(as_of=START + 9 * DAY, dry_run=True)
            real = evaluator.run(as_of=START + 9 * DAY)

    assert dry.values == real.values
    assert (dry.read_only, real.ledger_version) == (True, 1)


def test_a_version_may_have_any_characters(world: World) -> None:
    """Nothing that users name is a separator of ours."""
    world.log([Prediction(version="1\n2")])
    world.label([Fact()])
    with Receiver() as receiver:
        run(world, START + 2 * DAY, receiver)

        assert {point.attributes.get("ml.model.version") for point in receiver.points} == {None, "1\n2"}


@pytest.mark.parametrize("now", [NOW, NOW - HOUR])
def test_a_clock_that_is_set_back_stops_no_run(two_days: World, now: datetime) -> None:
    """Or nothing would be evaluated until it has caught up with the instant at which the ledger was made."""
    run(two_days, START + 2 * DAY, None)
    evaluation = two_days.evaluation(measures=["accuracy", "recall"], maturities=["6h"])
    with (
        Receiver() as receiver,
        Evaluator(evaluation, environ=receiver.environment, clock=lambda: now) as evaluator,
    ):
        report = evaluator.run(as_of=START + 9 * DAY)

    assert report.delivery.kept == 0
    assert us(now) in {point.time_unix_nano // 1000 for point in receiver.points}
