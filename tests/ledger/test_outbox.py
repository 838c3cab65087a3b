"""Points that wait: sent in order by one sender, superseded by newer ones, given away when they are done."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest

from otel_ml_metrics.ledger.outbox import Outbox, Refusal
from otel_ml_metrics.ledger.store import Ledger
from tests.ledger.material import NAME, NOW_US, commit, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A ledger of three commits with two points each; the second value of series a has the same time as the first."""
    with opened(ledger_url) as ledger:
        for version in range(3):
            points = [("a", 1 + version // 2, f"a-{version}"), ("b", version, f"b-{version}")]
            ledger.commit(commit(version, points=points, once=[("a", 1 + version // 2)]))
        yield ledger


def test_points_wait_in_the_order_of_their_versions(ledger: Ledger) -> None:
    """And come in portions."""
    outbox = Outbox(ledger)

    first = outbox.waiting(limit=4)
    rest = outbox.waiting(after=first[-1].id)

    assert [each.point for each in [*first, *rest]] == ["a-0", "b-0", "a-1", "b-1", "a-2", "b-2"]


def test_a_newer_value_of_the_same_series_and_time_supersedes(ledger: Ledger) -> None:
    """The older one is never sent; nothing else is touched."""
    outbox = Outbox(ledger)

    assert (outbox.supersede(), outbox.supersede()) == (1, 0)
    assert [each.point for each in outbox.waiting()] == ["b-0", "a-1", "b-1", "a-2", "b-2"]


@pytest.mark.parametrize("every", [1, 2, 3])
def test_many_points_are_marked_whatever_lies_between_them(ledger_url: str, every: int) -> None:
    """Where single points of a large request are refused, neither they nor others are taken for accepted."""
    with opened(ledger_url) as ledger:
        ledger.commit(commit(0, points=[(f"s{number}", 1, "{}") for number in range(2_500)], once=[]))
        outbox = Outbox(ledger)
        ids = [each.id for each in outbox.waiting()]

        outbox.mark("accepted", ids[::every])

        assert [each.id for each in outbox.waiting()] == [each for at, each in enumerate(ids) if at % every]


def test_what_was_accepted_is_no_newer_value(ledger: Ledger) -> None:
    """A point that waits is sent although an older one of its series and time has been."""
    outbox = Outbox(ledger)
    outbox.mark("accepted", [outbox.waiting()[0].id])

    assert outbox.supersede() == 0


def test_refusals_are_counted_by_what_the_receiver_said(ledger: Ledger) -> None:
    """So that somebody can mend the cause and send them again."""
    outbox = Outbox(ledger)
    ids = [each.id for each in outbox.waiting()]
    outbox.mark("rejected", ids[:3], dict.fromkeys(ids[:2], "too old"))
    outbox.mark("partial", ids[3:4], {ids[3]: "some are too old"})

    assert outbox.refusals() == [
        Refusal("rejected", "too old", 2), Refusal("rejected", "", 1), Refusal("partial", "some are too old", 1)
    ]  # fmt: skip
    assert outbox.counts() == {"rejected": 3, "partial": 1, "waiting": 2}
    assert (outbox.requeue(), outbox.count(), outbox.refusals()) == (4, 6, [])


def test_pruning_leaves_what_is_young_waits_or_was_refused(ledger: Ledger) -> None:
    """Only points of old runs that are done go."""
    outbox = Outbox(ledger)
    ids = [each.id for each in outbox.waiting()]
    outbox.mark("accepted", [ids[0], ids[2], ids[4], ids[5]])
    outbox.mark("rejected", [ids[1]])

    pruned = outbox.prune(before_us=NOW_US + 2)

    assert pruned == 2
    assert outbox.counts() == {"accepted": 2, "rejected": 1, "waiting": 1}


def test_everything_that_is_done_goes_where_every_run_is_old(ledger: Ledger) -> None:
    """A ledger that nobody ran for a while."""
    outbox = Outbox(ledger)
    outbox.mark("accepted", [each.id for each in outbox.waiting()])

    assert outbox.prune(before_us=NOW_US + 1_000) == 6


def test_what_was_pruned_is_still_known_as_sent(ledger: Ledger) -> None:
    """Or a backend would get a second value for a time."""
    outbox = Outbox(ledger)
    outbox.mark("accepted", [each.id for each in outbox.waiting()])
    outbox.prune(before_us=NOW_US + 1_000)

    assert ledger.emitted([("a", 1), ("a", 2), ("a", 3), ("b", 1)]) == {("a", 1), ("a", 2)}


def send_until_killed(url: str, ready: Connection) -> None:
    """Hold the right to send; in a process of its own."""
    ledger = Ledger(url, name=NAME, label_kind="boolean")
    with Outbox(ledger).sole_sender() as is_sole:
        ready.send(is_sole)
        signal.pause()


def test_the_right_to_send_dies_with_its_process(ledger_url: str) -> None:
    """A killed sender keeps nobody from sending, in either database."""
    context = get_context("spawn")
    ready, told = context.Pipe(duplex=False)
    process = context.Process(target=send_until_killed, args=(ledger_url, told))
    process.start()
    try:
        with opened(ledger_url) as ledger:
            outbox = Outbox(ledger)
            assert ready.recv() is True
            with outbox.sole_sender() as while_it_lives:
                assert while_it_lives is False
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            assert _soon_sole(outbox)
    finally:
        process.kill()
        process.join()
        process.close()


def _soon_sole(outbox: Outbox) -> bool:
    """A server notices the end of a session a moment later."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with outbox.sole_sender() as is_sole:
            if is_sole:
                return True
    return False
