"""Disks and receivers that fail while predictions are recorded: what was not theirs to lose is not lost."""

from __future__ import annotations

import gc
import logging
import threading
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pyarrow.parquet as pq
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.prediction_log.layout import SEGMENT_PATTERN
from otel_ml_metrics.telemetry.exporter import OTLPMLMetricExporter
from otel_ml_metrics.telemetry.receiver import Receiver, Reply
from otel_ml_metrics.testing import TelemetryCapture
from tests.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMES: Final = 5
ROUNDS: Final = 20
ROWS: Final = 10_000


@pytest.fixture
def telemetry() -> Iterator[TelemetryCapture]:
    """Metrics in memory."""
    with TelemetryCapture() as capture:
        yield capture


def record_into_a_broken_log(monitor: ModelMonitor, log: Path) -> list[bool]:
    """Record a row, two rows several times while a file stands where the folder was, and a row; what flushes said."""
    monitor.record(score=0.1)
    flushed = [monitor.force_flush()]
    log.rename(log.with_name("kept"))
    log.touch()
    for _ in range(TIMES):
        monitor.record_batch(score=[0.2, 0.3])
        flushed.append(monitor.force_flush())
    log.unlink()
    log.with_name("kept").rename(log)
    monitor.record(score=0.4)
    return [*flushed, monitor.force_flush()]


def test_a_log_that_cannot_be_written_costs_its_rows_and_nothing_else(
    telemetry: TelemetryCapture, tmp_path: Path
) -> None:
    """Metrics go on, what is lost is counted with its reason, and once the folder is back rows are logged again."""
    log = tmp_path / "log"
    monitor = ModelMonitor("fraud", log=log, interval=3600, meter_provider=telemetry.meter_provider)

    flushed = record_into_a_broken_log(monitor, log)

    assert flushed == [True, *[False] * TIMES, True]
    assert telemetry.values("ml.predictions", by="ml.model.name") == {"fraud": 2 + 2 * TIMES}
    assert telemetry.values("ml.monitor.faults", by="reason") == {"log_failed": TIMES}
    assert telemetry.values("ml.monitor.dropped", by="reason") == {"log_failed": 2 * TIMES}
    assert sum(pq.read_metadata(path).num_rows for path in log.rglob(SEGMENT_PATTERN)) == 2


def test_a_log_that_cannot_be_written_is_told_once(
    telemetry: TelemetryCapture, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Within a minute every drain may fail, and one line says so, and where."""
    log = tmp_path / "log"
    monitor = ModelMonitor("fraud", log=log, interval=3600, meter_provider=telemetry.meter_provider)

    with caplog.at_level(logging.WARNING):
        record_into_a_broken_log(monitor, log)

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "log_failed" in said[0]
    assert str(log) in said[0]


@contextmanager
def exporting(receiver: Receiver, monkeypatch: pytest.MonkeyPatch, **variables: str) -> Iterator[MeterProvider]:
    """A meter provider that exports to a receiver when it is told to."""
    for name, value in {**receiver.environment, **variables}.items():
        monkeypatch.setenv(name, value)
    exporter = OTLPMLMetricExporter()
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield provider
    exporter.shutdown()  # first, so that nothing is tried again
    provider.shutdown()


def test_nothing_waits_for_an_export(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """While a receiver keeps an export waiting, rows are recorded, added up and logged, and none fills the buffer."""
    with (
        Receiver(reply=lambda _: Reply(hang=True)) as receiver,
        exporting(receiver, monkeypatch, OTEL_EXPORTER_OTLP_TIMEOUT="3600") as provider,
    ):
        monitor = ModelMonitor("fraud", log=tmp_path, meter_provider=provider, buffer_rows=ROWS)
        monitor.record(score=0.5)
        waiting = threading.Thread(target=provider.force_flush, daemon=True)
        waiting.start()
        eventually(lambda: receiver.exchanges)

        ids = []
        for _ in range(3):  # more than the buffer holds
            ids += [monitor.record(score=0.5) for _ in range(ROWS // 2)]
            assert monitor.force_flush()

        assert waiting.is_alive()
        assert len(receiver.exchanges) == 1
        receiver.close()
    assert None not in ids
    assert sum(pq.read_metadata(path).num_rows for path in tmp_path.rglob(SEGMENT_PATTERN)) == 1 + len(ids)


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_a_receiver_that_is_away_costs_no_memory(temporality: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be exported takes room by the series, not by the row."""
    settings = {
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "0.5",  # less than the pause before a second try
    }
    with Receiver() as away, exporting(away, monkeypatch, **settings) as provider:
        away.close()
        monitor = ModelMonitor("fraud", interval=3600, meter_provider=provider)
        tracemalloc.start()
        try:
            before = memory_after(5, monitor, provider)
            after = memory_after(ROUNDS, monitor, provider)
        finally:
            tracemalloc.stop()

    assert after - before < ROUNDS * ROWS  # bytes: less than one a row


def memory_after(rounds: int, monitor: ModelMonitor, provider: MeterProvider) -> int:
    """Bytes that are held when so many batches were recorded, and so many exports failed."""
    for _ in range(rounds):
        assert len(monitor.record_batch(score=[0.5] * ROWS)) == ROWS
        assert monitor.force_flush()
        provider.force_flush()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
