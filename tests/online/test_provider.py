"""The meter provider for servers that have none."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.provider import meter_provider_from_environment

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ExportMetricsServiceRequest]]:
    """Requests that reach a real OTLP receiver, to which the environment points."""
    requests: list[ExportMetricsServiceRequest] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    yield requests
    server.shutdown()
    server.server_close()
    thread.join()


def test_predictions_reach_an_otlp_receiver(received: list[ExportMetricsServiceRequest]) -> None:
    """The environment alone says where metrics go; the last values leave with the shutdown."""
    provider = meter_provider_from_environment("fraud-api")
    monitor = ModelMonitor("fraud", version="7", meter_provider=provider)
    monitor.record_batch(score=[0.1, 0.9])

    monitor.shutdown()
    provider.shutdown()

    resource = received[-1].resource_metrics[0]
    service = {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"]
    metrics = {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}
    assert service == "fraud-api"
    assert [scope.scope.name for scope in resource.scope_metrics] == ["otel_ml_metrics", "otel_ml_metrics.histograms"]
    assert metrics["ml.predictions"].sum.data_points[0].as_int == 2
    assert metrics["ml.prediction.score"].histogram.data_points[0].count == 2


def test_the_environment_names_the_service_first(
    received: list[ExportMetricsServiceRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the server has the last word."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "fraud-api-eu")
    provider = meter_provider_from_environment("fraud-api")
    with ModelMonitor("fraud", meter_provider=provider) as monitor:
        monitor.record(score=0.5)

    provider.shutdown()

    attributes = received[-1].resource_metrics[0].resource.attributes
    assert {each.key: each.value.string_value for each in attributes}["service.name"] == "fraud-api-eu"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"OTEL_METRICS_EXPORTER": "prometeus"}, "OTEL_METRICS_EXPORTER: 'prometeus' is no exporter"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http"}, "OTEL_EXPORTER_OTLP_PROTOCOL: 'http' is no protocol"),
        ({"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: 'http/json'"),
    ],
)
def test_a_variable_that_cannot_be_used_is_explained(environ: dict[str, str], message: str) -> None:
    """The error names the variable, what it holds and what it may hold."""
    with pytest.raises(ConfigurationError, match=message):
        meter_provider_from_environment(environ=environ)


def test_no_exporter_is_a_choice() -> None:
    """With `none`, metrics are collected by nobody."""
    provider = meter_provider_from_environment(environ={"OTEL_METRICS_EXPORTER": "none"})

    assert provider.force_flush()
    provider.shutdown()


GLOBAL_FIRST = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from otel_ml_metrics import ModelMonitor

early = ModelMonitor("early")
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
late = ModelMonitor("late")
for monitor in (early, late):
    monitor.record(score=0.5)
    monitor.force_flush()
scope = reader.get_metrics_data().resource_metrics[0].scope_metrics[0]
found = [metric for metric in scope.metrics if metric.name == "ml.predictions"]
print(len(found), sorted(point.attributes["ml.model.name"] for point in found[0].data.data_points))
"""


def test_a_monitor_may_be_made_before_the_global_provider_is_set() -> None:
    """The order of set-up does not matter, and monitors from before and after share their instruments."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", GLOBAL_FIRST],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("1 ['early', 'late']\n", "")


LIGHT = """
import sys
from otel_ml_metrics import ModelMonitor
with ModelMonitor("fraud", slices=["country"], log=sys.argv[1]) as monitor:
    monitor.record_batch(score=[0.1, 0.2], country=["NL", None], prediction=[True, False])
    monitor.record(score=0.5)
print(sorted({"pandas", "duckdb", "opentelemetry.sdk"} & set(sys.modules)))
"""


def test_a_monitor_with_a_log_loads_pyarrow_and_nothing_else(tmp_path: Path) -> None:
    """PyArrow would import pandas at the first conversion; a model server does not pay for that."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("[]\n", "")


WITHOUT_PYARROW = """
import sys
sys.modules["pyarrow"] = None
from otel_ml_metrics import ModelMonitor
try:
    ModelMonitor("fraud", log=sys.argv[1])
except ImportError as error:
    print(type(error).__name__, error)
"""


def test_a_missing_extra_prints_the_install_line(tmp_path: Path) -> None:
    """A log without pyarrow is an error at set-up that says what to install."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYARROW, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout.startswith("MissingExtraError The prediction log")
    assert "pip install 'otel-ml-metrics[log]'" in done.stdout


def test_the_port_decides_where_no_protocol_is_named(
    received: list[ExportMetricsServiceRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live metrics take the way that lagging ones take: gRPC at 4317 only, else HTTP."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_PROTOCOL")
    provider = meter_provider_from_environment("fraud-api")
    monitor = ModelMonitor("fraud", version="7", meter_provider=provider)
    monitor.record(score=0.1)

    monitor.shutdown()
    provider.shutdown()

    assert received
