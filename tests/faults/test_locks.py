"""A database that another process holds: a run waits for it, but not for ever."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from otel_ml_metrics.console.program import program
from otel_ml_metrics.evaluator import STAGES, Evaluator
from tests.evaluation import oracle
from tests.evaluation.material import World, us
from tests.evaluation.test_laws import agree
from tests.faults import story
from tests.faults.conftest import CHAPTERS, write_monitoring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

COMMITTING: Final = (STAGES[2], 0)
LAST: Final = story.end(CHAPTERS)


def hold(ledger: str, told: Connection) -> None:
    """Hold the ledger until it is to be released; in a process of its own."""
    engine = sa.create_engine(ledger)
    with engine.connect() as connection:
        connection.execute(sa.text("UPDATE head SET version = version"))
        told.send("held")
        told.recv()
        connection.rollback()
    engine.dispose()


@contextmanager
def held(ledger: str) -> Iterator[Connection]:
    """Let another process hold the ledger, until the connection is told something."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.runner", "pandas"])
    here, there = context.Pipe()
    process = context.Process(target=hold, args=(ledger, there))
    process.start()
    try:
        assert here.recv() == "held"
        yield here
    finally:
        process.kill()
        process.join()
        process.close()


def test_a_run_waits_until_the_ledger_is_released(world: World, ledger_url: str) -> None:
    """And then commits as if nobody had been in its way."""
    world.ledger = ledger_url
    is_committing = threading.Event()

    def tell(stage: str, done: int, _total: int) -> None:
        if (stage, done) == COMMITTING:
            is_committing.set()

    with Evaluator(world.evaluation(story.SETTINGS), environ={}) as evaluator:
        evaluator.run(as_of=story.now(world.folder))
    evaluation = world.evaluation(story.SETTINGS)
    with (
        Evaluator(evaluation, environ={}, progress=tell) as evaluator,
        held(ledger_url) as holder,
        ThreadPoolExecutor(1) as pool,
    ):
        running = pool.submit(evaluator.run, LAST)
        assert is_committing.wait(60)
        assert not running.done()
        holder.send("release")
        running.result(timeout=60)
        found = evaluator.as_of(LAST).values

    agree(found, oracle.values(world.predictions, world.facts, story.SETTINGS, us(LAST)))


@pytest.mark.slow
def test_a_run_gives_up_after_a_while_and_says_so(tmp_path: Path, world: World, ledger_url: str) -> None:
    """One message, exit code 1, nothing changed; the next run makes up for it."""
    monitoring = write_monitoring(tmp_path, ledger_url)
    first = ["evaluate", str(monitoring), "--as-of", story.now(world.folder).isoformat()]
    last = ["evaluate", str(monitoring), "--as-of", LAST.isoformat()]
    assert CliRunner().invoke(program, first).exit_code == 0

    with held(ledger_url):
        refused = CliRunner().invoke(program, last)
    done = CliRunner().invoke(program, last)

    assert refused.exit_code == 1
    assert "Another run holds the ledger" in refused.stderr
    assert done.exit_code == 0
    world.ledger = ledger_url
    with Evaluator(world.evaluation(story.SETTINGS), environ={}) as evaluator:
        agree(
            evaluator.as_of(LAST).values,
            oracle.values(world.predictions, world.facts, story.SETTINGS, us(LAST)),
        )
