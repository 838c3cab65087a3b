"""The OTLP request that a few lagging points make.

It is built as the messages of the protocol: the OpenTelemetry API stamps what it records with the current time, so
values of a past window cannot go through it, and of the SDK's data classes its encoder makes new messages for every
attribute of every point, which takes four times as long. All of it is pure.
"""

from __future__ import annotations

import math
import uuid
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.errors import MissingExtraError
from otel_ml_metrics.semconv import SCOPE_LAGGING
from otel_ml_metrics.telemetry.lagging import PointError, definition

try:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
except ModuleNotFoundError as error:
    package = "opentelemetry-proto"
    raise MissingExtraError(package, "otlp", "Sending lagging points") from error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from otel_ml_metrics.telemetry.lagging import LaggingPoint

# Namespace of the instance ids. Fixed for ever: another value would make every series of every evaluation a new one.
INSTANCE_NAMESPACE: Final = uuid.UUID("8f5f1d0e-6c57-5a0b-9b0c-3f0f6f1f7c11")

_KEPT_ATTRIBUTES: Final = 10_000
_CUMULATIVE: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
"""Whatever the preference of the exporters: the totals live in the ledger."""


def export_request(
    points: Iterable[LaggingPoint], *, service: str, evaluation: str, resource: Mapping[str, str] | None = None
) -> ExportMetricsServiceRequest:
    """Build one request.

    One resource, one scope and one metric per name, since receivers may keep only the last of two alike.

    Args:
        points: In the order in which they shall stand; none gives a request without a resource, never an empty metric.
        service: `service.name` of the evaluated service.
        evaluation: Name of the evaluation; `service.instance.id` is made from it and stays the same from run to run.
        resource: More resource attributes; they cannot replace the two above.

    Raises:
        PointError: Two points share series and time, or one metric name has two definitions. Send them in two requests.
    """
    groups: dict[str, list[LaggingPoint]] = {}
    for point in points:
        groups.setdefault(point.metric, []).append(point)
    for group in groups.values():
        _check_together(group)
    request = ExportMetricsServiceRequest()
    if groups:
        # Nothing else: a random instance id, or what the environment of this process says, would make new series.
        identity = {"service.name": service, "service.instance.id": instance_id(evaluation)}
        of_resource = request.resource_metrics.add()
        of_resource.resource.attributes.extend(_attributes({**(resource or {}), **identity}))
        of_scope = of_resource.scope_metrics.add()
        of_scope.scope.name = SCOPE_LAGGING
        for group in groups.values():
            _fill(of_scope.metrics.add(), group)
    return request


def instance_id(evaluation: str) -> str:
    """Give the `service.instance.id` of an evaluation, the same in every process and run."""
    return str(uuid.uuid5(INSTANCE_NAMESPACE, evaluation))


def _check_together(points: Sequence[LaggingPoint]) -> None:
    definitions = {definition(point): None for point in points}
    if len(definitions) > 1:
        first, second, *_ = definitions
        raise PointError(points[0].metric, f"it is defined as {first} and as {second}.")
    seen = Counter(point.key for point in points)
    if len(seen) < len(points):
        twice = next(point for point in points if seen[point.key] > 1)
        raise PointError(twice.series, f"it has two values at {twice.time_unix_nano} in one request.")


def _fill(metric: Metric, points: Sequence[LaggingPoint]) -> None:
    metric.name = points[0].metric
    kind, metric.unit, metric.description = definition(points[0])
    if kind == "histogram":
        metric.histogram.aggregation_temporality = _CUMULATIVE
        for point in points:
            _add_histogram(metric, point)
    elif kind == "counter":
        metric.sum.aggregation_temporality = _CUMULATIVE
        metric.sum.is_monotonic = True
        for point in points:
            metric.sum.data_points.add(start_time_unix_nano=point.start_time_unix_nano, **_number(point))
    else:
        for point in points:
            metric.gauge.data_points.add(**_number(point))


def _number(point: LaggingPoint) -> dict[str, Any]:
    value = math.nan if point.value is None else point.value  # checked: only a histogram has none
    return {
        "attributes": _attributes(point.attributes),
        "time_unix_nano": point.time_unix_nano,
        "as_int" if isinstance(value, int) else "as_double": value,
    }


def _add_histogram(metric: Metric, point: LaggingPoint) -> None:
    metric.histogram.data_points.add(
        attributes=_attributes(point.attributes),
        start_time_unix_nano=point.start_time_unix_nano,
        time_unix_nano=point.time_unix_nano,
        bucket_counts=point.counts,
        explicit_bounds=point.bounds,
        count=point.count,
        sum=point.sum,
        min=point.min,
        max=point.max,
    )


def _attributes(attributes: Mapping[str, str]) -> list[KeyValue]:
    return [_attribute(key, value) for key, value in attributes.items()]


@lru_cache(maxsize=_KEPT_ATTRIBUTES)
def _attribute(key: str, value: str) -> KeyValue:
    """One attribute as a message: a few of them stand at most of the points, and whoever takes one copies it."""
    return KeyValue(key=key, value=AnyValue(string_value=value))
