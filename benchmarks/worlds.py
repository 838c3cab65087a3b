"""Prediction logs and labels for the benchmarks, written as a monitor and a label pipeline would, and ways to time."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from otel_ml_metrics import ModelMonitor, col, counter, histogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MODEL: Final = "flight-delay"
FIRST: Final = datetime(2013, 4, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)
ATTRIBUTION: Final = timedelta(days=3)
CARRIERS: Final = ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"]
ORIGINS: Final = ["EWR", "JFK", "LGA"]
LABELS: Final = {"id": "prediction_id", "label": "late", "received_at": "landed_at"}
THREADS: Final = 2
SERVED: Final[dict[str, Any]] = {
    "name": MODEL,
    "version": "2013.04",
    "variant": "champion",
    "slices": ["carrier", "origin", "cabin"],
    "fields": ["fare"],
    "metrics": [
        histogram("expected_refund", unit="USD", value=col("score") * col("fare"), bounds=range(0, 500, 25)),
        histogram("fare", unit="USD", value="fare", bounds=range(0, 500, 25)),
        counter("risky_flights", unit="{flight}", value=col("score") > 0.8),
    ],
}
"""A monitor in a server: five metrics, with those that every monitor has, and three slices."""


@dataclass(frozen=True)
class Outcomes:
    """Predictions and what came of them.

    Args:
        ids: Shape (n,), texts.
        late: Shape (n,), labels.
        received_us: Shape (n,), microseconds of Unix time.
    """

    ids: NDArray[np.object_]
    late: NDArray[np.bool_]
    received_us: NDArray[np.int64]

    def chosen(self, rows: NDArray[Any]) -> Outcomes:
        """Some of them."""
        return Outcomes(self.ids[rows], self.late[rows], self.received_us[rows])


def monitor(folder: Path) -> ModelMonitor:
    """What logs the predictions."""
    return ModelMonitor(
        MODEL, version="2013.04", variant="champion", slices=["carrier", "origin"], log=folder / "predictions"
    )


def log_day(logger: ModelMonitor, day: int, rows: int, *, segments: int = 4) -> Outcomes:
    """Log the predictions of a day, evenly over its segments; the outcome of each is known after some hours."""
    random = np.random.default_rng(2013 + day)
    made = [
        _log(logger, FIRST + DAY * (day + part / segments), DAY / segments, rows // segments, random)
        for part in range(segments)
    ]
    return Outcomes(
        *(np.concatenate([getattr(each, name) for each in made]) for name in ("ids", "late", "received_us"))
    )


def _log(logger: ModelMonitor, start: datetime, length: timedelta, rows: int, random: np.random.Generator) -> Outcomes:
    seconds = np.sort(random.uniform(0, length.total_seconds(), rows))
    predicted_us = np.int64(start.timestamp() * 1e6) + (seconds * 1e6).astype(np.int64)
    score = random.beta(1, 4, rows)
    ids = logger.record_batch(
        score=score,
        prediction=score > 0.3,
        predicted_at=predicted_us.astype("datetime64[us]"),
        carrier=random.choice(CARRIERS, rows),
        origin=random.choice(ORIGINS, rows),
    )
    assert logger.force_flush()
    delay_us = (random.exponential(5 * 3_600, rows) * 1e6).astype(np.int64)
    received_us = predicted_us + np.minimum(delay_us, int(ATTRIBUTION.total_seconds() * 1e6))
    return Outcomes(np.array(list(ids), dtype=object), random.uniform(size=rows) < score, received_us)


def write_labels(folder: Path, name: str, outcomes: Outcomes) -> Path:
    """Write a label file, in the order in which the labels were received."""
    order = np.argsort(outcomes.received_us)
    columns: dict[str, pa.Array[Any]] = {
        "prediction_id": pa.array(outcomes.ids[order]),
        "late": pa.array(outcomes.late[order]),
        "landed_at": pa.array(outcomes.received_us[order], pa.timestamp("us", tz="UTC")),
    }
    path = folder / "labels" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path)
    return path


def made(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of data, made once per machine in a process of its own."""
    folder = Path(tempfile.gettempdir()) / f"otel-ml-metrics-benchmark-{name}"
    if not folder.is_dir():
        aside = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        in_a_process(make, aside)
        aside.rename(folder)
    return folder


def in_a_process(work: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401  # whatever it gives
    """What a function gives in a fresh process, whose memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def peak_bytes() -> int:
    """The most memory that this process held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def hold_threads() -> None:
    """Give both sides of a comparison the same two processors."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
