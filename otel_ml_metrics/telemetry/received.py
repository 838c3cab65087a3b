"""OTLP requests as plain points, the way a backend reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint, Metric, NumberDataPoint


@dataclass(frozen=True, slots=True)
class ReceivedPoint:
    """One data point as it came over the wire.

    Args:
        metric: Its name.
        unit: Of the metric.
        description: Of the metric.
        kind: gauge, sum, histogram, exponential_histogram or summary: the field of the protobuf message.
        attributes: Of the point.
        value: Of a gauge or sum, of the type that was sent; the sum of a histogram.
        time_unix_nano: As sent; 0 means not known.
        start_time_unix_nano: As sent; 0 means not known.
        cumulative: Whether a sum or histogram is.
        monotonic: Whether a sum is.
        bounds: Of a histogram.
        counts: Of a histogram.
        count: Of a histogram.
        min: Of a histogram, None where it was not sent.
        max: Of a histogram, None where it was not sent.
        scope: Name of the instrumentation scope.
        resource: Attributes of the resource.
    """

    metric: str
    unit: str
    description: str
    kind: str
    attributes: Mapping[str, Any]
    value: int | float | None
    time_unix_nano: int
    start_time_unix_nano: int
    cumulative: bool
    monotonic: bool
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    count: int | None
    min: float | None
    max: float | None
    scope: str
    resource: Mapping[str, Any]


def points_of(request: ExportMetricsServiceRequest) -> Iterator[ReceivedPoint]:
    """Flatten a request into its data points, in the order on the wire."""
    for resource_metrics in request.resource_metrics:
        resource = _attributes(resource_metrics.resource.attributes)
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                yield from _metric_points(metric, scope_metrics.scope.name, resource)


def _metric_points(metric: Metric, scope: str, resource: Mapping[str, Any]) -> Iterator[ReceivedPoint]:
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    data = getattr(metric, kind)
    for point in data.data_points:
        yield ReceivedPoint(
            metric=metric.name,
            unit=metric.unit,
            description=metric.description,
            kind=kind,
            attributes=_attributes(point.attributes),
            time_unix_nano=point.time_unix_nano,
            start_time_unix_nano=point.start_time_unix_nano,
            cumulative=getattr(data, "aggregation_temporality", 0) == 2,  # noqa: PLR2004 - CUMULATIVE in the protobuf
            monotonic=getattr(data, "is_monotonic", False),
            scope=scope,
            resource=resource,
            **(_histogram(point) if kind == "histogram" else _number(point)),
        )


def _number(point: NumberDataPoint) -> dict[str, Any]:
    field = point.WhichOneof("value") if "value" in point.DESCRIPTOR.oneofs_by_name else None
    value = None if field is None else getattr(point, field)
    return {"value": value, "bounds": (), "counts": (), "count": None, "min": None, "max": None}


def _histogram(point: HistogramDataPoint) -> dict[str, Any]:
    return {
        "value": point.sum,
        "bounds": tuple(point.explicit_bounds),
        "counts": tuple(point.bucket_counts),
        "count": point.count,
        "min": point.min if point.HasField("min") else None,
        "max": point.max if point.HasField("max") else None,
    }


def _attributes(pairs: Any) -> dict[str, Any]:  # noqa: ANN401 - a repeated field of protobuf
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:  # noqa: ANN401 - what an attribute may hold
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(item) for item in value.array_value.values)
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return None if kind is None else getattr(value, kind)
