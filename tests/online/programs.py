"""Programs that end, fork or are killed, run by the tests as `python -m tests.online.programs NAME FOLDER`."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any

import numpy as np
from opentelemetry import metrics
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)

from otel_ml_metrics import ModelMonitor, counter
from otel_ml_metrics.telemetry.exporter import MLMetricExporter, OTLPMLMetricExporter
from otel_ml_metrics.testing import TelemetryCapture


def say(**found: Any) -> None:
    """Print one line for the test."""
    os.write(1, json.dumps(found).encode() + b"\n")  # in one piece: several processes share the pipe


def leave(folder: str) -> None:
    """Record, and end without a word."""
    monitor = ModelMonitor("fraud", log=folder, interval=3600)
    say(id=monitor.record(score=0.5))


def fork(folder: str) -> None:
    """Record on both sides of a fork, with rows waiting in the buffer and sums in the accumulators."""
    with TelemetryCapture() as telemetry:
        monitor = ModelMonitor("fraud", log=folder, interval=3600, meter_provider=telemetry.meter_provider)
        monitor.record_batch(score=[0.1, 0.2])
        monitor.force_flush()
        monitor.record(score=0.3)

        child = os.fork()
        rows = 4 if child == 0 else 8
        ids = [monitor.record(score=0.5) for _ in range(rows)]
        flushed = monitor.force_flush()
        predictions = telemetry.values("ml.predictions", by="ml.model.name")
        if child == 0:
            say(who="child", ids=ids, flushed=flushed, predictions=predictions["fraud"])
            os._exit(0)
        os.waitpid(child, 0)
        say(who="parent", ids=ids, flushed=flushed, predictions=predictions["fraud"])


class _Counting(MetricExporter):
    """Keeps how many scores the last export told of."""

    scores = 0

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object) -> MetricExportResult:
        """Look for the histogram of scores."""
        del timeout_millis
        for resource in metrics_data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == "ml.prediction.score":
                        self.scores = sum(getattr(point, "count", 0) for point in metric.data.data_points)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing waits."""
        return timeout_millis > 0

    def shutdown(self, timeout_millis: float = 30_000, **_: object) -> None:
        """Nothing to close."""


class _Slow(_Counting):
    """Takes its time, and tells when it has begun."""

    takes_s = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.exporting = threading.Event()

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object) -> MetricExportResult:
        """Look for the histogram of scores."""
        self.exporting.set()
        time.sleep(self.takes_s)
        return super().export(metrics_data, timeout_millis)


