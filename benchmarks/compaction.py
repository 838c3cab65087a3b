"""Time the compaction of a prediction log, and see how much memory it takes.

Logs as model servers leave them: four dates, each in many segments, flushed every 10,000 or every 1,000 rows; and one
whose ids the caller made and which are in no order, so that every segment of a date overlaps every other. Each turn
compacts a copy in a process of its own, from listing the folder to the last published file, synced.

Found (2026-11): of a million rows in segments of 10,000, reading takes 0.6 s of a processor, sorting and picking rows
0.4 s and writing 0.5 s; reading goes on in threads beside the rest. Segments of 1,000 rows take four times as long to
read, by the file and not by the row. What had cost more: dictionaries of ids, names of segments carried as texts, and
sorting by DuckDB (2.5 times the processor time of all of this).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from worlds import CARRIERS, DAY, FIRST, MODEL, ORIGINS, hold_threads, in_a_process, made, monitor, peak_bytes

from otel_ml_metrics.prediction_log.compaction import batches, compact
from otel_ml_metrics.prediction_log.folder import ModelFolder

DATES: Final = 4
GIB: Final = 1024**3
LEAST_RATE: Final = 500_000
LIMIT_BYTES: Final = GIB


@dataclass(frozen=True)
class Shape:
    """A log.

    Args:
        told: What it is.
        per_segment: Rows of a segment.
        is_ordered: Whether ids carry their instant.
        is_judged: Whether the rate has to be reached with it.
    """

    told: str
    per_segment: int
    is_ordered: bool = True
    is_judged: bool = False


SHAPES: Final = (
    Shape("10,000 rows a segment", 10_000, is_judged=True),
    Shape("1,000 rows a segment", 1_000),
    Shape("10,000 rows, ids in no order", 10_000, is_ordered=False),
)


@dataclass(frozen=True)
class Turn:
    """What one compaction took.

    Args:
        rows: That it merged.
        seconds: By the clock.
        processor: Seconds of processors.
        peak: Bytes of memory.
        files: Before and after.
        sizes: Bytes on disk before and after.
    """

    rows: int
    seconds: float
    processor: float
    peak: int
    files: tuple[int, int]
    sizes: tuple[int, int]


def make(shape: Shape, rows: int, folder: Path) -> None:
    """Write a log."""
    logger = monitor(folder)
    segments = rows // DATES // shape.per_segment
    for date in range(DATES):
        for part in range(segments):
            random = np.random.default_rng([date, part])
            seconds = (part + np.sort(random.uniform(size=shape.per_segment))) * 86_400 / segments
            instants = np.datetime64(int((FIRST + DAY * date).timestamp() * 1e6), "us")
            score = random.beta(1, 4, shape.per_segment)
            columns: dict[str, Any] = {} if shape.is_ordered else {"prediction_id": ids(random, shape.per_segment)}
            logger.record_batch(
                score=score,
                prediction=score > 0.3,
                predicted_at=instants + (seconds * 1e6).astype("timedelta64[us]"),
                carrier=random.choice(CARRIERS, shape.per_segment),
                origin=random.choice(ORIGINS, shape.per_segment),
                **columns,
            )
            assert logger.force_flush()
    logger.shutdown()


def ids(random: np.random.Generator, rows: int) -> list[str]:
    """Ids that a caller made, as long as ours."""
    return [row.tobytes().hex() for row in random.integers(0, 256, (rows, 18), dtype=np.uint8)]


def compact_once(folder: Path) -> Turn:
    """Compact a log, and say what it took."""
    hold_threads()
    before = sizes(folder)
    start, processor = time.perf_counter(), time.process_time()
    log = ModelFolder(folder / "predictions", MODEL)
    with log.alone():
        done = [merged for batch in batches(log) for merged in compact(log, batch)]
    took = time.perf_counter() - start, time.process_time() - processor
    return Turn(
        rows=sum(merged.rows for merged in done),
        seconds=took[0],
        processor=took[1],
        peak=peak_bytes(),
        files=(len(before), len(done)),
        sizes=(sum(before), sum(merged.size for merged in done)),
    )


def sizes(folder: Path) -> list[int]:
    """Bytes of each segment."""
    return [path.stat().st_size for path in (folder / "predictions").rglob("s-*.parquet")]


def turn(folder: Path) -> Turn:
    """Compact a copy, whose files share their bytes with the log's."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        copy = Path(aside) / "log"
        shutil.copytree(folder, copy, copy_function=os.link)
        done: Turn = in_a_process(compact_once, copy)
    return done


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"Exit code 1 if the rate of the first log is below {LEAST_RATE:,} rows/s, or memory above 1 GiB.",
    )
    parser.add_argument("--rows", type=int, default=4_000_000, help="rows of each log (default: 4000000)")
    parser.add_argument("--turns", type=int, default=3, help="compactions of each (default: 3)")
    return parser.parse_args()


def main() -> int:
    """Compact each log a few times and print the table."""
    asked = arguments()
    is_reached = True
    print(f"{asked.rows:,} rows over {DATES} dates; medians of {asked.turns} turns")
    print(f"{'log':<30} {'rows/s':>9} {'of a processor':>15} {'peak memory':>12} {'files':>13} {'MB':>13}")
    for shape in SHAPES:
        name = f"compaction-{asked.rows}-{shape.per_segment}-{'ordered' if shape.is_ordered else 'mixed'}"
        folder = made(name, partial(make, shape, asked.rows))
        turns = [turn(folder) for _ in range(asked.turns)]
        rate = statistics.median(each.rows / each.seconds for each in turns)
        processor = statistics.median(each.rows / each.processor for each in turns)
        peak = max(each.peak for each in turns)
        files, megabytes = turns[0].files, [f"{size / 1e6:.0f}" for size in turns[0].sizes]
        told = f"{files[0]:,} -> {files[1]}"
        print(
            f"{shape.told:<30} {rate:>9,.0f} {processor:>11,.0f} r/s {peak / GIB:>8.2f} GiB {told:>13}"
            f" {' -> '.join(megabytes):>13}{f'  (to reach: {LEAST_RATE:,} rows/s)' if shape.is_judged else ''}",
            flush=True,
        )
        is_reached = is_reached and peak <= LIMIT_BYTES and (rate >= LEAST_RATE or not shape.is_judged)
    return 0 if is_reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
