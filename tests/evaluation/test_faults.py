"""Runs that die anywhere and are repeated, and runs that meet."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from otel_ml_metrics.errors import LedgerBusyError, LedgerMovedError
from otel_ml_metrics.evaluator import STAGES, Evaluator
from tests.evaluation import oracle
from tests.evaluation.material import DAY, HOUR, MINUTE, START, Fact, Prediction, World, us
from tests.evaluation.oracle import HOUR_US, Settings
from tests.evaluation.test_laws import agree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.context import ForkServerContext

SETTINGS: Final = Settings(maturities_us=(6 * HOUR_US,), slices=(("carrier",),))
STEPS: Final = [START + DAY, START + DAY + 6 * HOUR, START + 3 * DAY]


class KilledError(Exception):
    """Stands for a process that dies."""


def write_history(world: World) -> None:
    """Some predictions with labels that come, change and come back."""
    for part in range(3):
        rows = [Prediction(id=f"p-{part}-{row}", predicted_at=START + (3 * row + part) * HOUR) for row in range(8)]
        world.log(rows)
        world.label(
            [Fact(id=row.id, label=at % 2 == 0, received_at=row.predicted_at + HOUR) for at, row in enumerate(rows)]
        )
        world.label([Fact(id=row.id, label=True, received_at=row.predicted_at + 8 * HOUR) for row in rows[:5]])


def equals_brute_force(world: World) -> None:
    """See that the ledger says what the oracle says."""
    last = STEPS[-1]
    with Evaluator(world.evaluation(SETTINGS), environ={}) as evaluator:
        report = evaluator.run(as_of=last)
        agree(
            evaluator.as_of(last).values,
            oracle.values(world.predictions, world.facts, SETTINGS, us(last)),
        )
    statuses = oracle.statuses(world.predictions, world.facts, SETTINGS, us(last))
    assert {**report.labels, "waiting": report.waiting} == {**statuses, "invalid": 0}


@pytest.mark.parametrize("place", [(stage, done) for stage in STAGES for done in (0, 1)])
def test_a_run_that_dies_between_two_stages_is_made_up_for(world: World, place: tuple[str, int]) -> None:
    """Before the commit nothing happened, after it everything did; the next run cannot tell."""

    def die(stage: str, done: int, _total: int) -> None:
        if (stage, done) == place:
            raise KilledError

    write_history(world)
    for step in STEPS:
        with Evaluator(world.evaluation(SETTINGS), environ={}, progress=die) as evaluator, pytest.raises(KilledError):
            evaluator.run(as_of=step)

    equals_brute_force(world)


def processes() -> ForkServerContext:
    """Where processes start from: a server that has imported everything, and has no threads that a fork would lose."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def advance(folder: str) -> None:
    """Run up to each instant; in a process of its own."""
    with Evaluator(World(Path(folder)).evaluation(SETTINGS), environ={}) as evaluator:
        for step in STEPS:
            evaluator.run(as_of=step)


@pytest.mark.slow
def test_kill_9_at_any_time_is_made_up_for(world: World) -> None:
    """Five processes die at different ages; what they left is whole."""
    write_history(world)
    context = processes()
    for attempt in range(5):
        process = context.Process(target=advance, args=(str(world.folder),))
        process.start()
        process.join(timeout=0.2 + 0.3 * attempt)
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        process.close()

    equals_brute_force(world)


def persist(folder: str) -> None:
    """Run up to each instant, as often as others are in the way."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            advance(folder)
        except (LedgerBusyError, LedgerMovedError):
            continue
        return


def test_two_processes_at_once_wait_or_start_over(world: World) -> None:
    """Even on a ledger that neither has made yet; together they count every label once."""
    write_history(world)
    context = processes()
    runners = [context.Process(target=persist, args=(str(world.folder),)) for _ in range(2)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join(timeout=90)

    assert [runner.exitcode for runner in runners] == [0, 0]
    equals_brute_force(world)


def test_threads_at_once_wait_or_start_over(world: World) -> None:
    """Each with an evaluator of its own, on a ledger that none has made yet."""
    write_history(world)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(persist, [str(world.folder)] * 4))

    equals_brute_force(world)


@pytest.fixture
def finished(world: World) -> Iterator[tuple[World, Evaluator]]:
    """A world that was evaluated."""
    write_history(world)
    with Evaluator(world.evaluation(SETTINGS), environ={}) as evaluator:
        evaluator.run(as_of=STEPS[-1])
        yield world, evaluator


def test_a_second_run_changes_nothing(finished: tuple[World, Evaluator]) -> None:
    """There is nothing left to do."""
    world, evaluator = finished
    before = evaluator.as_of(STEPS[-1]).values

    report = evaluator.run(as_of=STEPS[-1])

    assert report.values == ()
    assert evaluator.as_of(STEPS[-1]).values == before
    equals_brute_force(world)


def test_backfill_finds_nothing_to_correct(finished: tuple[World, Evaluator]) -> None:
    """The sums of the ledger are those of the log and the applied labels."""
    world, evaluator = finished

    report = evaluator.backfill(START - 3 * DAY, START + 9 * DAY)

    assert report.values == ()
    equals_brute_force(world)


def test_a_label_that_is_taken_back_leaves_nothing(finished: tuple[World, Evaluator]) -> None:
    """There and back again is nowhere, but for the statuses."""
    _, evaluator = finished
    world = finished[0]
    before = evaluator.as_of(STEPS[-1]).values
    world.label([Fact(id="p-2-7", label=True, received_at=START + 25 * HOUR)])
    changed = evaluator.run(as_of=STEPS[-1])
    world.label([Fact(id="p-2-7", label=False, received_at=START + 25 * HOUR + MINUTE)])
    evaluator.run(as_of=STEPS[-1])

    assert changed.values != ()
    assert evaluator.as_of(STEPS[-1]).values == before
