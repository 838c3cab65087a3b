"""A disk that is full: nothing is half done, the message says what to do, and with room again it is done."""

from __future__ import annotations

import multiprocessing
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from click.testing import CliRunner

from otel_ml_metrics.console.program import program
from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation import oracle
from tests.evaluation.material import Fact, World, us
from tests.evaluation.test_laws import agree
from tests.faults import story
from tests.faults.conftest import CHAPTERS, write_monitoring

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

BAD_ROWS: Final = 40_000
ROOM: Final = 2_500_000
"""Bytes that hold the ledger, but not the bad rows."""


@pytest.fixture
def monitoring(world: World) -> Path:
    """The evaluation of the world, as a file."""
    return write_monitoring(world.folder.parent, f"sqlite:///{world.folder}/ledger.db")


def evaluate_with_little_room(monitoring: str, room: int, told: Connection) -> None:
    """Evaluate where no file may grow past a size; in a process of its own."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    done = CliRunner().invoke(program, ["evaluate", monitoring, "--as-of", story.end(CHAPTERS).isoformat()])
    told.send((done.exit_code, done.stderr))


def evaluated(monitoring: Path, room: int) -> tuple[int, str]:
    """Exit code and standard error of an evaluation that has so much room."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "pandas"])
    heard, told = context.Pipe(duplex=False)
    process = context.Process(target=evaluate_with_little_room, args=(str(monitoring), room, told))
    process.start()
    told.close()
    said: tuple[int, str] = heard.recv()
    process.join()
    process.close()
    return said


def is_made_up_for(world: World) -> None:
    """Evaluate with room, and see that nothing is missing and nothing there twice."""
    last = story.end(CHAPTERS)
    with Evaluator(world.evaluation(story.SETTINGS), environ={}) as evaluator:
        evaluator.run(as_of=last)
        agree(
            evaluator.as_of(last).values,
            oracle.values(world.predictions, world.facts, story.SETTINGS, us(last)),
        )


def test_a_disk_that_fills_up_is_told_and_leaves_nothing_half_done(monitoring: Path, world: World) -> None:
    """Whether the ledger cannot be made, or not be committed to."""
    for room in (0, 1_000, 100_000, 600_000):
        code, said = evaluated(monitoring, room)

        assert code == 2
        assert "its disk has room" in said

    is_made_up_for(world)


def test_bad_rows_that_cannot_be_kept_aside_are_told(monitoring: Path, world: World) -> None:
    """The run stops before its commit, so that they are seen again."""
    world.label([Fact(id=f"nobody-{row}", label=None) for row in range(BAD_ROWS)], name="bad")

    code, said = evaluated(monitoring, ROOM)

    assert code == 2
    assert "invalid-labels" in said
    assert "has room" in said
    is_made_up_for(world)


def test_a_report_that_cannot_be_written_is_no_success(monitoring: Path, world: World) -> None:
    """A script that keeps the report on a full disk has to know; the ledger has everything."""
    arguments = ["evaluate", str(monitoring), "--as-of", story.end(CHAPTERS).isoformat(), "--format", "json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "otel_ml_metrics.cli", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    is_made_up_for(world)
