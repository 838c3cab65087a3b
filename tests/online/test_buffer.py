"""The bounded buffer of a monitor: what it takes, what it drops, and when it is drained."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from otel_ml_metrics import ModelMonitor, counter
from otel_ml_metrics.prediction_log.layout import SEGMENT_PATTERN
from tests.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from otel_ml_metrics.testing import TelemetryCapture


def usage_of(telemetry: TelemetryCapture) -> float:
    """How full the buffer is now."""
    point: Any = telemetry.metrics(flush=False)["ml.monitor.buffer.usage"].data.data_points[0]
    usage: float = point.value
    return usage


@contextmanager
def held(telemetry: TelemetryCapture, score: object = 0.5, **settings: Any) -> Iterator[ModelMonitor]:
    """A monitor whose drain is busy with a first row, until the block ends."""
    busy, free = threading.Event(), threading.Event()

    def value(columns: Mapping[str, NDArray[Any]]) -> object:
        busy.set()
        free.wait(30)
        return np.zeros(len(columns["score"]))

    metric = counter("held", unit="1", value=value)
    monitor = ModelMonitor("fraud", metrics=[metric], meter_provider=telemetry.meter_provider, **settings)
    monitor.record(score=score)
    assert busy.wait(30)
    try:
        yield monitor
    finally:
        free.set()


def test_a_full_buffer_drops_the_newest_rows_and_counts_them(telemetry: TelemetryCapture) -> None:
    """Recorded and dropped rows together are those that were offered, and a dropped row has no id."""
    with held(telemetry, buffer_rows=10) as monitor:
        ids = [monitor.record(score=0.5) for _ in range(100)]

    assert [each is not None for each in ids] == [True] * 9 + [False] * 91
    assert telemetry.values("ml.predictions", by="ml.model.name") == {"fraud": 10}
    assert telemetry.values("ml.monitor.dropped", by="reason") == {"buffer_full": 91}


def test_large_rows_are_bounded_by_their_bytes(telemetry: TelemetryCapture) -> None:
    """A few rows of long texts take the room of thousands; ordinary ones still find theirs."""
    with held(telemetry, slices=["note"], buffer_bytes=1 << 20) as monitor:
        large = [monitor.record(score=0.5, note="x" * 100_000) for _ in range(50)]
        ordinary = [monitor.record(score=0.5, note="y") for _ in range(20)]

    assert sum(each is not None for each in large) == 10
    assert None not in ordinary
    assert monitor.force_flush()
    assert monitor.record(score=0.5, note="x" * 100_000) is not None
    assert telemetry.values("ml.monitor.dropped", by="reason") == {"buffer_full": 40}


@pytest.mark.parametrize("value", [1 << 800_000, b"x" * 100_000, "x" * 100_000], ids=["int", "bytes", "str"])
def test_a_large_value_counts_whatever_its_kind(telemetry: TelemetryCapture, value: object) -> None:
    """A field of numbers that is given something huge is bounded like a long text."""
    with held(telemetry, fields=["amount"], buffer_bytes=1 << 20) as monitor:
        taken = [monitor.record(score=0.5, amount=value) for _ in range(50)]

    assert sum(each is not None for each in taken) in {9, 10}


def test_batches_of_long_vectors_are_bounded_by_their_bytes(telemetry: TelemetryCapture) -> None:
    """One score per class counts as it is."""
    with held(telemetry, score=[0.5, 0.5], buffer_bytes=1 << 20) as monitor:
        taken = [len(monitor.record_batch(score=[np.zeros(50_000)])) for _ in range(4)]

    assert taken == [1, 1, 0, 0]


@pytest.mark.parametrize("large", [False, True], ids=["rows", "bytes"])
def test_a_buffer_that_is_half_full_is_drained_at_once(telemetry: TelemetryCapture, *, large: bool) -> None:
    """Whether rows or bytes fill it, and each time that they do."""
    monitor = ModelMonitor(
        "fraud",
        slices=["note"],
        buffer_rows=100,
        buffer_bytes=1 << 20,
        interval=3600,
        meter_provider=telemetry.meter_provider,
    )
    monitor.record(score=0.5)  # starts the thread, which then sleeps
    assert monitor.force_flush()

    for _ in range(3):
        for _ in range(6 if large else 50):
            assert monitor.record(score=0.5, note="x" * 100_000 if large else "y") is not None
        assert eventually(lambda: usage_of(telemetry) == 0)


def test_many_small_batches_are_worked_off_in_portions(telemetry: TelemetryCapture, tmp_path: Path) -> None:
    """As rows are: the columns of all of them at once, and the file they become, would take more than the buffer."""
    with held(telemetry, log=tmp_path, buffer_bytes=8 << 20) as monitor:
        for _ in range(200):
            assert monitor.record_batch(score=np.full(20, 0.5))
    assert monitor.force_flush()

    rows = [pq.read_metadata(path).num_rows for path in tmp_path.rglob(SEGMENT_PATTERN)]
    assert sum(rows) == 4_001
    assert max(rows) <= 1_024 + 20


def test_a_large_batch_without_room_is_added_up_in_the_call(telemetry: TelemetryCapture) -> None:
    """A batch job loses nothing: what the buffer cannot hold is worked off at once."""
    monitor = ModelMonitor("fraud", buffer_rows=128, interval=3600, meter_provider=telemetry.meter_provider)

    for _ in range(5):
        monitor.record_batch(score=np.linspace(0, 1, 100))
    monitor.record_batch(score=np.linspace(0, 1, 1_000))

    assert telemetry.values("ml.predictions", by="ml.model.name") == {"fraud": 1_500}
    assert telemetry.values("ml.monitor.dropped", by="reason") == {}


def test_a_small_batch_without_room_is_dropped_and_counted(telemetry: TelemetryCapture) -> None:
    """A server never waits for a drain: the few rows of a request are dropped like single ones."""
    with held(telemetry, buffer_rows=640) as monitor:
        ids = [monitor.record_batch(score=np.full(9, 0.5)) for _ in range(200)]

    recorded = telemetry.values("ml.predictions", by="ml.model.name")["fraud"]
    assert recorded == 1 + sum(map(len, ids)) == 1 + 639 // 9 * 9
    assert telemetry.values("ml.monitor.dropped", by="reason") == {"buffer_full": 1_801 - recorded}


def test_the_buffer_drains_without_being_asked(telemetry: TelemetryCapture) -> None:
    """A background thread drains every interval."""
    monitor = ModelMonitor("fraud", interval=0.02, meter_provider=telemetry.meter_provider)

    monitor.record(score=0.5)

    eventually(lambda: "ml.predictions" in telemetry.metrics(flush=False))


def test_buffer_usage_is_shown(telemetry: TelemetryCapture) -> None:
    """An operator sees a buffer that fills up: what waits, and what is worked off."""
    with held(telemetry, buffer_rows=10) as monitor:
        for _ in range(4):
            monitor.record(score=0.5)
        assert usage_of(telemetry) == 0.5
