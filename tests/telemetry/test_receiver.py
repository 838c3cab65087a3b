"""The throw-away receiver: what it keeps, and what it says to requests that are none."""

from __future__ import annotations

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Observation
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from otel_ml_metrics.telemetry.receiver import PATH, Receiver, Reply


def test_it_keeps_what_the_sdk_sends() -> None:
    """The demo points its model server here, so the live metrics must be readable as well as the lagging ones."""
    with Receiver() as receiver:
        exporter = OTLPMetricExporter(endpoint=receiver.endpoint + PATH)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
        view = View(instrument_name="size", aggregation=ExponentialBucketHistogramAggregation())
        resource = Resource({"service.name": "api", "process.command_args": ["python", "-m", "api"]})
        provider = MeterProvider([reader], resource=resource, views=[view], shutdown_on_exit=False)
        meter = provider.get_meter("flight")
        meter.create_counter("calls", unit="{call}").add(3, {"route": "/predict", "cached": True})
        meter.create_histogram("latency", explicit_bucket_boundaries_advisory=[1.0]).record(0.5)
        meter.create_histogram("size").record(7)
        meter.create_observable_gauge("load", [lambda _: [Observation(0.25)]])
        provider.force_flush()
        provider.shutdown()

    points = {point.metric: point for point in receiver.points}
    assert (points["calls"].kind, points["calls"].value, points["calls"].unit) == ("sum", 3, "{call}")
    assert (points["calls"].monotonic, points["calls"].cumulative) == (True, True)
    assert points["calls"].attributes == {"route": "/predict", "cached": True}
    assert points["calls"].resource["process.command_args"] == ("python", "-m", "api")
    assert (points["latency"].counts, points["latency"].bounds, points["latency"].value) == ((1, 0), (1.0,), 0.5)
    assert (points["latency"].min, points["latency"].max) == (0.5, 0.5)
    assert (points["size"].kind, points["size"].value) == ("exponential_histogram", None)
    assert (points["load"].kind, points["load"].value, points["load"].scope) == ("gauge", 0.25, "flight")


def test_a_metric_without_data_has_no_points() -> None:
    """A sender may name a metric and give it no data of any kind."""
    request = ExportMetricsServiceRequest()
    request.resource_metrics.add().scope_metrics.add().metrics.add(name="empty")

    with Receiver() as receiver:
        response = requests.post(receiver.endpoint + PATH, data=request.SerializeToString(), timeout=5)

    assert (response.status_code, receiver.points, len(receiver.exchanges)) == (200, (), 1)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v1/traces", b"", {}, 404),
        ("/", b"", {}, 404),
        (PATH, b"\xff\xff\xff", {}, 400),
        (PATH, b"not gzip", {"Content-Encoding": "gzip"}, 400),
        (PATH, b"not deflate", {"Content-Encoding": "deflate"}, 400),
    ],
)
def test_what_is_no_metrics_request_is_refused(path: str, body: bytes, headers: dict[str, str], status: int) -> None:
    """A sender with a wrong address must not believe that it was heard."""
    with Receiver() as receiver:
        response = requests.post(receiver.endpoint + path, data=body, headers=headers, timeout=5)

    assert (response.status_code, receiver.exchanges) == (status, ())


def test_refused_requests_are_kept_apart_from_accepted_points() -> None:
    """What counts as received is what the sender was told was received."""
    replies = [Reply(503), Reply(200)]

    with Receiver(reply=lambda _: replies.pop(0)) as receiver:
        for _ in range(2):
            requests.post(receiver.endpoint + PATH, data=_one_point(), timeout=5)

    assert [exchange.reply.status for exchange in receiver.exchanges] == [503, 200]
    assert [point.value for point in receiver.points] == [1.5]


def _one_point() -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="load")
    metric.gauge.data_points.add(as_double=1.5)
    return request.SerializeToString()


def test_closing_twice_does_nothing() -> None:
    """A demo that is interrupted closes what its context manager closes again."""
    with Receiver() as receiver:
        receiver.close()

    with pytest.raises(requests.ConnectionError):
        requests.post(receiver.endpoint + PATH, data=b"", timeout=5)
