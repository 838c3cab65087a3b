"""Predictions of every kind that come faster than they are drained.

The tests run it as `python -m tests.online.overload KIND`: what a process of its own holds is the monitor's.
"""

from __future__ import annotations

import sys
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otel_ml_metrics import ModelMonitor, counter
from otel_ml_metrics.telemetry.buffer import ROW_BYTES
from otel_ml_metrics.testing import TelemetryCapture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Offer = Callable[[ModelMonitor], Sequence[str | None]]

BOUND: Final = 512 << 10
CAPACITY: Final = BOUND // ROW_BYTES
OVERLOAD: Final = 10
LONG: Final = 4_000
CLASSES: Final = 300
FEATURES: Final = [f"f{at}" for at in range(100)]
SMALL_BATCH: Final = 9

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


def fullest(kind: str) -> int:
    """Fill a buffer while its oldest rows are worked off; the most memory that this took, in bytes."""
    with TelemetryCapture() as telemetry:
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
    return peak


if __name__ == "__main__":
    sys.stdout.write(str(fullest(sys.argv[1])))
