"""TLS and token at the real Collector, by the variables of the OpenTelemetry specification and nothing else."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import pytest
import trustme

from otel_ml_metrics.provider import meter_provider_from_environment
from otel_ml_metrics.telemetry.delivery import Delivery
from tests.end_to_end.stack import running_collector
from tests.telemetry.points import gauge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_ml_metrics.telemetry.delivery import Outcome
    from tests.certificates import Authority
    from tests.end_to_end.stack import Stack, Tools

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120, func_only=True)]

TOKEN = "right"  # noqa: S105 - of a Collector that lives for this test
PROTOCOLS = ("grpc", "http/protobuf")
Endpoints = dict[str, str]


@pytest.fixture(scope="module", params=["any client", "known clients"])
def known_only(request: pytest.FixtureRequest) -> bool:
    """Whether the Collector asks for a client's certificate."""
    return bool(request.param == "known clients")


@pytest.fixture(scope="module")
def endpoints(
    tools: Tools, stack: Stack, authority: Authority, known_only: bool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoints]:
    """Where the secured Collector listens, by protocol."""
    settings = {
        "COLLECTOR_TOKEN": TOKEN,
        "COLLECTOR_TLS_CERTIFICATE": authority.server_certificate,
        "COLLECTOR_TLS_KEY": authority.server_key,
        **({"COLLECTOR_TLS_CLIENT_CA": authority.certificate} if known_only else {}),
    }
    folder = tmp_path_factory.mktemp("secured")
    with running_collector(tools.otelcol, folder, stack.prometheus.url, overlays=["secured"], settings=settings) as (
        _,
        grpc,
        http,
    ):
        yield {"grpc": grpc, "http/protobuf": http}


@pytest.fixture(params=PROTOCOLS)
def right(
    request: pytest.FixtureRequest, endpoints: Endpoints, authority: Authority, known_only: bool
) -> dict[str, str]:
    """Settings that are as they should be, by either protocol."""
    client = {"CLIENT_CERTIFICATE": authority.client_certificate, "CLIENT_KEY": authority.client_key}
    given = {
        "ENDPOINT": endpoints[request.param],
        "PROTOCOL": str(request.param),
        "CERTIFICATE": authority.certificate,
        "HEADERS": f"authorization=Bearer%20{TOKEN}",
        "TIMEOUT": "5",
        **(client if known_only else {}),
    }
    return {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in given.items()}


def sent(settings: dict[str, str], service: str = "nobody") -> Outcome:
    """Send a lagging point as an evaluation does that finds these settings."""
    delivery = Delivery.from_environment(settings, service=service, evaluation=service)
    assert delivery is not None
    with delivery:
        return delivery.send([gauge(0.5, time=time.time_ns())])


def test_lagging_points_arrive(stack: Stack, right: dict[str, str]) -> None:
    """Endpoint, token and certificates are all that a run has to be told."""
    service = f"flights-{uuid.uuid4()}"

    outcome = sent(right, service)

    assert (outcome.status, outcome.message) == ("accepted", "")
    (series,) = stack.prometheus.query(f'ml_evaluation_accuracy_ratio{{job="{service}"}}')
    assert series.value == 0.5


def test_live_points_arrive(
    stack: Stack, right: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same variables hold, and go before the bundle of certificates that an image may have set."""
    service = f"flights-{uuid.uuid4()}"
    trustme.CA().cert_pem.write_to_path(tmp_path / "bundle.pem")
    for name, value in {**right, "REQUESTS_CA_BUNDLE": str(tmp_path / "bundle.pem")}.items():
        monkeypatch.setenv(name, value)

    provider = meter_provider_from_environment(service)
    provider.get_meter("test").create_counter("ml.predictions").add(3)
    provider.shutdown()

    (series,) = stack.prometheus.wait_for(f'ml_predictions_total{{job="{service}"}}')
    assert series.value == 3


@pytest.mark.parametrize("headers", ["", "authorization=Bearer%20wrong", f"authorization={TOKEN}"])
def test_without_the_token_nobody_gets_in(right: dict[str, str], headers: str) -> None:
    """Missing, wrong or without its scheme: the points are kept, and the message has the variable to set."""
    outcome = sent({**right, "OTEL_EXPORTER_OTLP_HEADERS": headers})

    assert (outcome.status, outcome.reason) == ("retry", "settings")
    assert "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20TOKEN" in outcome.message


def test_without_encryption_nobody_gets_in(right: dict[str, str]) -> None:
    """By HTTP it mostly looks like a refusal of the points, and none may be given up for it."""
    endpoint = right["OTEL_EXPORTER_OTLP_ENDPOINT"].replace("https", "http")

    outcome = sent({**right, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "3"})

    assert (outcome.status, outcome.rejected) == ("retry", {})
    assert "https://" in outcome.message


def test_an_authority_that_is_not_known_is_named(right: dict[str, str]) -> None:
    """Nothing is sent to a Collector that cannot prove who it is."""
    outcome = sent({**right, "OTEL_EXPORTER_OTLP_CERTIFICATE": "", "OTEL_EXPORTER_OTLP_TIMEOUT": "3"})

    assert (outcome.status, outcome.reason) == ("retry", "settings")
    assert "authority in OTEL_EXPORTER_OTLP_CERTIFICATE" in outcome.message


@pytest.mark.parametrize("known_only", ["known clients"], indirect=True)
def test_a_client_without_its_certificate_stays_outside(right: dict[str, str]) -> None:
    """The token alone does not help where certificates are asked for."""
    names = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_KEY")

    outcome = sent({**right, **dict.fromkeys(names, ""), "OTEL_EXPORTER_OTLP_TIMEOUT": "3"})

    assert (outcome.status, outcome.rejected) == ("retry", {})
    assert "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE" in outcome.message


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_other_protocols_port_is_told(stack: Stack, protocol: str) -> None:
    """A sender of HTTP at the port for gRPC, or the other way round: the most common slip of all."""
    other = stack.otlp_http if protocol == "grpc" else stack.otlp_grpc
    given = {"ENDPOINT": other, "PROTOCOL": protocol, "TIMEOUT": "0.7"}

    outcome = sent({f"OTEL_EXPORTER_OTLP_{name}": value for name, value in given.items()})

    wanted = {"grpc": "http/protobuf", "http/protobuf": "grpc"}[protocol]
    assert (outcome.status, outcome.rejected) == ("retry", {})
    assert f"OTEL_EXPORTER_OTLP_PROTOCOL={wanted}" in outcome.message


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_encryption_that_nobody_expects_is_told(stack: Stack, protocol: str) -> None:
    """A missing TLS setting at the Collector, or an `s` too many at the sender."""
    endpoint = stack.otlp_grpc if protocol == "grpc" else stack.otlp_http
    given = {"ENDPOINT": endpoint.replace("http", "https"), "PROTOCOL": protocol, "TIMEOUT": "0.7"}

    outcome = sent({f"OTEL_EXPORTER_OTLP_{name}": value for name, value in given.items()})

    assert (outcome.status, outcome.reason) == ("retry", "settings")
    assert "write http:// in the endpoint" in outcome.message
