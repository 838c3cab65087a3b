"""Time what a prediction costs a model server, against the OpenTelemetry SDK, prometheus_client and plain numpy.

A prediction feeds five metrics: the counter of predictions, the histogram of scores, and a counter and two histograms
of the user; it has three slices. Beside it stand five `record` of the SDK's histogram with three attributes, and five
observations of labelled histograms of prometheus_client. They take turns; the ratios are those of the medians. Times of
the calling thread are its processor time, those of the process are that of all its threads, with drains, prediction log
and an export.


A server's drain runs every second, so the rows that are timed come in runs of 2,000, with a drain between them that is
not on the calling thread. A burst of 20,000 without one stands below: its rows lie in memory that the process has not
touched yet.

Found (2026-11): of a `record` a third was the id, one formatting of five numbers: now it is put together from texts
that are made ahead; a fifth was the class of the row, which is a plain tuple now; 0.7 of 2.5 us was measuring what each
value holds, where now a row is asked once whether it is light. Whether there is room and whether the drain must be
woken were four questions; they are one comparison now, which took a twelfth off. What is left is the question for large
values (a quarter), the id (an eighth), the dictionary of the arguments, which Python makes for the call (an eighth),
the append (a tenth), the clock and the current context (a twentieth each). The memory of rows that wait is a sixth more
in a burst. To ask all that within `record`, without a call for each part, would take another tenth off, and put the
parts of four modules into one function.

A batch of a million rows took 2.2 to 3.5 times the floor. It made eleven arrays of 8 MB on its way, each of them fresh
memory, and searched the bounds as the floor does. Now it is added up in blocks that stay in the cache, and where all
its rows have one set of attributes they are compared with each of a few bounds: 0.65 of the floor.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as PrometheusHistogram
from worlds import SERVED, hold_threads

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.semconv import SCORE_BOUNDS
from otel_ml_metrics.telemetry.exporter import MLMetricExporter

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS: Final = 20_000
"""Of a turn, and of a burst."""
BETWEEN_DRAINS: Final = 2_000
"""Rows of a second, on a busy server."""
METRICS: Final = 5
BATCH: Final = 1_000_000
SLOW: Final = 10_000
"""Calls of what is slow: its time per call is what counts."""

ATTRIBUTES: Final = {"ml.slice.carrier": "UA", "ml.slice.origin": "EWR", "ml.slice.cabin": "economy"}
LEAST_ON_THREAD, LEAST_IN_ALL, MOST_OF_FLOOR, LEAST_OF_BATCH = 30.0, 8.0, 2.0, 100.0


class Discarding(MetricExporter):
    """Exports to nowhere: what an exporter costs is its own."""

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object) -> MetricExportResult:
        """Take everything."""
        del metrics_data, timeout_millis
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing waits."""
        return timeout_millis > 0

    def shutdown(self, timeout_millis: float = 30_000, **_: object) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Args:
        work: What is done.
        ours: Seconds per call, or per batch.
        others: Against what, its seconds, and what is to be reached.
    """

    work: str
    ours: float
    others: list[tuple[str, float, str, bool]]


def new_provider() -> MeterProvider:
    """A provider with a wrapped exporter, which exports when it is told to."""
    reader = PeriodicExportingMetricReader(MLMetricExporter(Discarding()), export_interval_millis=3_600_000)
    return MeterProvider([reader], shutdown_on_exit=False)


def new_monitor(provider: MeterProvider, log: Path | None) -> ModelMonitor:
    """A monitor with five metrics and three slices."""
    return ModelMonitor(
        **SERVED,
        log=log,
        buffer_rows=10 * CALLS,
        meter_provider=provider,
    )


def record(monitor: ModelMonitor, calls: int) -> None:
    """Record predictions as a server does."""
    for _ in range(calls):
        monitor.record(score=0.83, prediction=True, carrier="UA", origin="EWR", cabin="economy", fare=250.0)


def new_sdk() -> Callable[[int], None]:
    """Five records of the SDK, so often."""
    meter = MeterProvider(
        [PeriodicExportingMetricReader(Discarding(), export_interval_millis=3_600_000)], shutdown_on_exit=False
    ).get_meter("benchmark")
    histograms = [
        meter.create_histogram(f"h{at}", explicit_bucket_boundaries_advisory=list(SCORE_BOUNDS))
        for at in range(METRICS)
    ]

    def work(calls: int) -> None:
        for _ in range(calls):
            for each in histograms:
                each.record(0.83, ATTRIBUTES)

    return work


def new_prometheus() -> Callable[[int], None]:
    """Five labelled observations, so often."""
    registry = CollectorRegistry()
    names = ["carrier", "origin", "cabin"]
    histograms = [
        PrometheusHistogram(f"h{at}", "A histogram.", names, registry=registry, buckets=SCORE_BOUNDS)
        for at in range(METRICS)
    ]

    def work(calls: int) -> None:
        for _ in range(calls):
            for each in histograms:
                each.labels("UA", "EWR", "economy").observe(0.83)

    return work


def per_call(clock: Callable[[], float], work: Callable[[int], object], calls: int) -> float:
    """Seconds of a clock for each call."""
    start = clock()
    work(calls)
    return (clock() - start) / calls


def on_the_thread(turns: int) -> list[Row]:
    """What the calling thread pays."""
    provider = new_provider()
    monitor = new_monitor(provider, None)
    sdk_work, prometheus_work = new_sdk(), new_prometheus()
    steady, burst, sdk, prometheus = [], [], [], []
    for _ in range(turns):
        for _ in range(CALLS // BETWEEN_DRAINS):
            steady.append(per_call(time.thread_time, partial(record, monitor), BETWEEN_DRAINS))
            assert monitor.force_flush()
        sdk.append(per_call(time.thread_time, sdk_work, SLOW))
        burst.append(per_call(time.thread_time, partial(record, monitor), CALLS))
        assert monitor.force_flush()
        prometheus.append(per_call(time.thread_time, prometheus_work, SLOW))
    monitor.shutdown()
    provider.shutdown()
    ours, at_once, theirs, labelled = (statistics.median(times) for times in (steady, burst, sdk, prometheus))
    return [
        Row(
            "record, on the calling thread",
            ours,
            [
                ("5 SDK records", theirs, f">= {LEAST_ON_THREAD:g}x", theirs / ours >= LEAST_ON_THREAD),
                ("5 prometheus_client observes", labelled, "> 1x", labelled > ours),
            ],
        ),
        Row(f"... {CALLS:,} without a drain", at_once, [("5 SDK records", theirs, "", True)]),
    ]


def in_all(turns: int, folder: Path) -> Row:
    """What the process pays, prediction log and an export included."""
    provider = new_provider()
    monitor = new_monitor(provider, folder / "log")
    sdk_work = new_sdk()
    ours, sdk = [], []

    def work(calls: int) -> None:
        record(monitor, calls)
        assert monitor.force_flush()
        provider.force_flush()

    for _ in range(turns):
        ours.append(per_call(time.process_time, work, CALLS))
        sdk.append(per_call(time.process_time, sdk_work, SLOW))
    monitor.shutdown()
    provider.shutdown()
    mine, theirs = statistics.median(ours), statistics.median(sdk)
    others = [("5 SDK records", theirs, f">= {LEAST_IN_ALL:g}x", theirs / mine >= LEAST_IN_ALL)]
    return Row("record, all of the process", mine, others)


def batches(turns: int) -> Row:
    """A million rows into one histogram."""
    values = np.random.default_rng(1).beta(1, 4, BATCH)
    provider = new_provider()
    monitor = ModelMonitor("flight-delay", meter_provider=provider, interval=3_600)
    sdk_work = new_sdk()
    bounds = np.array(SCORE_BOUNDS)

    def work(_: int) -> None:
        monitor.record_batch(score=values)
        assert monitor.force_flush()

    def floor(_: int) -> None:
        np.bincount(np.searchsorted(bounds, values), minlength=len(bounds) + 1)

    ours, numpy, sdk = [], [], []
    for _ in range(turns):
        ours.append(per_call(time.process_time, work, 1))
        numpy.append(per_call(time.process_time, floor, 1))
        sdk.append(per_call(time.process_time, sdk_work, SLOW) / METRICS * BATCH)
    monitor.shutdown()
    provider.shutdown()
    mine, least, theirs = (statistics.median(times) for times in (ours, numpy, sdk))
    others = [
        ("searchsorted + bincount", least, f"<= {MOST_OF_FLOOR:g}x the floor", mine / least <= MOST_OF_FLOOR),
        ("a loop of SDK records", theirs, f">= {LEAST_OF_BATCH:g}x", theirs / mine >= LEAST_OF_BATCH),
    ]
    return Row("record_batch of 1,000,000 rows", mine, others)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], epilog="Exit code 1 if a ratio is not reached."
    )
    parser.add_argument("--turns", type=int, default=9, help="turns of each work (default: 9)")
    return parser.parse_args()


def main() -> int:
    """Take turns and print the table."""
    asked = arguments()
    hold_threads()
    with tempfile.TemporaryDirectory() as folder:
        rows = [*on_the_thread(asked.turns), in_all(asked.turns, Path(folder)), batches(asked.turns)]
    print(f"medians of {asked.turns} turns")
    print(f"{'work':<32} {'ours':>12}  {'against':<30} {'theirs':>12} {'theirs / ours':>14}  to reach")
    for row in rows:
        for against, seconds, wanted, _ in row.others:
            ratio = seconds / row.ours
            print(
                f"{row.work:<32} {row.ours * 1e6:>9,.2f} µs  {against:<30} {seconds * 1e6:>9,.2f} µs {ratio:>13.2f}x"
                f"  {wanted}"
            )
    return 0 if all(good for row in rows for *_, good in row.others) else 1


if __name__ == "__main__":
    raise SystemExit(main())
