"""Runs that meet, that are repeated and that only ask, with the ledger in each kind of database."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest

from otel_ml_metrics.auditor import Auditor
from otel_ml_metrics.errors import LedgerBusyError, LedgerMovedError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.ledger.outbox import Outbox
from otel_ml_metrics.telemetry.receiver import Receiver
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World
from tests.ledger.material import opened

if TYPE_CHECKING:
    from datetime import datetime

    from otel_ml_metrics.evaluation_report import Report

STEPS: Final = [START + DAY, START + DAY + 6 * HOUR, START + 3 * DAY]
LAST: Final = STEPS[-1]
NAME: Final = "flight-delay/flight-delay"
GIVEN: Final[dict[str, Any]] = {"measures": ["accuracy", "recall"], "maturities": ["6h"], "timestamps": "event"}


def evaluator(world: World, **given: Any) -> Evaluator:
    """An evaluator of a world."""
    return Evaluator(world.evaluation(**GIVEN), **{"environ": {}, **given})


@pytest.fixture
def day(world: World) -> World:
    """A day of predictions, with labels that come, change and come back."""
    for part in range(3):
        rows = [Prediction(id=f"p-{part}-{row}", predicted_at=START + (3 * row + part) * HOUR) for row in range(8)]
        world.log(rows)
        world.label(
            [Fact(id=each.id, label=at % 2 == 0, received_at=each.predicted_at + HOUR) for at, each in enumerate(rows)]
        )
        world.label([Fact(id=each.id, received_at=each.predicted_at + 8 * HOUR) for each in rows[:5]])
    return world


def persist(world: World) -> None:
    """Run up to each instant, as often as others are in the way."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with evaluator(world) as each:
                for step in STEPS:
                    each.run(as_of=step)
        except (LedgerBusyError, LedgerMovedError):
            continue
        return
    raise AssertionError


def test_runs_at_once_count_every_label_once(day: World) -> None:
    """They wait or start over, on a ledger that none has made yet."""
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(persist, [day] * 3))

    with Auditor(day.evaluation(**GIVEN), environ={}) as auditor:
        check = auditor.check()
        report = auditor.run(as_of=LAST)
    assert (check.verdict, check.problems) == ("equal", ())
    assert {status: count for status, count in report.labels.items() if count} == {
        "matched": 24, "duplicate": 9, "revised": 6
    }  # fmt: skip


def commit_meanwhile(world: World, instants: list[datetime]) -> Any:
    """Something to tell progress to that lets another run commit whenever windows are valued."""
    pending = iter(instants)

    def progress(stage: str, done: int, _total: int) -> None:
        if (stage, done) == ("valuing windows", 0) and (instant := next(pending, None)) is not None:
            with evaluator(world) as other:
                other.run(as_of=instant)

    return progress


def test_a_run_that_another_one_overtakes_starts_over(day: World) -> None:
    """Its own commit would be of labels that are taken already."""
    with evaluator(day, progress=commit_meanwhile(day, STEPS[:2])) as each:
        report = each.run(as_of=LAST)

    assert report.ledger_version == 3
    with Auditor(day.evaluation(**GIVEN), environ={}) as auditor:
        assert auditor.check().verdict == "equal"


def test_a_dry_run_that_another_one_overtakes_starts_over(day: World) -> None:
    """It shows what would come of one version, and not of two mixed."""
    with evaluator(day, progress=commit_meanwhile(day, STEPS[:1])) as each:
        dry = each.run(as_of=LAST, dry_run=True)
        real = each.run(as_of=LAST)

    assert (dry.values, dry.ledger_version) == (real.values, 1)


def test_a_query_says_what_one_version_says(day: World) -> None:
    """However many runs commit while it reads: the same as if they had not, or as if they had been first."""
    with evaluator(day) as each:
        each.run(as_of=STEPS[1])
        before = each.as_of(STEPS[1]).values
        day.label([Fact(id=f"p-0-{row}", label=False, received_at=START + (3 * row + 2) * HOUR) for row in range(8)])
        with ThreadPoolExecutor(1) as pool:
            overtaking = pool.submit(persist, day)
            seen = [each.as_of(STEPS[1]).values]
            while not overtaking.done():
                seen.append(each.as_of(STEPS[1]).values)
            overtaking.result()
        after = each.as_of(STEPS[1]).values

    assert before != after
    assert [values for values in seen if values not in (before, after)] == []


def test_accepted_points_leave_the_outbox_after_a_while_and_are_not_sent_again(day: World) -> None:
    """A value that goes and comes back long after is not sent a second time for its window's end."""
    with Receiver() as receiver:
        _run_at(day, receiver, at=START + 10 * DAY)
        first = _told(receiver)
        day.label([Fact(id=f"p-0-{row}", label=False, received_at=START + (3 * row + 9) * HOUR) for row in range(8)])
        _run_at(day, receiver, at=START + 20 * DAY)
        _run_at(day, receiver, at=START + 41 * DAY)

        assert day.ledger is not None
        with opened(day.ledger, name=NAME) as ledger:
            kept = Outbox(ledger).counts()
        assert _told(receiver) == first
        assert len(first) == 4
        assert kept["accepted"] < len(receiver.points)


def _run_at(world: World, receiver: Receiver, *, at: datetime) -> Report:
    """Run once at an instant."""
    with evaluator(world, environ=receiver.environment, clock=lambda: at) as each:
        return each.run(as_of=START + 9 * DAY)


def _told(receiver: Receiver) -> list[tuple[str, int, object]]:
    """Values that came with their window's end."""
    wanted = ("ml.evaluation.accuracy", "ml.evaluation.recall")
    return sorted(
        (point.metric, point.time_unix_nano, point.value) for point in receiver.points if point.metric in wanted
    )
