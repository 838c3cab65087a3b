"""Count the predictions that `kill -9` costs, with the default settings of monitor and SDK.

Several processes record at a steady pace, log what they record and export their metrics; each is killed at a random
moment. What it had recorded by then stands in a file that it shares with this process; what is left of it is counted in
the log, and in what a receiver on the loopback was sent. At the default of 60 s between exports every process is killed
between its first export and its third, so this takes more than two minutes, nearly all of it waiting.
"""

from __future__ import annotations

import argparse
import mmap
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import pyarrow.parquet as pq
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.prediction_log.layout import SEGMENT_PATTERN
from otel_ml_metrics.telemetry.exporter import OTLPMLMetricExporter
from otel_ml_metrics.telemetry.receiver import Receiver

EXPORTS: Final = 60.0
"""Seconds between two exports of the SDK, unless OTEL_METRIC_EXPORT_INTERVAL says otherwise."""
DRAINS: Final = 1.0
"""Seconds between two drains of a monitor, its default `interval`."""
COUNT: Final = struct.Struct("q")


def record(folder: Path, pace: float) -> None:
    """Record so many predictions a second until killed; the count is in a page that outlives the process."""
    provider = MeterProvider([PeriodicExportingMetricReader(OTLPMLMetricExporter())])
    monitor = ModelMonitor("killed", variant=folder.name, log=folder / "log", meter_provider=provider)
    with (folder / "count").open("r+b") as file, mmap.mmap(file.fileno(), COUNT.size) as page:
        began, count = time.monotonic(), 0
        while True:
            while count < (time.monotonic() - began) * pace:
                monitor.record(score=0.5)
                count += 1
                COUNT.pack_into(page, 0, count)
            time.sleep(1 / pace)


def start(folder: Path, pace: float, receiver: Receiver) -> subprocess.Popen[bytes]:
    """Start a process that records."""
    folder.mkdir()
    (folder / "count").write_bytes(COUNT.pack(0))
    command = [sys.executable, __file__, "--pace", str(pace), "--record", str(folder)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_METRIC_")}
    return subprocess.Popen(command, env={**environ, **receiver.environment})


def kill_later(process: subprocess.Popen[bytes], after: float) -> threading.Thread:
    """Kill a process after so many seconds."""

    def kill() -> None:
        time.sleep(after)
        process.kill()
        process.wait()

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def logged(folder: Path) -> int:
    """Rows in the log."""
    return sum(pq.read_metadata(path).num_rows for path in folder.rglob(SEGMENT_PATTERN))


def exported(receiver: Receiver, variant: str) -> int:
    """Predictions that the receiver heard of."""
    heard: list[Any] = [
        point.value
        for point in receiver.points
        if point.metric == "ml.predictions" and point.attributes["ml.model.variant"] == variant
    ]
    return max(heard, default=0)


def told(name: str, lost: list[int], pace: float, interval: float) -> str:
    """One line of the table."""
    median, most = statistics.median(lost), max(lost)
    return f"{name:<16} {median:>10,.0f} {most:>10,} {median / pace:>8.2f} s {most / pace:>8.2f} s {interval:>8.0f} s"


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, default=12, help="processes to kill (default: 12)")
    parser.add_argument("--pace", type=float, default=200.0, help="predictions a second of each (default: 200)")
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Start, kill, count and print the table."""
    asked = arguments()
    if asked.record:
        record(asked.record, asked.pace)
    random = Random(0)
    with tempfile.TemporaryDirectory() as aside, Receiver() as receiver:
        folders = [Path(aside, f"p{at}") for at in range(asked.processes)]
        killers = []
        for folder in folders:
            process = start(folder, asked.pace, receiver)
            killers.append(kill_later(process, EXPORTS * (1.2 + random.random())))
        for killer in killers:
            killer.join()
        recorded = [COUNT.unpack((folder / "count").read_bytes())[0] for folder in folders]
        rows = [all_ - logged(folder) for all_, folder in zip(recorded, folders, strict=True)]
        counts = [all_ - exported(receiver, folder.name) for all_, folder in zip(recorded, folders, strict=True)]
    print(f"{asked.processes} processes, {asked.pace:g} predictions a second each, killed at random moments")
    print(f"{sum(recorded):,} recorded; lost of the log {sum(rows) / sum(recorded):.2%}, of the metrics", end=" ")
    print(f"{sum(counts) / sum(recorded):.2%}")
    print(f"{'lost by kill -9':<16} {'median':>10} {'most':>10} {'median':>10} {'most':>10} {'interval':>10}")
    print(told("prediction log", rows, asked.pace, DRAINS))
    print(told("metrics", counts, asked.pace, EXPORTS))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
