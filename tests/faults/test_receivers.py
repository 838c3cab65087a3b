"""Receivers that are down, busy or choosy for a while: afterwards every good point arrived, with one value."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.telemetry.receiver import ACCEPT, Receiver, Reply
from tests.evaluation.material import World
from tests.faults import story
from tests.faults.harness import outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_ml_metrics.evaluation_report import Report
    from otel_ml_metrics.telemetry.received import ReceivedPoint

CHAPTERS: Final = 20
TROUBLE: Final = range(8, 16)
"""Chapters in which the receiver is in trouble; windows become final before, then and after."""

BUSY: Final = {
    "too many requests": Reply(429, headers=(("Retry-After", "1"),)),
    "too many for an hour": Reply(429, headers=(("Retry-After", "3600"),)),
    "unavailable": Reply(503, message="shedding load"),
    "hangs up": Reply(hang_up=True),
}


@dataclass
class Mood:
    """How a receiver answers.

    Args:
        reply: Chooses an answer by the points.
    """

    reply: Callable[[tuple[ReceivedPoint, ...]], Reply]

    def __call__(self, points: tuple[ReceivedPoint, ...]) -> Reply:
        """Answer."""
        return self.reply(points)


@pytest.fixture
def mood() -> Mood:
    """A good one."""
    return Mood(lambda _points: ACCEPT)


@pytest.fixture
def receiver(mood: Mood) -> Iterator[Receiver]:
    """A receiver in a mood."""
    with Receiver(reply=mood) as receiver:
        yield receiver


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world that has not begun."""
    return World(tmp_path / "world")


def run(world: World, receiver: Receiver) -> Report:
    """Run up to now."""
    environ = {**receiver.environment, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with Evaluator(world.evaluation(story.SETTINGS, timestamps="event"), environ=environ) as evaluator:
        return evaluator.run(as_of=story.now(world.folder))


def play(world: World, receiver: Receiver, mood: Mood, trouble: Callable[..., Reply]) -> list[Report]:
    """Let the world go on with a run every other chapter; the reports of those in which the receiver is in trouble."""
    reports = []
    good = mood.reply
    for chapter in range(CHAPTERS):
        story.tell(world, chapter)
        mood.reply = trouble if chapter in TROUBLE else good
        if chapter % 4 == 3:
            report = run(world, receiver)
            reports += [report] if chapter in TROUBLE else []
    return reports


def values(points: tuple[ReceivedPoint, ...]) -> dict[Any, set[Any]]:
    """What was said of each series and time."""
    said: dict[Any, set[Any]] = defaultdict(set)
    for each in points:
        said[each.metric, *sorted(each.attributes.items()), each.time_unix_nano].add((each.value, *each.counts))
    return said


def by_status(world: World) -> dict[str, set[Any]]:
    """Series and time of every point that was ever to be sent, by what became of it."""
    found: dict[str, set[Any]] = defaultdict(set)
    for point, status in outbox(world.evaluation().ledger):
        found[status].add((point.metric, *sorted(point.attributes.items()), point.time_unix_nano))
    return found


@pytest.mark.parametrize("trouble", BUSY)
def test_what_a_busy_receiver_does_not_take_arrives_later(
    world: World, receiver: Receiver, mood: Mood, trouble: str
) -> None:
    """With the value and the time that it had; meanwhile no run waits for long."""
    began = time.monotonic()
    reports = play(world, receiver, mood, lambda _points: BUSY[trouble])

    said = values(receiver.points)
    assert all(report.delivery.kept and report.delivery.message for report in reports)
    assert by_status(world).keys() == {"accepted"}
    assert said.keys() == by_status(world)["accepted"]
    assert {len(each) for each in said.values()} == {1}
    assert time.monotonic() - began < 120


def test_what_a_receiver_that_was_down_missed_arrives_later(world: World, receiver: Receiver, mood: Mood) -> None:
    """It comes up again where it was."""
    for chapter in range(CHAPTERS):
        story.tell(world, chapter)
    receiver.close()
    kept = run(world, receiver)

    with Receiver(reply=mood, port=int(receiver.endpoint.rpartition(":")[2])) as again:
        report = run(world, again)

        assert (kept.delivery.sent, report.delivery.kept) == (0, 0)
        assert values(again.points).keys() == by_status(world)["accepted"]


def test_one_bad_point_takes_no_good_one_along(world: World, receiver: Receiver, mood: Mood) -> None:
    """It is refused for good, told, and not sent again; all others of its requests arrive."""

    def is_bad(point: ReceivedPoint) -> bool:
        return point.metric == "ml.evaluation.accuracy" and point.attributes.get("ml.slice.carrier") == "B6"

    refusal = Reply(400, message="out of order sample")
    reports = play(world, receiver, mood, lambda points: refusal if any(map(is_bad, points)) else ACCEPT)

    status = by_status(world)
    said = values(receiver.points)
    assert sum(report.delivery.rejected for report in reports) == len(status["rejected"]) > 0
    assert {key[0] for key in status["rejected"]} == {"ml.evaluation.accuracy"}
    assert status.keys() == {"accepted", "rejected"}
    assert said.keys() == status["accepted"]
    assert {len(each) for each in said.values()} == {1}


def test_a_partial_success_is_final(world: World, receiver: Receiver, mood: Mood) -> None:
    """OTLP forbids to send such a request again: what was left out is counted, and everything else goes on."""
    reports = play(world, receiver, mood, lambda _points: Reply(rejected=2, message="two were too old"))

    status = by_status(world)
    said = values(receiver.points)
    assert status.keys() == {"accepted", "partial"}
    assert [report.delivery.kept for report in reports] == [0] * len(reports)
    assert sum(report.delivery.rejected for report in reports) == 2 * len(reports) > 0
    assert said.keys() == status["accepted"] | status["partial"]
    assert {len(each) for each in said.values()} == {1}
