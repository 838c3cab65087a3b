"""Imports that die anywhere and are repeated, and imports that meet."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from pyarrow import parquet

from otel_ml_metrics.engines.duckdb import DuckDBEngine
from otel_ml_metrics.errors import LogBusyError, LogError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.importing.taking import take_over
from otel_ml_metrics.prediction_log.reader import log_files
from tests.evaluation.material import DAY, HOUR, MODEL, START, us
from tests.importing.material import ForeignTableWorld, ForeignWorld
from tests.importing.test_files import equals_brute_force, labels, predictions

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerContext

    from otel_ml_metrics.configuration import Evaluation

LATER: Final = START + 4 * DAY


class KilledError(Exception):
    """Stands for a process that dies."""


def bring_over(
    evaluation: Evaluation, tell: Callable[[str, int, int], None] = lambda *_told: None, **given: Any
) -> None:
    """Take over what is new, with nothing behind it."""
    engine = DuckDBEngine()
    try:
        take_over(evaluation, engine, until_us=us(LATER), tell=tell, **given)
    finally:
        engine.close()


def ids(evaluation: Evaluation) -> Counter[str]:
    """How often each id is in the log that is there."""
    found: Counter[str] = Counter()
    for path in log_files(evaluation.predictions, MODEL):
        found.update(map(str, parquet.read_table(path, partitioning=None).column("prediction_id").to_pylist()))
    return found


def dying_at(moment: int) -> Callable[[str, int, int], None]:
    """Die when progress is told for the given time."""
    told = 0

    def tell(_stage: str, _done: int, _total: int) -> None:
        nonlocal told
        told += 1
        if told == moment:
            raise KilledError

    return tell


def write_history(world: ForeignWorld) -> None:
    """Predictions of two days, with labels."""
    world.log(predictions(0, 20))
    world.log(predictions(20, 40))
    world.label(labels(0, 40))


@pytest.mark.parametrize("kind", [ForeignWorld, ForeignTableWorld])
def test_an_import_that_dies_at_any_step_is_made_up_for(tmp_path: Path, kind: type[ForeignWorld]) -> None:
    """Between batches, before and after the progress is replaced, before and after segments are shown."""
    world = kind(tmp_path)
    write_history(world)
    deaths = 0
    while True:
        evaluation = world.evaluation(predictions=world.foreign | {"into": str(tmp_path / f"log-{deaths}")})
        try:
            bring_over(evaluation, dying_at(deaths + 1))
        except KilledError:
            deaths += 1
        else:
            break
        assert set(ids(evaluation).values()) <= {1}

        bring_over(evaluation)

        assert ids(evaluation) == Counter(f"p-{row}" for row in range(40))
        assert not list(Path(evaluation.predictions).glob("*/dt=*/.import-*"))

    assert deaths >= 4


def test_what_a_dead_import_showed_was_evaluated_and_stays(files: ForeignWorld) -> None:
    """The next run takes the rest, and says what brute force says."""
    write_history(files)
    for moment in range(1, 6):
        files.log(predictions(40 + moment, 41 + moment))
        dying = Evaluator(files.evaluation(), environ={}, progress=dying_at(moment))
        with dying as evaluator, pytest.raises(KilledError):
            evaluator.run(as_of=START + (2 + moment) * HOUR)
        files.run(START + (2 + moment) * HOUR)

    files.run(LATER)

    equals_brute_force(files)


def processes() -> ForkServerContext:
    """Where processes start from: a server that has imported everything, and has no threads that a fork would lose."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def import_into(folder: str, into: str) -> None:
    """Take over what is new; in a process of its own."""
    world = ForeignWorld(Path(folder))
    bring_over(world.evaluation(predictions=world.foreign | {"into": into}))


@pytest.mark.slow
def test_kill_9_at_any_time_is_made_up_for(files: ForeignWorld) -> None:
    """Processes die at different ages; what they left is whole, and every row is there once at the end."""
    for part in range(12):
        files.log(predictions(20 * part, 20 * part + 20))
    into = str(files.folder / "log")
    evaluation = files.evaluation(predictions=files.foreign | {"into": into})
    context = processes()
    for attempt in range(12):
        process = context.Process(target=import_into, args=(str(files.folder), into))
        process.start()
        process.join(timeout=0.02 + 0.03 * attempt)
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        process.close()
        assert set(ids(evaluation).values()) <= {1}

    bring_over(evaluation)

    assert ids(evaluation) == Counter(f"p-{row}" for row in range(240))


def test_several_at_once_take_everything_once(files: ForeignWorld) -> None:
    """One takes over, the others wait and find nothing left to do."""
    for part in range(6):
        files.log(predictions(20 * part, 20 * part + 20))
    into = str(files.folder / "log")
    context = processes()
    runners = [context.Process(target=import_into, args=(str(files.folder), into)) for _ in range(3)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join(timeout=90)

    assert [runner.exitcode for runner in runners] == [0, 0, 0]
    assert ids(files.evaluation(predictions=files.foreign | {"into": into})) == Counter(
        f"p-{row}" for row in range(120)
    )


def test_another_import_is_not_waited_for_for_ever(files: ForeignWorld) -> None:
    """The error says that nothing was changed; flows try again on such."""
    write_history(files)
    evaluation = files.evaluation()
    folder = Path(evaluation.predictions) / f"model={MODEL}"
    folder.mkdir(parents=True)
    with (folder / ".import.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LogBusyError, match="Another run takes predictions over"):
            bring_over(evaluation, patience=0.0)

    bring_over(evaluation)

    assert len(ids(evaluation)) == 40


@pytest.mark.parametrize("content", ["", "{", '{"schema": 1}', '{"schema": 7, "settings": {}, "columns": {}}'])
def test_a_broken_progress_is_not_guessed_at(files: ForeignWorld, content: str) -> None:
    """Taking everything over again would double it."""
    write_history(files)
    evaluation = files.evaluation()
    bring_over(evaluation)
    (Path(evaluation.predictions) / f"model={MODEL}" / "import.json").write_text(content)

    with pytest.raises(LogError, match=r"(no progress of an import|another version)"):
        bring_over(evaluation)


def test_a_folder_that_cannot_be_made_is_named(files: ForeignWorld) -> None:
    """With what to do."""
    write_history(files)
    (files.folder / "occupied").write_text("a file")
    evaluation = files.evaluation(predictions=files.foreign | {"into": str(files.folder / "occupied")})

    with pytest.raises(LogError, match=r"cannot be taken over into .*occupied.*name another folder"):
        bring_over(evaluation)
