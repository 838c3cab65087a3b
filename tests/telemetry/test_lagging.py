"""Lagging points: what they may say, and the request that they make."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml_metrics.telemetry.lagging import LaggingPoint, PointError
from otel_ml_metrics.telemetry.otlp_request import export_request, instance_id
from otel_ml_metrics.telemetry.received import ReceivedPoint, points_of
from tests.telemetry.points import DAY, START, counter, gauge, histogram, lagging_points

if TYPE_CHECKING:
    from collections.abc import Sequence


def _wire(points: Sequence[LaggingPoint], **options: Any) -> list[ReceivedPoint]:
    request = export_request(points, service="flight-delay-api", evaluation="flight-delay-api/flight-delay", **options)
    return list(points_of(type(request).FromString(request.SerializeToString())))


@given(lagging_points())
def test_json_gives_a_point_back_exactly(point: LaggingPoint) -> None:
    """The outbox keeps points as text, and what is sent later is what was committed, to the last bit."""
    again = LaggingPoint.from_json(point.to_json())

    assert again == point
    assert again.to_json() == point.to_json()
    assert again.series == point.series
    assert type(again.value) is type(point.value)
    assert hash(again) == hash(point)


@given(lagging_points())
def test_every_point_that_can_be_made_can_be_sent(point: LaggingPoint) -> None:
    """A point that could not be encoded would hold up the outbox, so what can be made goes over the wire bit-exact."""
    (received,) = _wire([point])

    assert (received.metric, received.unit, received.description) == (point.metric, point.unit, point.description)
    assert received.attributes == point.attributes
    assert (received.time_unix_nano, received.start_time_unix_nano or None) == (
        point.time_unix_nano,
        point.start_time_unix_nano,
    )
    assert repr(received.value) == repr(point.sum if point.kind == "histogram" else point.value)
    assert (received.bounds, received.counts) == (point.bounds, point.counts)
    assert (received.count, received.min, received.max) == (point.count, point.min, point.max)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, np.float64("nan"), np.float32("inf"), 10**400, None, "1"]
)
def test_a_value_that_is_no_finite_number_makes_no_point(value: Any) -> None:
    """An undefined measure is counted by reason; as NaN it would poison every sum and average in the backend."""
    with pytest.raises(PointError, match=r"ml\.evaluation\.accuracy: value is"):
        gauge(value)


@pytest.mark.parametrize(
    ("given_value", "kept"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.uint8(7), 7),
        (True, 1),
        (2**63, float(2**63)),
        (-(2**63), -(2**63)),
    ],
)
def test_numbers_become_plain_python_ones(given_value: Any, kept: float) -> None:
    """The encoder tells int from float by Python's types, and JSON knows no numpy."""
    value = gauge(given_value).value

    assert (value, type(value)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"counts": (1, 2)}, "2 bounds make 3 buckets, found 2"),
        ({"counts": (1, 0, 1)}, "the buckets hold 2 values, but count says 3"),
        ({"counts": (1, -1, 3)}, "counts is -1"),
        ({"counts": (1, 0.5, 1.5)}, "counts is 0.5"),
        ({"bounds": (60.0, 60.0)}, "are not ascending"),
        ({"bounds": (0.1, math.inf)}, "bounds is inf"),
        ({"sum": math.nan}, "sum is nan"),
        ({"sum": None}, "sum is None"),
        ({"count": None}, "count is None"),
        ({"max": math.inf}, "max is inf"),
        ({"value": 1.0}, "a histogram has counts and a sum, not a value"),
        ({"start_time_unix_nano": None}, "a histogram with start time none"),
        ({"start_time_unix_nano": START + 1}, "after its own time"),
        ({"time_unix_nano": 0, "start_time_unix_nano": 0}, "time_unix_nano is 0"),
        ({"time_unix_nano": 2**64}, "time_unix_nano is 18446744073709551616"),
        ({"metric": "ml label"}, "is no metric name"),
        ({"metric": ""}, "is no metric name"),
        ({"kind": "summary"}, "expected one of gauge, counter, histogram"),
        ({"attributes": {"": "x"}}, "empty key"),
        ({"attributes": {"ml.slice.carrier": "\ud800"}}, "UTF-8"),
        ({"attributes": {"ml.slice.carrier": 7}}, "UTF-8"),
    ],
)
def test_a_point_that_receivers_refuse_is_refused_at_once(changes: dict[str, Any], complaint: str) -> None:
    """One bad point makes Prometheus refuse its whole request, so it is stopped where the mistake is made."""
    with pytest.raises(PointError, match=complaint):
        histogram(**changes)


