"""What goes into the Collector is found in Prometheus, under the names that the catalogue promises."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GRPCMetricExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HTTPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tests.end_to_end.stack import free_ports, running_collector

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.stack import Stack, Tools

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120, func_only=True)]

LAGGING = "otel_ml_metrics.lagging"
MODEL = {"ml.model.name": "flight-delay", "ml.model.version": "2013.04"}


def new_service() -> str:
    """A service of one test: Prometheus is shared by all."""
    return f"flights-{uuid.uuid4()}"


def nanoseconds(at: datetime) -> int:
    """The instant as OTLP writes it."""
    return int(at.timestamp() * 1e3) * 1_000_000


def in_hours(hours: float) -> datetime:
    """An instant before (negative) or after now, whole to the second so that PromQL finds it by its time."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)


def gauge(name: str, unit: str, value: float, at: datetime) -> Metric:
    """A gauge with one point of that instant."""
    return Metric(name, "", unit, Gauge([NumberDataPoint(MODEL, 0, nanoseconds(at), value)]))


def request_of(service: str, *metrics: Metric, scope: str = LAGGING) -> MetricsData:
    """A request as a label run sends it: finished points under a scope of their own."""
    resource = Resource({"service.name": service, "service.instance.id": "evaluation"})
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(InstrumentationScope(scope), metrics, "")], "")])


def post(endpoint: str, request: MetricsData) -> httpx.Response:
    """Send by HTTP and return the answer, which the exporter would hide."""
    return httpx.post(
        f"{endpoint}/v1/metrics",
        content=encode_metrics(request).SerializeToString(),
        headers={"Content-Type": "application/x-protobuf"},
        trust_env=False,
    )


def exporters(stack: Stack) -> dict[str, MetricExporter]:
    """One exporter per protocol that the Collector takes."""
    return {
        "grpc": GRPCMetricExporter(endpoint=stack.otlp_grpc, insecure=True),
        "http": HTTPMetricExporter(endpoint=f"{stack.otlp_http}/v1/metrics"),
    }


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_live_points_arrive(stack: Stack, protocol: str) -> None:
    """What the SDK exports is found by PromQL, whichever protocol it speaks."""
    service = new_service()
    provider = MeterProvider(
        [PeriodicExportingMetricReader(exporters(stack)[protocol])], resource=Resource({"service.name": service})
    )
    meter = provider.get_meter("otel_ml_metrics")

    meter.create_counter("ml.predictions", unit="{prediction}").add(3, MODEL)
    meter.create_histogram("ml.prediction.score", unit="1", explicit_bucket_boundaries_advisory=[0.5]).record(
        0.7, MODEL
    )
    provider.shutdown()

    (predictions,) = stack.prometheus.wait_for(f'ml_predictions_total{{job="{service}"}}')
    assert predictions.value == 3
    assert predictions.attributes["ml_model_name"] == "flight-delay"
    buckets = stack.prometheus.wait_for(f'ml_prediction_score_bucket{{job="{service}"}}')
    assert {bucket.attributes["le"]: bucket.value for bucket in buckets} == {"0.5": 0, "+Inf": 1}


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_value_of_the_past_keeps_its_time(stack: Stack, protocol: str) -> None:
    """A lagging point is stored at the end of its window, hours or weeks ago, and is there when the sender hears so."""
    service = new_service()
    points = ((in_hours(-24 * 28), 0.7), (in_hours(-24), 0.8), (in_hours(-6), 0.9))

    for end, value in points:
        request = request_of(service, gauge("ml.evaluation.accuracy", "1", value, end))
        assert exporters(stack)[protocol].export(request) is MetricExportResult.SUCCESS

    (accuracy,) = stack.prometheus.query(f'ml_evaluation_accuracy_ratio{{job="{service}"}}[30d]')
    assert accuracy.points == points
    assert accuracy.attributes == {
        "__name__": "ml_evaluation_accuracy_ratio",
        "instance": "evaluation",
        "job": service,
        "ml_model_name": "flight-delay",
        "ml_model_version": "2013.04",
        "service_name": service,
    }


def test_a_point_too_old_is_refused_with_its_whole_request(stack: Stack) -> None:
    """Beyond the out-of-order window the sender hears 400, and of the request not even the good point is stored."""
    service = new_service()
    good, too_old = (gauge(name, "1", 0.5, in_hours(hours)) for name, hours in [("good", -6), ("too.old", -24 * 40)])

    answer = post(stack.otlp_http, request_of(service, good, too_old))

    assert answer.status_code == 400
    assert stack.prometheus.query(f'{{job="{service}"}}[60d]') == []


