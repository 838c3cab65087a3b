"""Offer predictions ten times faster than they are drained: is memory bounded, and is every row accounted for?

Four threads record as a pace tells them. A metric of the user is slow, as one that asks a service: it sleeps for each
of its rows, and so the thread that drains comes to a tenth of what is offered. Each kind of row has a process of its
own, whose memory is that of a monitor with a prediction log. `grown` is how much of it came since the first drain: what
waits, what is worked off, and what writing the log takes. Rows that were recorded are those of the counter
`ml.predictions`, of the log, and those that were given an id; with the dropped ones they must be the offered ones,
one by one.

Found (2026-11): what was being drained did not count, so that memory came to twice of what was configured; neither did
fields beyond a few, nor what a batch of one row takes beside its one row, which came to ten times of it.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow.parquet as pq
from opentelemetry.sdk.metrics.export import NumberDataPoint
from worlds import in_a_process

from otel_ml_metrics import ModelMonitor, counter
from otel_ml_metrics.prediction_log.layout import SEGMENT_PATTERN
from otel_ml_metrics.testing import TelemetryCapture

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Offer = Callable[[ModelMonitor, int], Sequence[str | None]]

THREADS: Final = 4
OVERLOAD: Final = 10
TICK: Final = 0.02
MIB: Final = 1 << 20
PAGE: Final = 4_096
"""Bytes in which Linux counts the memory of a process."""

FIELDS: Final = [f"feature_{at}" for at in range(100)]
BATCH: Final = 20


def ordinary(monitor: ModelMonitor, at: int) -> Sequence[str | None]:
    """A row of six short fields."""
    carrier, origin = f"C{at % 16}", f"O{at % 3}"
    return [monitor.record(score=at % 997 / 997, prediction=True, carrier=carrier, origin=origin, fare=at / 7)]


def text(monitor: ModelMonitor, at: int) -> Sequence[str | None]:
    """A row with a text of four thousand characters."""
    return [monitor.record(score=0.5, carrier=f"C{at % 16}", note=f"{at:>4000}")]


def features(monitor: ModelMonitor, at: int) -> Sequence[str | None]:
    """A row of a hundred numbers."""
    return [monitor.record(score=0.5, carrier=f"C{at % 16}", **dict.fromkeys(FIELDS, at / 7))]


def batch(monitor: ModelMonitor, at: int) -> Sequence[str | None]:
    """A batch of a few rows, as of one request."""
    return monitor.record_batch(score=np.full(BATCH, at % 997 / 997), carrier=f"C{at % 16}")


@dataclass(frozen=True)
class Kind:
    """What is offered.

    Args:
        offer: Records it.
        rows: How many rows that is.
        drained: Rows that the slow metric takes in a second.
    """

    offer: Offer
    rows: int
    drained: float


KINDS: Final = {
    "ordinary rows": Kind(ordinary, 1, 2_500),
    "long texts": Kind(text, 1, 1_000),
    "100 features": Kind(features, 1, 1_000),
    f"batches of {BATCH}": Kind(batch, BATCH, 10_000),
}


@dataclass(frozen=True)
class Found:
    """What became of a kind.

    Args:
        offered: Rows.
        given_ids: Rows that were given an id.
        recorded: Rows that the counter has.
        logged: Rows that the log has.
        dropped: Rows that were dropped, by reason.
        drained: Rows that were drained while others were offered.
        grown: Bytes by which the process grew, at most.
    """

    offered: int
    given_ids: int
    recorded: int
    logged: int
    dropped: Mapping[str, float]
    drained: int
    grown: int

    def is_exact(self) -> bool:
        """Whether every row is accounted for."""
        accounted = self.recorded + sum(self.dropped.values())
        return accounted == self.offered and self.recorded == self.logged == self.given_ids


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def recorded_now(telemetry: TelemetryCapture) -> int:
    """Rows that the counter has so far."""
    points = telemetry.metrics(flush=False)["ml.predictions"].data.data_points
    return sum(int(point.value) for point in points if isinstance(point, NumberDataPoint))


def slow(drained: float) -> Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]:
    """A metric whose value takes its time for each row."""

    def value(columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        time.sleep(len(columns["score"]) / drained)
        return columns["score"]

    return value


def offer(monitor: ModelMonitor, kind: Kind, seconds: float, thread: int) -> tuple[int, int]:
    """Offer a thread's share, evenly over the time; rows offered, and rows that were given an id."""
    start = time.monotonic()
    calls_per_second = OVERLOAD * kind.drained / kind.rows / THREADS
    calls = taken = 0
    while (gone := time.monotonic() - start) < seconds:
        while calls < gone * calls_per_second:
            taken += sum(each is not None for each in kind.offer(monitor, calls * THREADS + thread))
            calls += 1
        time.sleep(TICK)
    return calls * kind.rows, taken


