"""Exporters that take the histograms of the monitors along, which are binned by numpy and not by the SDK.

In code `PeriodicExportingMetricReader(MLMetricExporter(OTLPMetricExporter()))`, in the environment
`OTEL_METRICS_EXPORTER=otlp_ml`. Without one the monitors record every value into the SDK's own histograms: the same
points, at 6 to 9 µs a value.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final, cast

from otel_ml_metrics.errors import ConfigurationError, MissingExtraError, suggest
from otel_ml_metrics.semconv import DEFAULT_BOUNDS, SCOPE_HISTOGRAMS, MetricDefinition
from otel_ml_metrics.telemetry.endpoint import Endpoint
from otel_ml_metrics.telemetry.exponential import Exponential
from otel_ml_metrics.telemetry.takers import ExemplarFilter, Taken, Taker

try:
    from opentelemetry.sdk.environment_variables import OTEL_METRICS_EXEMPLAR_FILTER
    from opentelemetry.sdk.metrics import Exemplar, Histogram
    from opentelemetry.sdk.metrics import export as sdk
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
except ImportError as error:
    raise MissingExtraError("opentelemetry-sdk", "otlp", "Exporting metrics") from error  # noqa: EM101  # fields, no message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROTOCOL_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_FILTERS: Final[dict[str, ExemplarFilter]] = {each: each for each in ("trace_based", "always_on", "always_off")}


class MLMetricExporter(sdk.MetricExporter):
    """Wraps an exporter, and adds the histograms of the monitors on the same meter provider to what it exports.

    Temporality and the choice of exponential buckets are those of the wrapped exporter; views of the SDK do not reach
    these histograms. With delta temporality, what could not be delivered comes with the next export.

    Args:
        inner: What exports.
    """

    def __init__(self, inner: sdk.MetricExporter) -> None:
        temporality, aggregation = inner._preferred_temporality or {}, inner._preferred_aggregation or {}  # noqa: SLF001  # what the SDK's own reader reads
        super().__init__(preferred_temporality=temporality, preferred_aggregation=aggregation)
        self._inner = inner
        self._delta = temporality.get(Histogram) is sdk.AggregationTemporality.DELTA
        chosen = os.environ.get(OTEL_METRICS_EXEMPLAR_FILTER, "").strip().lower()
        self.taker = Taker(
            delta=self._delta,
            exponential=isinstance(aggregation.get(Histogram), ExponentialBucketHistogramAggregation),
            examples=_FILTERS.get(chosen, "trace_based"),
        )

    def export(
        self,
        metrics_data: sdk.MetricsData,
        timeout_millis: float = 10_000,
        **kwargs: Any,  # noqa: ANN401  # of the SDK's interface
    ) -> sdk.MetricExportResult:
        """Export what the SDK collected, and the histograms."""
        if not metrics_data.resource_metrics:  # of no resource, so nothing can be added: it waits
            return self._inner.export(metrics_data, timeout_millis=timeout_millis, **kwargs)
        result = sdk.MetricExportResult.FAILURE
        try:
            result = self._inner.export(self._completed(metrics_data), timeout_millis=timeout_millis, **kwargs)
        finally:
            self.taker.settle(delivered=result is sdk.MetricExportResult.SUCCESS)
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Let the wrapped exporter finish."""
        return self._inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:  # noqa: ANN401  # of the SDK's interface
        """Shut the wrapped exporter down."""
        self._inner.shutdown(timeout_millis, **kwargs)

    def _completed(self, collected: sdk.MetricsData) -> sdk.MetricsData:
        found = self.taker.take()
        if not found:
            return collected
        first, *others = collected.resource_metrics
        now_ns = time.time_ns()
        added = sdk.ScopeMetrics(
            scope=InstrumentationScope(SCOPE_HISTOGRAMS),
            metrics=[self._metric(definition, points, now_ns) for definition, points in found],
            schema_url="",
        )
        completed = sdk.ResourceMetrics(
            resource=first.resource, scope_metrics=[*first.scope_metrics, added], schema_url=first.schema_url
        )
        return sdk.MetricsData(resource_metrics=[completed, *others])

    def _metric(self, definition: MetricDefinition, points: Sequence[Taken], now_ns: int) -> sdk.Metric:
        temporality = sdk.AggregationTemporality.DELTA if self._delta else sdk.AggregationTemporality.CUMULATIVE
        data: Any
        if isinstance(points[0].distribution.buckets, Exponential):
            data = sdk.ExponentialHistogram([_exponential_point(each, now_ns) for each in points], temporality)
        else:
            bounds = definition.bounds or DEFAULT_BOUNDS
            data = sdk.Histogram([_explicit_point(each, bounds, now_ns) for each in points], temporality)
        return sdk.Metric(definition.name, definition.description, definition.unit, data)