def fork_binned(_: str) -> None:
    """Fork with histograms that were binned and not exported yet."""
    exporter = _Counting()
    reader = PeriodicExportingMetricReader(MLMetricExporter(exporter), export_interval_millis=3_600_000)
    monitor = ModelMonitor("fraud", interval=3600, meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    monitor.record_batch(score=[0.1, 0.2])
    monitor.force_flush()
    child = os.fork()
    monitor.record_batch(score=[0.5] * (4 if child == 0 else 8))
    monitor.force_flush()
    reader.collect()
    say(who="child" if child == 0 else "parent", scores=exporter.scores)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def fork_amid_export(_: str) -> None:
    """Fork while the parent exports, into a child whose reader collects before the monitor hears of the fork."""
    exporter = _Slow()
    reader = PeriodicExportingMetricReader(MLMetricExporter(exporter), export_interval_millis=10)
    os.register_at_fork(after_in_child=lambda: time.sleep(0.2))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monitor = ModelMonitor("fraud", interval=3600, meter_provider=provider)
    monitor.record_batch(score=[0.1, 0.2])
    monitor.force_flush()
    assert exporter.exporting.wait(60)
    child = os.fork()
    if child == 0:
        exporter.takes_s = 0.0
        monitor.record_batch(score=[0.5] * 4)
        monitor.force_flush()
        provider.shutdown(20_000)
        say(scores=exporter.scores)
        os._exit(0)
    os.waitpid(child, 0)


def configured(_: str) -> None:
    """Let the environment configure the SDK, as `opentelemetry-instrument` does."""
    configurator: Any = _OTelSDKConfigurator
    configurator().configure()
    with ModelMonitor("fraud") as monitor:
        monitor.record_batch(score=[0.1, 0.9])
    provider = metrics.get_meter_provider()
    assert isinstance(provider, MeterProvider)
    provider.shutdown()


def first_export(folder: str) -> None:
    """Record, drain, log and export for the first time, and tell which modules that took."""
    reader = PeriodicExportingMetricReader(OTLPMLMetricExporter(), export_interval_millis=3_600_000)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    declared = [counter("declined", unit="USD", value="where(score > 0.4, amount, 0)")]
    monitor = ModelMonitor(
        "fraud",
        slices=["country"],
        fields={"amount": "number"},
        metrics=declared,
        log=folder,
        interval=3600,
        meter_provider=provider,
    )
    before = set(sys.modules)
    monitor.record(score=0.5, duration=0.1, country="NL", amount=3, undeclared="a fault")
    monitor.record_batch(score=np.linspace(0, 1, 50), country=["NL", "BE"] * 25)
    monitor.force_flush()
    reader.collect()
    say(imported=sorted(set(sys.modules) - before))


def _work(monitor: ModelMonitor) -> None:
    say(ids=[monitor.record(score=0.5) for _ in range(100)])


def workers(folder: str) -> None:
    """Record in children of multiprocessing, which end without a word."""
    monitor = ModelMonitor("fraud", log=folder, interval=3600)
    _work(monitor)
    processes = [multiprocessing.get_context("fork").Process(target=_work, args=(monitor,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def busy_fork(folder: str) -> None:
    """Fork again and again while other threads record and drain: no child may hang on a lock that nobody releases."""
    with TelemetryCapture() as telemetry:
        metrics = [counter("total", unit="1", value="score")]
        monitor = ModelMonitor(
            "fraud",
            log=folder,
            interval=0.001,
            buffer_rows=500,
            metrics=metrics,
            meter_provider=telemetry.meter_provider,
        )
        done = threading.Event()

        def record() -> None:
            while not done.is_set():
                monitor.record(score=0.5, color="red")
                monitor.record_batch(score=np.full(50, 0.5))

        threads = [threading.Thread(target=record) for _ in range(3)]
        for thread in threads:
            thread.start()
        flushed = []
        for _ in range(10):
            child = os.fork()
            if child == 0:
                monitor.record(score=0.5)
                os._exit(0 if monitor.force_flush(timeout=10) else 1)
            flushed.append(os.waitpid(child, 0)[1])
        done.set()
        for thread in threads:
            thread.join()
        say(statuses=flushed)


def endless(folder: str) -> None:
    """Record and flush until killed; every id that is printed was flushed before."""
    monitor = ModelMonitor("fraud", slices=["country"], log=folder, interval=3600)
    while True:
        ids = list(monitor.record_batch(score=np.random.default_rng().random(500), country="NL"))
        if monitor.force_flush():
            say(ids=ids)


def broken_disk(folder: str) -> None:
    """Record while the disk refuses every byte: a limit on the size of files acts as a full disk does."""
    import resource  # noqa: PLC0415  # POSIX only
    import signal  # noqa: PLC0415  # the same

    with TelemetryCapture() as telemetry:
        monitor = ModelMonitor("fraud", log=folder, interval=3600, meter_provider=telemetry.meter_provider)
        monitor.record(score=0.1)
        before = monitor.force_flush()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, unlimited[1]))
        monitor.record_batch(score=[0.2, 0.3])
        full = monitor.force_flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        monitor.record(score=0.4)
        after = monitor.force_flush()
        say(
            flushed=[before, full, after],
            predictions=telemetry.values("ml.predictions", by="ml.model.name"),
            dropped=telemetry.values("ml.monitor.dropped", by="reason"),
            faults=telemetry.values("ml.monitor.faults", by="reason"),
        )


def interrupted(folder: str) -> None:
    """Record in a signal handler, which comes at any point of a record in the same thread; some rows are dropped."""
    with TelemetryCapture() as telemetry:
        monitor = ModelMonitor("fraud", log=folder, buffer_rows=200, meter_provider=telemetry.meter_provider)
        by_handler: list[int] = []
        by_hand: list[int] = []
        busy: list[bool] = []

        def handle(*_: object) -> None:
            if not busy:  # a busy machine would never come out of handlers
                busy.append(True)
                by_handler.append(len(monitor.record_batch(score=[0.1, 0.2])))
                by_handler.append(monitor.record(score=0.5) is not None)
                busy.clear()

        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            by_hand.append(len(monitor.record_batch(score=[0.1, 0.2, 0.3])))
        signal.setitimer(signal.ITIMER_REAL, 0)
        say(
            flushed=monitor.force_flush(),
            handled=len(by_handler) // 2,
            offered=3 * len(by_hand) + 3 * len(by_handler) // 2,
            taken=sum(by_hand) + sum(by_handler),
            predictions=telemetry.values("ml.predictions", by="ml.model.name"),
            dropped=telemetry.values("ml.monitor.dropped", by="reason"),
        )


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
