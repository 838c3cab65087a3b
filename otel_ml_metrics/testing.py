"""For tests of programs that record predictions: reads their metrics back as a backend would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    NumberDataPoint,
)

from otel_ml_metrics.telemetry.processes import recorders

if TYPE_CHECKING:
    from types import TracebackType

Point = NumberDataPoint | HistogramDataPoint


class TelemetryCapture:
    """A meter provider whose metrics stay in memory. Reading flushes the monitors that record into it.

    >>> from otel_ml_metrics import ModelMonitor
    >>> with TelemetryCapture() as telemetry:
    ...     monitor = ModelMonitor("fraud", meter_provider=telemetry.meter_provider)
    ...     _ = monitor.record_batch(score=[0.1, 0.9])
    ...     telemetry.values("ml.predictions", by="ml.prediction.outcome")
    {'ok': 2}
    """

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def metrics(self, *, flush: bool = True) -> dict[str, Metric]:
        """Every metric that has data, by name; of those that differ only in their unit, the last.

        Args:
            flush: Let the monitors drain what they recorded first.
        """
        return {metric.name: metric for metric in self._collected(flush=flush)}

    def points(self, metric: str) -> list[Point]:
        """The points of one metric, as the OpenTelemetry SDK's data classes; none where it has no data."""
        found = [each.data.data_points for each in self._collected(flush=True) if each.name == metric]
        return [
            point for points in found for point in points if isinstance(point, (NumberDataPoint, HistogramDataPoint))
        ]

    def _collected(self, *, flush: bool) -> list[Metric]:
        if flush:
            for recorder in recorders.living():
                if recorder.meter_provider is self.meter_provider:
                    recorder.force_flush()
        data = self.reader.get_metrics_data()
        resources = [] if data is None else data.resource_metrics
        return [metric for resource in resources for scope in resource.scope_metrics for metric in scope.metrics]

    def values(self, metric: str, *, by: str) -> dict[str, float]:
        """The values of one metric by an attribute, added up over the others; of a histogram, how many values it holds.

        Points without the attribute stand under the empty text.
        """
        values: dict[str, float] = {}
        for point in self.points(metric):
            key = str((point.attributes or {}).get(by, ""))
            value = point.count if isinstance(point, HistogramDataPoint) else point.value
            values[key] = values.get(key, 0) + value
        return values

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.meter_provider.shutdown()
