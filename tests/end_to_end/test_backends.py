"""The files for other backends: what the Collector sends them, with which key, and what a run hears."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from otel_ml_metrics.telemetry.delivery import Delivery
from otel_ml_metrics.telemetry.receiver import Receiver
from tests.end_to_end.stack import POLL_SECONDS, READY_SECONDS, running_collector, running_prometheus
from tests.telemetry.points import DAY, counter, gauge

if TYPE_CHECKING:
    from pathlib import Path

    from otel_ml_metrics.telemetry.delivery import Outcome
    from otel_ml_metrics.telemetry.lagging import LaggingPoint
    from tests.certificates import Authority
    from tests.end_to_end.stack import Stack, Tools

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120, func_only=True)]

KEY = "Basic bWU6bXlzZWxm"
KEYS = {"authorization": ("BACKEND_AUTHORIZATION", "authorization"), "datadog": ("DD_API_KEY", "dd-api-key")}
"""By file: the variable of the key, and the header that carries it."""


@pytest.fixture
def service() -> str:
    """A service of one test."""
    return f"flights-{uuid.uuid4()}"


def sent(endpoint: str, service: str, points: list[LaggingPoint]) -> Outcome:
    """Send lagging points as a run does."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    delivery = Delivery.from_environment(environ, service=service, evaluation=service)
    assert delivery is not None
    with delivery:
        return delivery.send(points)


def count(endpoint: str, service: str, *additions: int) -> None:
    """Export a live counter after each addition, as a model server does."""
    exporter = OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
    provider = MeterProvider([reader], resource=Resource({"service.name": service}))
    predictions = provider.get_meter("test").create_counter("ml.predictions", unit="{prediction}")
    for addition in additions:
        predictions.add(addition)
        assert provider.force_flush()
    provider.shutdown()


def ago(days: float) -> int:
    """An instant of the past, whole to the millisecond."""
    return (time.time_ns() - int(days * DAY)) // 10**6 * 10**6


@pytest.mark.parametrize("overlay", KEYS)
def test_the_backend_gets_its_key(tools: Tools, tmp_path: Path, service: str, overlay: str) -> None:
    """With live and with lagging points."""
    variable, header = KEYS[overlay]
    with Receiver() as backend:
        where = {"PROMETHEUS_OTLP_ENDPOINT": backend.endpoint, "DD_OTLP_ENDPOINT": backend.endpoint}
        with running_collector(
            tools.otelcol, tmp_path, backend.endpoint, overlays=[overlay], settings={**where, variable: KEY}
        ) as (_, _, endpoint):
            outcome = sent(endpoint, service, [gauge(0.5, time=ago(3))])
            count(endpoint, service, 1)
            received(backend, "ml.predictions", 1)

    assert outcome.status == "accepted"
    assert {exchange.headers[header] for exchange in backend.exchanges} == {KEY}


def test_datadog_gets_increments(tools: Tools, tmp_path: Path, service: str) -> None:
    """Its intake refuses totals, but for those that may fall, which it shows as gauges. Gauges pass as they are."""
    first = counter(5, time=ago(3))
    second = replace(first, value=8, time_unix_nano=ago(2))
    with Receiver() as backend:
        settings = {"DD_API_KEY": "a-key", "DD_OTLP_ENDPOINT": backend.endpoint}
        with running_collector(tools.otelcol, tmp_path, backend.endpoint, overlays=["datadog"], settings=settings) as (
            _,
            _,
            endpoint,
        ):
            sent(endpoint, service, [gauge(0.5, time=ago(3)), first, second])
            count(endpoint, service, 3, 4)
            live = received(backend, "ml.predictions", 2)

    assert live == [3, 4]
    assert received(backend, "ml.labels", 1) == [3]
    assert received(backend, "ml.evaluation.accuracy", 1) == [0.5]
    growing = [point for point in backend.points if point.kind == "histogram" or point.monotonic]
    assert not any(point.cumulative for point in growing)


def received(backend: Receiver, metric: str, points: int) -> list[float | int | None]:
    """Wait until a backend has so many points of a metric."""
    deadline = time.monotonic() + READY_SECONDS
    while len(values := [point.value for point in backend.points if point.metric == metric]) < points:
        assert time.monotonic() < deadline, f"{metric}: {values}"
        time.sleep(POLL_SECONDS)
    return values


def test_remote_write_keeps_names_and_times(tools: Tools, tmp_path: Path, service: str) -> None:
    """What arrives by remote write is what arrives by OTLP, under the same names and labels."""
    at = ago(3)
    with running_prometheus(tools.prometheus, tmp_path, flags=["--web.enable-remote-write-receiver"]) as (_, backend):
        with running_collector(tools.otelcol, tmp_path, backend.url, overlays=["remote-write"]) as (_, _, endpoint):
            outcome = sent(endpoint, service, [gauge(0.5, time=at, origin="EWR")])
            count(endpoint, service, 3)
            (live,) = backend.wait_for(f'ml_predictions_total{{job="{service}"}}')
        (lagging,) = backend.query(f'ml_evaluation_accuracy_ratio{{job="{service}"}}[5d]')

    assert (outcome.status, live.value) == ("accepted", 3)
    assert [(round(point.timestamp() * 1e3), value) for point, value in lagging.points] == [(at // 10**6, 0.5)]
    labels = {"__name__", "instance", "job", "origin", "service_name"}
    assert (set(lagging.attributes), set(live.attributes) - labels) == (labels, set())


def test_a_run_hears_the_backend_through_two_collectors(
    tools: Tools, stack: Stack, authority: Authority, tmp_path: Path, service: str
) -> None:
    """A small Collector beside the servers sends to a secured one: a point too old is still named, the other stored."""
    secured = {
        "COLLECTOR_TOKEN": "a-token",
        "COLLECTOR_TLS_CERTIFICATE": authority.server_certificate,
        "COLLECTOR_TLS_KEY": authority.server_key,
    }
    for name in ("central", "small"):
        (tmp_path / name).mkdir()
    with running_collector(
        tools.otelcol, tmp_path / "central", stack.prometheus.url, overlays=["secured"], settings=secured
    ) as (_, central, _):
        upstream = {
            "UPSTREAM_OTLP_ENDPOINT": central,
            "UPSTREAM_TOKEN": "a-token",
            "UPSTREAM_CA": authority.certificate,
        }
        with running_collector(
            tools.otelcol, tmp_path / "small", stack.prometheus.url, overlays=["upstream"], settings=upstream
        ) as (_, _, endpoint):
            count(endpoint, service, 3)
            (live,) = stack.prometheus.wait_for(f'ml_predictions_total{{job="{service}"}}')
            outcome = sent(endpoint, service, [gauge(0.1, time=ago(40)), gauge(0.5, time=ago(3))])

    (lagging,) = stack.prometheus.query(f'ml_evaluation_accuracy_ratio{{job="{service}"}}[5d]')
    assert (list(outcome.rejected), outcome.accepted, outcome.retry) == ([0], (1,), ())
    assert (live.value, lagging.value) == (3, 0.5)
