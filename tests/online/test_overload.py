"""Predictions that come faster than they are drained: memory stays within its bound, and every row is accounted for."""

from __future__ import annotations

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow.parquet as pq
import pytest

from otel_ml_metrics import ModelMonitor, counter
from otel_ml_metrics.prediction_log.layout import SEGMENT_PATTERN
from otel_ml_metrics.telemetry.buffer import ROW_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from otel_ml_metrics.testing import TelemetryCapture

    Offer = Callable[[ModelMonitor], Sequence[str | None]]

BOUND: Final = 512 << 10
CAPACITY: Final = BOUND // ROW_BYTES
OVERLOAD: Final = 10
ROUNDS: Final = 2
THREADS: Final = 4
LONG: Final = 4_000
CLASSES: Final = 300
FEATURES: Final = [f"f{at}" for at in range(100)]
SMALL_BATCH: Final = 9
SLACK: Final = 128 << 10
"""What Python itself takes on the way."""


OFFERS: Final[dict[str, tuple[int, Offer]]] = {
    "rows": (1, lambda monitor: [monitor.record(score=0.5, prediction=True, carrier="UA", fare=250.0)]),
    "long texts": (1, lambda monitor: [monitor.record(score=0.5, carrier="é" * LONG)]),
    "wide texts": (1, lambda monitor: [monitor.record(score=0.5, carrier="語" * LONG)]),
    "lists": (1, lambda monitor: [monitor.record(score=[each / CLASSES for each in range(CLASSES)])]),
    "many fields": (1, lambda monitor: [monitor.record(**{name: at / 7 for at, name in enumerate(FEATURES)})]),
    "batches of one": (1, lambda monitor: monitor.record_batch(score=[0.5], prediction=[True], carrier="UA")),
    "batches": (SMALL_BATCH, lambda monitor: monitor.record_batch(score=np.full(SMALL_BATCH, 0.5), carrier="UA")),
    "wide batches": (SMALL_BATCH, lambda monitor: monitor.record_batch(score=[np.zeros(CLASSES)] * SMALL_BATCH)),
}
"""How many rows a call offers, and the call."""


class SlowMetric:
    """A metric that looks its values up somewhere slow: an answer comes when ten buffers of rows were offered."""

    def __init__(self) -> None:
        self._offered = 0
        self._lock = threading.Lock()
        self._answers = threading.Semaphore(1)  # for a row that makes everything ready

    def offered(self, rows: int) -> None:
        """Note rows that were offered."""
        with self._lock:
            before, self._offered = self._offered, self._offered + rows
            due = self._offered // (OVERLOAD * CAPACITY) > before // (OVERLOAD * CAPACITY)
        if due:
            self._answers.release()

    def catch_up(self) -> None:
        """Answer everything that is still to be asked."""
        self._answers.release(CAPACITY)

    def __call__(self, _: object) -> float:
        """Wait for an answer."""
        assert self._answers.acquire(timeout=60)
        return 1.0


def overload(monitor: ModelMonitor, slow: SlowMetric, offers: Sequence[tuple[int, Offer]]) -> tuple[int, int]:
    """Offer many times what is drained, from several threads at once; rows offered, and rows that were given an id."""

    def work(_: int) -> tuple[int, int]:
        offered = taken = turn = 0
        while offered < ROUNDS * OVERLOAD * CAPACITY // THREADS:
            rows, offer = offers[turn % len(offers)]
            taken += sum(each is not None for each in offer(monitor))
            slow.offered(rows)
            offered, turn = offered + rows, turn + 1
        return offered, taken

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(work, range(THREADS)))
    return sum(offered for offered, _ in found), sum(taken for _, taken in found)


def a_monitor(telemetry: TelemetryCapture, slow: SlowMetric, **more: Any) -> ModelMonitor:
    """A monitor with a slow metric and little room."""
    return ModelMonitor(
        "delay",
        slices=["carrier"],
        fields=["fare", *FEATURES],
        metrics=[counter("looked_up", unit="1", value=slow)],
        buffer_bytes=BOUND,
        meter_provider=telemetry.meter_provider,
        **more,
    )


@pytest.mark.parametrize("kind", OFFERS)
def test_a_full_buffer_holds_no_more_than_its_bytes(telemetry: TelemetryCapture, kind: str) -> None:
    """What waits and what is worked off take no more memory than configured, whatever the rows are made of."""
    slow = SlowMetric()
    monitor = a_monitor(telemetry, slow)
    _, offer = OFFERS[kind]
    offer(monitor)
    assert monitor.force_flush()

    tracemalloc.start()
    refused = 0
    while refused < CAPACITY:
        refused += not any(offer(monitor))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    slow.catch_up()
    assert peak < BOUND + SLACK


def test_recorded_and_dropped_are_what_was_offered(telemetry: TelemetryCapture, tmp_path: Path) -> None:
    """Rows and batches, light and heavy, from several threads: each is counted, logged and has an id, or is dropped."""
    slow = SlowMetric()
    monitor = a_monitor(telemetry, slow, log=tmp_path)
    alike = [OFFERS[kind] for kind in ("rows", "long texts", "many fields", "batches")]

    offered, taken = overload(monitor, slow, alike)
    slow.catch_up()

    assert monitor.force_flush()
    recorded = sum(telemetry.values("ml.predictions", by="ml.slice.carrier").values())
    dropped = telemetry.values("ml.monitor.dropped", by="reason")
    assert list(dropped) == ["buffer_full"]
    assert recorded + dropped["buffer_full"] == offered
    assert recorded == taken
    assert recorded == sum(pq.read_metadata(path).num_rows for path in tmp_path.rglob(SEGMENT_PATTERN))