class OTLPMLMetricExporter(MLMetricExporter):
    """The OTLP exporter that the environment describes, wrapped: the entry point `otlp_ml`.

    `OTEL_EXPORTER_OTLP_PROTOCOL` chooses `grpc` or `http/protobuf` (default: what the endpoint's port suggests). The
    arguments are what the declarative file of `OTEL_CONFIG_FILE` may say under `otlp_ml`; they outrank the environment.

    Args:
        endpoint: The whole URL, as the file's own exporters take it: `http://localhost:4318/v1/metrics`.
        protocol: `grpc` or `http/protobuf`.
        headers: Sent with every request.

    Raises:
        ConfigurationError: The protocol is none of them.
        EndpointError: The endpoint cannot be used as it is written.
        MissingExtraError: The extra `otlp` is not installed.
    """

    def __init__(
        self, *, endpoint: str | None = None, protocol: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        given = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint, PROTOCOL_VARIABLES[0]: protocol}
        environ = {**os.environ, **{name: text for name, text in given.items() if text}}
        super().__init__(otlp_exporter(environ, endpoint=endpoint, headers=headers))


def otlp_exporter(
    environ: Mapping[str, str], *, endpoint: str | None = None, headers: Mapping[str, str] | None = None
) -> sdk.MetricExporter:
    """The OTLP exporter that an environment describes, or that an endpoint and headers do which outrank it.

    Raises:
        ConfigurationError: The protocol is not known.
        EndpointError: The endpoint cannot be used as it is written.
        MissingExtraError: The extra `otlp` is not installed.
    """
    variable, protocol = next(
        ((name, environ[name]) for name in PROTOCOL_VARIABLES if environ.get(name)),
        (PROTOCOL_VARIABLES[-1], _protocol_of_endpoint(environ)),
    )
    if protocol not in {"grpc", "http/protobuf"}:
        message = f"{protocol!r} is no protocol that can be used here. {suggest(protocol, ('grpc', 'http/protobuf'))}"
        raise ConfigurationError(message, where=variable)
    try:
        if protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc  # noqa: PLC0415  # loads gRPC

            return grpc.OTLPMetricExporter(endpoint=endpoint, headers=dict(headers or {}) or None)
        from opentelemetry.exporter.otlp.proto.http import metric_exporter as http  # noqa: PLC0415  # instead of gRPC

        from otel_ml_metrics.telemetry.trust import trusting_session  # noqa: PLC0415  # needs what the former needs

        session = trusting_session(Endpoint.from_environment(environ))
        return http.OTLPMetricExporter(endpoint=endpoint, headers=dict(headers or {}) or None, session=session)
    except ImportError as error:
        distribution = "opentelemetry-exporter-otlp"
        raise MissingExtraError(distribution, "otlp", f"Exporting metrics by {protocol}") from error


def _protocol_of_endpoint(environ: Mapping[str, str]) -> str:
    """What the endpoint's port suggests, so that live and lagging metrics go the same way."""
    endpoint = Endpoint.from_environment(environ)
    return "grpc" if endpoint is None else endpoint.protocol


def _common(point: Taken, now_ns: int) -> dict[str, Any]:
    found = point.distribution
    return {
        "attributes": dict(point.attributes),
        "start_time_unix_nano": point.since_ns,
        "time_unix_nano": now_ns,
        "count": found.count,
        "sum": found.sum,
        "min": found.smallest,
        "max": found.largest,
        "exemplars": [
            Exemplar({}, each.value, each.time_unix_nano, each.span_id or None, each.trace_id or None)
            for each in point.examples
        ],
    }


def _explicit_point(point: Taken, bounds: Sequence[float], now_ns: int) -> sdk.HistogramDataPoint:
    counts = cast("tuple[int, ...]", point.distribution.buckets)
    return sdk.HistogramDataPoint(bucket_counts=counts, explicit_bounds=bounds, **_common(point, now_ns))


def _exponential_point(point: Taken, now_ns: int) -> sdk.ExponentialHistogramDataPoint:
    found = cast("Exponential", point.distribution.buckets)
    positive, negative = (
        sdk.Buckets(offset=each.offset, bucket_counts=each.counts.tolist()) for each in (found.positive, found.negative)
    )
    return sdk.ExponentialHistogramDataPoint(
        scale=found.scale,
        zero_count=found.zeros,
        positive=positive,
        negative=negative,
        flags=0,
        **_common(point, now_ns),
    )
