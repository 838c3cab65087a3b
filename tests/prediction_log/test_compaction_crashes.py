"""Compaction that stops anywhere, beside readers and writers that go on."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from functools import partial
from itertools import count
from typing import IO, TYPE_CHECKING

import pytest

from otel_ml_metrics.errors import LogBusyError
from otel_ml_metrics.prediction_log.folder import ModelFolder
from otel_ml_metrics.prediction_log.layout import model_folder
from otel_ml_metrics.prediction_log.manifest import read_manifest
from otel_ml_metrics.prediction_log.reader import segments, visible
from otel_ml_metrics.prediction_log.removal import retire
from otel_ml_metrics.storage.files import LocalStorage
from tests.prediction_log.material import MODEL, compact_all, log_segment, rows_in, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otel_ml_metrics.storage.files import Fill

HOUR = 3_600.0


class KilledError(Exception):
    """Stands for a process that dies."""


class Watched(LocalStorage):
    """A folder that tells of each change to it, and of a file that is made and has no name yet."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def write(self, path: str, fill: Fill) -> None:
        """Make a file."""

        def told(file: IO[bytes]) -> None:
            fill(file)
            self._tell()

        super().write(path, told)
        self._tell()

    def delete(self, path: str) -> None:
        """Delete a file."""
        super().delete(path)
        self._tell()


def write_history(log: str) -> float:
    """A log with a compacted file, new segments, others that have to go, and what a killed process left; the time."""
    clock = time.time()
    for date in ("2013-04-07", "2013-04-08"):
        for _ in range(3):
            log_segment(log, ["c", "a"], date=date)
    compact_all(ModelFolder(log, MODEL, clock=lambda: clock))
    for part in range(4):
        log_segment(log, ["b", "d"], date="2013-04-08", extra=part > 1)
    with pytest.raises(KilledError):
        compact_all(ModelFolder(log, MODEL, clock=lambda: clock, storage=Watched(killed_at(1))))
    return clock + 2 * HOUR


def killed_at(step: int) -> Callable[[], None]:
    """Dies when it has been told so often."""
    steps = count(1)

    def tell() -> None:
        if next(steps) == step:
            raise KilledError

    return tell


def test_stopped_after_any_step_the_log_is_the_same(tmp_path: Path) -> None:
    """For those who read it then, and after the next run; nothing is left behind in the end."""
    for step in count(1):
        log = str(tmp_path / str(step))
        now = write_history(log)
        before = rows_of(log)
        storage = Watched(killed_at(step))
        try:
            compact_all(ModelFolder(log, MODEL, clock=lambda now=now: now, storage=storage))  # type: ignore[misc]  # a default binds the instant
        except KilledError:
            assert rows_of(log) == before, step
        else:
            break
        compact_all(ModelFolder(log, MODEL, clock=lambda now=now: now))  # type: ignore[misc]  # a default binds the instant
        assert rows_of(log) == before, step
        later = now + 30 * HOUR
        compact_all(ModelFolder(log, MODEL, clock=lambda later=later: later))  # type: ignore[misc]  # a default binds the instant
        left = {path.name for path in (tmp_path / str(step)).rglob("*") if path.is_file()}
        needed = {os.path.basename(segment.path) for segment in segments(log, MODEL).values()}  # noqa: PTH119  # text
        assert left == needed | {"manifest.json", ".maintenance.lock"}, step
        assert rows_of(log) == before, step
    assert step > 8


def test_readers_may_list_at_any_step_and_read_at_any_later_one(tmp_path: Path) -> None:
    """Each finds every row once, in files that are there, as long as the grace is not over."""
    log = str(tmp_path)
    now = write_history(log)
    before = rows_of(log)
    folder = model_folder(log, MODEL)
    listings: list[list[str]] = []

    def read() -> None:
        listings.append(LocalStorage().paths(folder))
        manifest = read_manifest(LocalStorage(), folder)
        for listed in listings:
            assert rows_in(visible(folder, listed, manifest)) == before

    compact_all(ModelFolder(log, MODEL, clock=lambda: now, storage=Watched(read)))

    assert len(listings) > 8


def test_stopped_while_retiring_old_dates_are_there_or_gone(tmp_path: Path) -> None:
    """Never a part of them."""
    for step in count(1):
        log = str(tmp_path / str(step))
        now = write_history(log)
        before = rows_of(log)
        dates = {name: segment.date for name, segment in segments(log, MODEL).items()}
        young = [row for row in before if dates[row[2]] >= "2013-04-08"]
        try:
            retire(ModelFolder(log, MODEL, clock=lambda now=now: now, storage=Watched(killed_at(step))), "2013-04-08")  # type: ignore[misc]  # a default binds the instant
        except KilledError:
            assert rows_of(log) in (before, young)
            retire(ModelFolder(log, MODEL, clock=lambda now=now: now), "2013-04-08")  # type: ignore[misc]  # a default binds the instant
        else:
            break
        assert rows_of(log) == young
    assert step == 3


def write_some(log: str, seed: int) -> None:
    """Log segments for some seconds."""
    chance = random.Random(seed)
    for _ in range(150):
        log_segment(log, [f"{chance.getrandbits(64):016x}" for _ in range(20)], date=f"2013-04-0{chance.randint(7, 8)}")


def compact_for_ever(log: str) -> None:
    """Compact until somebody ends this process."""
    while True:
        try:
            compact_all(ModelFolder(log, MODEL))
        except LogBusyError:
            continue


@pytest.mark.slow
def test_processes_write_compact_and_read_at_once(tmp_path: Path) -> None:
    """Two writers, two that would compact and are killed now and then: a reader never loses or repeats a row."""
    log = str(tmp_path)
    log_segment(log, ["a"])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    start = partial(context.Process, daemon=True)
    writers = [start(target=write_some, args=(log, seed)) for seed in range(2)]
    compactors = [start(target=compact_for_ever, args=(log,)) for _ in range(2)]
    for process in (*writers, *compactors):
        process.start()
    known: set[tuple[str, int]] = set()
    killed, deadline = 0, time.monotonic() + 120
    while time.monotonic() < deadline and (killed < 5 or any(writer.is_alive() for writer in writers)):
        found = [row[2:] for row in rows_of(log)]
        assert len(set(found)) == len(found)
        assert known <= set(found)
        known = set(found)
        if read_manifest(LocalStorage(), model_folder(log, MODEL)).files:
            victim = compactors.pop(0)
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)
            victim.join()
            compactors.append(start(target=compact_for_ever, args=(log,)))
            compactors[-1].start()
            killed += 1
    for process in (*writers, *compactors):
        process.kill()
        process.join()

    assert killed >= 5
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(rows_of(log)) == 2 * 150 * 20 + 1
