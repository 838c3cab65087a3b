"""Time durable writes of the prediction log against writing the same bytes with nothing but the system's calls.

Two processes flush 1,000 rows at a time, each flush durable before the next: made into a segment, written aside,
synced, renamed, and its folder synced. Beside it two processes write the bytes of those very segments by open, write,
fsync, rename and an fsync of the folder. They take turns; the ratio is that of the medians. The last column is what a
model server sees: `record_batch` and `force_flush`, with metrics added up and a thread in between.

Found (2026-11): what a flush costs besides the disk's part is half the Parquet file, by the column and not by the byte,
and half the columns themselves. What had cost more: looking for a dictionary in columns where every value is new,
statistics of columns that no reader looks rows up by, constants and texts that went through offsets of 64 bits, ids put
together by an index of their digits, and a call to the file for each page.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.identifiers import IdSource
from otel_ml_metrics.prediction_log.layout import SEGMENT_PATTERN
from otel_ml_metrics.prediction_log.writer import LogWriter
from otel_ml_metrics.reading import RowSchema

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_ml_metrics.batch import PredictionBatch

PROCESSES: Final = 2
ROWS: Final = 1_000
LEAST_RATIO: Final = 0.8
DAY_US: Final = 86_400_000_000
FIRST_US: Final = 1_364_774_400_000_000
CARRIERS: Final = ["AA", "B6", "DL", "EV", "MQ", "UA", "US", "WN"]
SCHEMA: Final = RowSchema(["carrier", "origin"], {"fare": "number"}, "binary")

Work = "Callable[[], None]"


def columns(flush: int) -> dict[str, Any]:
    """The columns of one flush."""
    random = np.random.default_rng(flush)
    score = random.beta(1, 4, ROWS)
    instants = FIRST_US + np.sort(random.integers(0, DAY_US, ROWS))
    return {
        "score": score,
        "prediction": score > 0.3,
        "predicted_at": instants.astype("datetime64[us]"),
        "carrier": random.choice(CARRIERS, ROWS),
        "origin": random.choice(["EWR", "JFK", "LGA"], ROWS),
        "fare": random.gamma(2, 100, ROWS),
    }


def batches(flushes: int) -> list[PredictionBatch]:
    """What a monitor hands to its log."""
    source = IdSource()
    return [
        SCHEMA.read_batch(columns(flush), now_us=FIRST_US, id_source=source, context=None) for flush in range(flushes)
    ]


def log_rows(folder: Path, flushes: int) -> list[Work]:
    """Flushes of the log's writer."""
    writer = LogWriter(
        folder,
        model="flight-delay",
        constants={"version": "2013.04", "variant": "champion"},
        slices=SCHEMA.slices,
        fields=SCHEMA.fields,
    )

    def write(batch: PredictionBatch) -> None:
        assert not writer.write([batch]).lost

    return [partial(write, batch) for batch in batches(flushes)]


def record_rows(folder: Path, flushes: int) -> list[Work]:
    """Flushes of a monitor."""
    monitor = ModelMonitor(
        "flight-delay",
        version="2013.04",
        variant="champion",
        slices=SCHEMA.slices,
        fields=["fare"],
        log=folder,
        task="binary",
        interval=3_600,
    )

    def flush(given: dict[str, Any]) -> None:
        monitor.record_batch(**given)
        assert monitor.force_flush()

    return [partial(flush, columns(at)) for at in range(flushes)]


def write_bytes(folder: Path, flushes: int, *, like: Path) -> list[Work]:
    """The same bytes by system calls."""
    date = folder / "dt"
    date.mkdir(parents=True, exist_ok=True)
    segments = sorted(like.rglob(SEGMENT_PATTERN))
    contents = [segments[at % len(segments)].read_bytes() for at in range(flushes)]

    def write(at: int, content: bytes) -> None:
        aside = date / f".tmp-{os.getpid()}-{at}"
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(date / f"s-{os.getpid()}-{at}")
        descriptor = os.open(date, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    return [partial(write, at, content) for at, content in enumerate(contents)]


def work_off(make: Callable[[Path, int], list[Work]], folder: Path, flushes: int, ready: Any, go: Any) -> None:  # noqa: ANN401  # of multiprocessing
    """What each process does: make everything ready, wait for the others, and flush."""
    works = make(folder, flushes)
    works[0]()  # the first imports and connects
    ready.release()
    go.wait()
    for work in works[1:]:
        work()


def rows_per_second(make: Callable[[Path, int], list[Work]], folder: Path, flushes: int) -> float:
    """How many rows the processes make durable together."""
    context = get_context("spawn")
    ready, go = context.Semaphore(0), context.Event()
    processes = [
        context.Process(target=work_off, args=(make, folder, flushes + 1, ready, go)) for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    start = time.perf_counter()
    go.set()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return PROCESSES * flushes * ROWS / (time.perf_counter() - start)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], epilog=f"Exit code 1 if the ratio is below {LEAST_RATIO:g}."
    )
    parser.add_argument("--flushes", type=int, default=500, help="flushes of each process in a turn (default: 500)")
    parser.add_argument("--pairs", type=int, default=7, help="turns (default: 7)")
    parser.add_argument("--folder", type=Path, help="folder on the disk to try (default: the system's temporary one)")
    return parser.parse_args()


def main() -> int:
    """Run the turns and print the table."""
    asked = arguments()
    found: list[tuple[float, float, float]] = []
    with tempfile.TemporaryDirectory(dir=asked.folder) as aside:
        print(f"{PROCESSES} processes, {asked.flushes:,} flushes of {ROWS:,} rows each; rows made durable per second")
        print(f"{'turn':>6} {'log':>12} {'bytes alone':>12} {'ratio':>7} {'monitor':>12}")
        for turn in range(1, asked.pairs + 1):
            log, raw, monitor = (Path(aside) / f"{turn}-{name}" for name in ("log", "raw", "monitor"))
            logged = rows_per_second(log_rows, log, asked.flushes)
            bare = rows_per_second(partial(write_bytes, like=log), raw, asked.flushes)
            recorded = rows_per_second(record_rows, monitor, asked.flushes)
            found.append((logged, bare, recorded))
            print(f"{turn:>6} {logged:>12,.0f} {bare:>12,.0f} {logged / bare:>6.2f}x {recorded:>12,.0f}", flush=True)
            for folder in (log, raw, monitor):
                shutil.rmtree(folder)
    logged, bare, recorded = (statistics.median(column) for column in zip(*found, strict=True))
    ratio = logged / bare
    print(f"{'median':>6} {logged:>12,.0f} {bare:>12,.0f} {ratio:>6.2f}x {recorded:>12,.0f}")
    print(f"to reach: {LEAST_RATIO:g}x")
    return 0 if ratio >= LEAST_RATIO else 1


if __name__ == "__main__":
    raise SystemExit(main())