def overload(name: str, seconds: float, rows: int, most_bytes: int, log: Path) -> Found:
    """Offer one kind to a monitor; run in a process of its own."""
    kind = KINDS[name]
    with TelemetryCapture() as telemetry, ThreadPoolExecutor(THREADS) as pool:
        monitor = ModelMonitor(
            "flight-delay",
            slices=["carrier", "origin"],
            fields={"fare": "number", "note": "string"} | dict.fromkeys(FIELDS, "number"),
            metrics=[counter("looked_up", unit="1", value=slow(kind.drained))],
            log=log,
            buffer_rows=rows,
            buffer_bytes=most_bytes,
            meter_provider=telemetry.meter_provider,
        )
        first = sum(each is not None for each in kind.offer(monitor, 0))
        assert monitor.force_flush()
        before, peak, done = resident(), 0, threading.Event()
        threads = [pool.submit(offer, monitor, kind, seconds, thread) for thread in range(THREADS)]
        while not all(thread.done() for thread in threads):
            peak = max(peak, resident())
            done.wait(TICK)
        offered, taken = (sum(column) for column in zip(*(thread.result() for thread in threads), strict=True))
        drained = recorded_now(telemetry) - first
        assert monitor.force_flush(600)
        recorded = int(sum(telemetry.values("ml.predictions", by="ml.model.name").values()))
        dropped = telemetry.values("ml.monitor.dropped", by="reason")
    logged = sum(pq.read_metadata(path).num_rows for path in log.rglob(SEGMENT_PATTERN))
    return Found(offered + first, taken + first, recorded, logged, dropped, drained, peak - before)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog="Exit code 1 if a row is not accounted for, or memory grew by more than --bytes.",
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long each kind is offered (default: 60)")
    parser.add_argument("--rows", type=int, default=65_536, help="buffer_rows (default: 65536)")
    parser.add_argument("--bytes", type=int, default=64 * MIB, help="buffer_bytes (default: 64 MiB)")
    return parser.parse_args()


def main() -> int:
    """Overload a monitor with each kind and print the table."""
    asked = arguments()
    print(f"{asked.seconds:g} s of each, {THREADS} threads; bound: {asked.rows:,} rows, {asked.bytes / MIB:g} MiB")
    header = ("offered", "recorded", "dropped", "accounted", "x drained", "grown", "of bound")
    print(f"{'kind':<16} " + " ".join(f"{each:>11}" for each in header))
    good = True
    for name in KINDS:
        with tempfile.TemporaryDirectory() as log:
            found: Found = in_a_process(overload, name, asked.seconds, asked.rows, asked.bytes, Path(log))
        dropped = sum(found.dropped.values())
        accounted = "exactly" if found.is_exact() else "NO"
        ratio, share = found.offered / max(1, found.drained), found.grown / asked.bytes
        print(
            f"{name:<16} {found.offered:>11,} {found.recorded:>11,} {dropped:>11,.0f} {accounted:>11} {ratio:>11.1f}"
            f" {found.grown / MIB:>7.1f} MiB {share:>11.2f}",
            flush=True,
        )
        good &= found.is_exact() and found.grown <= asked.bytes
    print("to reach: recorded + dropped = offered, one by one, and at most 1.00 of the bound")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
