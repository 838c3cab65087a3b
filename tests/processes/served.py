"""What the servers of these tests serve: a model whose monitor exports.

An answer to `POST /predict` names the process and the prediction. One to `POST /flush` names the predictions of the
process that had left it before the answer.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.telemetry.exporter import OTLPMLMetricExporter

LOG: Final = "SERVED_LOG"
"""Variable with the folder of the prediction log."""
WARMED: Final = "SERVED_WARMED"
"""Variable with the number of predictions that are recorded as soon as there is a monitor."""
PLAIN: Final = "SERVED_PLAIN"
"""Variable that, if it is set, leaves histograms to the SDK."""


class Model:
    """A model that scores everything alike."""

    def __init__(self) -> None:
        exporter = OTLPMetricExporter() if PLAIN in os.environ else OTLPMLMetricExporter()
        self._provider = MeterProvider([PeriodicExportingMetricReader(exporter)])
        self._monitor = ModelMonitor("fraud", log=os.environ[LOG], meter_provider=self._provider)
        self._ids: list[str | None] = []
        self._recording = threading.Lock()
        for _ in range(int(os.environ.get(WARMED, "0"))):
            self._monitor.record(score=0.9)

    def answer(self, path: str) -> dict[str, Any]:
        """Do what a path asks for; any path but the two of the module does nothing."""
        ids: list[str | None] = []
        if path == "/predict":
            with self._recording:
                ids = [self._monitor.record(score=0.5)]
                self._ids += ids
        elif path == "/flush":
            with self._recording:
                ids = list(self._ids)
            assert self._monitor.force_flush()
            assert self._provider.force_flush()
        return {"process": os.getpid(), "ids": ids}
