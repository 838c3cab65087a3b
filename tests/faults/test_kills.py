"""Runners that are killed anywhere, two of them at once, while the world goes on: nobody can tell afterwards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.harness import PATIENCE, Theatre
from tests.faults.runner import run_until_told

if TYPE_CHECKING:
    from pathlib import Path

MANY: Final = 110
"""Kills in each kind of database."""


@pytest.mark.timeout(900)
def test_killed_runners_leave_nothing_undone(tmp_path: Path, ledger_url: str) -> None:
    """Each place where a runner can be killed, and any other time."""
    theatre = Theatre(tmp_path / "world", ledger_url, chapters=30)

    with theatre.play():
        theatre.kill_runners(12, seed=1)

    theatre.recover()


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_many_killed_runners_leave_nothing_undone(tmp_path: Path, ledger_url: str) -> None:
    """The same, for longer."""
    theatre = Theatre(tmp_path / "world", ledger_url, chapters=130)

    with theatre.play():
        theatre.kill_runners(MANY, seed=2)

    theatre.recover()


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_two_runners_at_once_stop_neither_each_other_nor_the_world(tmp_path: Path, ledger_url: str) -> None:
    """Two minutes: both get on, and whoever was too slow is told so, and to run again."""
    theatre = Theatre(tmp_path / "world", ledger_url, chapters=100)
    context = theatre.context
    enough = context.Event()
    pipes = [context.Pipe(duplex=False) for _ in range(2)]
    runners = [context.Process(target=run_until_told, args=(theatre.stage, enough, told)) for _, told in pipes]

    with theatre.play():
        for runner in runners:
            runner.start()
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            theatre.pace.release()
            runners[0].join(1.2)
        enough.set()
        heard = [pipe.recv() for pipe, _ in pipes]
        for runner in runners:
            runner.join(PATIENCE)

    assert [runner.exitcode for runner in runners] == [0, 0]
    assert min(runs for runs, _ in heard) > 0
    assert all("Run again" in message for _, messages in heard for message in messages)
    theatre.recover()