def test_a_gauge_has_nothing_of_a_counter_or_histogram() -> None:
    """A field of another kind of point would be dropped silently on the wire."""
    with pytest.raises(PointError, match="a gauge with start time"):
        replace(gauge(0.5), start_time_unix_nano=START - DAY)
    with pytest.raises(PointError, match="nothing of a histogram"):
        replace(gauge(0.5), counts=(1,))


def test_a_counter_is_never_negative() -> None:
    """Backends read a monotonic total that falls below zero as a reset and show nonsense."""
    with pytest.raises(PointError, match="a counter stands at -1"):
        counter(-1)


def test_the_error_survives_pickling() -> None:
    """Prefect moves errors between processes."""
    error = PointError("ml.labels", "a complaint")

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert (str(again), again.metric) == ("ml.labels: a complaint", "ml.labels")


@given(st.permutations(["ml.model.name", "ml.model.version", "ml.slice.carrier"]))
def test_the_series_does_not_depend_on_the_order_of_attributes(keys: list[str]) -> None:
    """Two runs that name the attributes in another order write the same series."""
    point = replace(gauge(0.5), attributes=dict.fromkeys(keys, "x"))

    assert point.series == ('ml.evaluation.accuracy{"ml.model.name":"x","ml.model.version":"x","ml.slice.carrier":"x"}')


def test_points_of_one_metric_share_one_metric_and_one_scope() -> None:
    """Receivers may keep only the last of two alike."""
    points = [gauge(0.5, origin="EWR"), counter(7), gauge(0.25, origin="JFK"), histogram()]

    (resource_metrics,) = export_request(points, service="api", evaluation="api/m").resource_metrics

    (scope_metrics,) = resource_metrics.scope_metrics
    assert scope_metrics.scope.name == "otel_ml_metrics.lagging"
    kinds = ("gauge", "sum", "histogram")
    assert [
        (metric.name, len(getattr(metric, kind).data_points))
        for metric, kind in zip(scope_metrics.metrics, kinds, strict=True)
    ] == [
        ("ml.evaluation.accuracy", 2),
        ("ml.labels", 1),
        ("ml.label.delay", 1),
    ]


def test_counters_and_histograms_are_cumulative() -> None:
    """Their totals live in the ledger, so no preference of the exporter makes deltas of them."""
    received = {point.metric: point for point in _wire([counter(7), histogram(), gauge(0.5)])}

    assert (received["ml.labels"].cumulative, received["ml.labels"].monotonic) == (True, True)
    assert received["ml.label.delay"].cumulative
    assert received["ml.evaluation.accuracy"].kind == "gauge"


def test_no_points_make_no_metric() -> None:
    """An empty metric is refused by some receivers and means nothing to the others."""
    request = export_request([], service="api", evaluation="api/m")

    assert list(request.resource_metrics) == []


def test_two_definitions_of_one_metric_do_not_share_a_request() -> None:
    """The second unit or description would be lost, or the values mixed."""
    with pytest.raises(PointError, match="it is defined as"):
        export_request([gauge(0.5), gauge(0.5, unit="{score}", origin="EWR")], service="api", evaluation="api/m")


def test_two_values_of_one_series_and_time_do_not_share_a_request() -> None:
    """Which of the two a backend would keep is not defined."""
    with pytest.raises(PointError, match="two values at"):
        export_request([gauge(0.5), gauge(0.75)], service="api", evaluation="api/m")


def test_the_identity_is_the_evaluation_not_the_process() -> None:
    """A random instance id, as the SDK makes one per process, would turn every run into new series."""
    (received,) = _wire([gauge(0.5)], resource={"service.namespace": "travel", "service.instance.id": "pod-7"})

    assert received.resource == {
        "service.name": "flight-delay-api",
        "service.namespace": "travel",
        "service.instance.id": instance_id("flight-delay-api/flight-delay"),
    }
    assert instance_id("flight-delay-api/flight-delay") == "92d45a08-4942-5cee-a7b1-fadde07975b8"


def test_building_points_loads_no_exporter() -> None:
    """The pure part needs the messages of the protocol only; gRPC alone takes a tenth of a second to import."""
    code = (
        "import sys, otel_ml_metrics.telemetry.otlp_request;"
        "print({'grpc', 'requests', 'numpy', 'opentelemetry.sdk'} & set(sys.modules))"
    )

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "set()"