def test_the_first_value_of_a_timestamp_stands(stack: Stack) -> None:
    """A revised value is refused for the newest timestamp of a series and ignored without a word for older ones."""
    service, newest, older = new_service(), in_hours(0), in_hours(-6)

    answers = [
        post(stack.otlp_http, request_of(service, gauge("ml.evaluation.accuracy", "1", value, end))).status_code
        for end, value in [(newest, 0.9), (newest, 0.9), (newest, 0.1), (older, 0.8), (older, 0.1)]
    ]

    assert answers == [200, 200, 400, 200, 200]
    (accuracy,) = stack.prometheus.query(f'ml_evaluation_accuracy_ratio{{job="{service}"}}[1d]')
    assert accuracy.points == ((older, 0.8), (newest, 0.9))


@pytest.mark.parametrize(("scope", "status"), [(LAGGING, 503), ("otel_ml_metrics", 200)])
def test_only_lagging_points_wait_for_the_answer(tools: Tools, tmp_path: Path, scope: str, status: int) -> None:
    """With Prometheus down a label run hears so and keeps its points; a server's wait in the Collector's queue."""
    (nobody,) = free_ports(1)

    with running_collector(tools.otelcol, tmp_path, f"http://127.0.0.1:{nobody}") as (_, _, endpoint):
        answer = post(endpoint, request_of(new_service(), gauge("up", "1", 1, in_hours(0)), scope=scope))

    assert answer.status_code == status


@pytest.mark.parametrize("hours", [-24 * 365, 24 * 365])
def test_a_live_point_with_a_wrong_clock_spoils_no_other(stack: Stack, hours: float) -> None:
    """Prometheus would refuse the whole batch for it, so the Collector drops such a point."""
    service = new_service()
    good, wrong = gauge("good", "", 1, in_hours(0)), gauge("wrong", "", 1, in_hours(hours))

    post(stack.otlp_http, request_of(service, wrong, good, scope="otel_ml_metrics"))

    (series,) = stack.prometheus.wait_for(f'{{job="{service}"}}')
    assert series.attributes["__name__"] == "good"


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("ml.evaluation.accuracy", "1", "ml_evaluation_accuracy_ratio"),
        ("ml.evaluation.roc_auc", "{score}", "ml_evaluation_roc_auc"),
        ("ml.evaluation.log_loss", "{nat}", "ml_evaluation_log_loss"),
        ("ml.evaluation.support", "{prediction}", "ml_evaluation_support"),
        ("ml.evaluation.window.end", "s", "ml_evaluation_window_end_seconds"),
        ("ml.label.coverage", "1", "ml_label_coverage_ratio"),
        ("ml.labels.waiting", "{label}", "ml_labels_waiting"),
        ("expected_refund", "USD", "expected_refund_USD"),
    ],
)
def test_names_of_gauges(stack: Stack, name: str, unit: str, expected: str) -> None:
    """Prometheus shows a gauge under the name that the catalogue promises."""
    service = new_service()

    answer = post(stack.otlp_http, request_of(service, gauge(name, unit, 0.5, in_hours(-6))))

    assert answer.status_code == 200
    (series,) = stack.prometheus.query(f'{{job="{service}"}}[1d]')
    assert series.attributes["__name__"] == expected


def test_names_of_counters_and_histograms(stack: Stack) -> None:
    """Cumulative counters and histograms of the past are stored like gauges, and Prometheus adds its suffixes."""
    service, start, end = new_service(), nanoseconds(in_hours(-7)), nanoseconds(in_hours(-6))
    cumulative = AggregationTemporality.CUMULATIVE
    labels = Sum(
        [NumberDataPoint(MODEL | {"ml.label.status": "matched"}, start, end, 5)], cumulative, is_monotonic=True
    )
    delay = Histogram([HistogramDataPoint(MODEL, start, end, 5, 450.0, [2, 3], [60.0], 1.0, 200.0)], cumulative)

    answer = post(
        stack.otlp_http,
        request_of(service, Metric("ml.labels", "", "{label}", labels), Metric("ml.label.delay", "", "s", delay)),
    )

    assert answer.status_code == 200
    at = in_hours(-6)
    (matched,) = stack.prometheus.query(f'ml_labels_total{{job="{service}"}}', at=at)
    assert (matched.value, matched.attributes["ml_label_status"]) == (5, "matched")
    (total,) = stack.prometheus.query(f'ml_label_delay_seconds_sum{{job="{service}"}}', at=at)
    assert total.value == 450
    buckets = stack.prometheus.query_range(
        f'ml_label_delay_seconds_bucket{{job="{service}"}}', start=at, end=at, step=60
    )
    assert {bucket.attributes["le"]: bucket.value for bucket in buckets} == {"60": 2, "+Inf": 5}
