"""Delivery over encrypted connections: the certificate settings are those that count."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import grpc
import pytest
import trustme

from otel_ml_metrics.telemetry.delivery import Delivery
from otel_ml_metrics.telemetry.grpc_receiver import GrpcReceiver
from otel_ml_metrics.telemetry.receiver import Receiver
from tests.certificates import Authority
from tests.telemetry.points import gauges

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from otel_ml_metrics.telemetry.delivery import Outcome


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Of the receiver and of the clients it knows."""
    return Authority.founded(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["http", "grpc"])
def receiver(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Receiver | GrpcReceiver]:
    """A receiver that takes requests of known clients only."""
    if request.param == "grpc":
        files = (authority.server_key, authority.server_certificate, authority.certificate)
        key, certificate, roots = (_read(name) for name in files)
        credentials = grpc.ssl_server_credentials([(key, certificate)], roots, require_client_auth=True)
        with GrpcReceiver(tls=credentials) as grpc_receiver:
            yield grpc_receiver
        return
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate)
    context.load_cert_chain(authority.server_certificate, authority.server_key)
    context.verify_mode = ssl.CERT_REQUIRED
    with Receiver(tls=context) as http_receiver:
        yield http_receiver


def _read(name: str) -> bytes:
    with open(name, "rb") as file:  # noqa: PTH123 - the settings are texts
        return file.read()


def _send(environ: Mapping[str, str]) -> Outcome:
    delivery = Delivery.from_environment(environ, service="api", evaluation="api/m")
    assert delivery is not None
    with delivery:
        return delivery.send(gauges(2))


def test_the_certificates_of_the_settings_are_used(
    receiver: Receiver | GrpcReceiver, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They go before `REQUESTS_CA_BUNDLE`, which containers often set and requests prefers to what a session says."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))

    outcome = _send(
        {
            **receiver.environment,
            "OTEL_EXPORTER_OTLP_CERTIFICATE": authority.certificate,
            "OTEL_EXPORTER_OTLP_CLIENT_KEY": authority.client_key,
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": authority.client_certificate,
        }
    )

    assert (outcome.status, len(receiver.points)) == ("accepted", 2)


def test_an_unknown_certificate_keeps_the_points(receiver: Receiver | GrpcReceiver) -> None:
    """Nothing is sent to a receiver that cannot prove who it is, and the message names the reason."""
    outcome = _send({**receiver.environment, "OTEL_EXPORTER_OTLP_TIMEOUT": "3"})

    assert (outcome.status, outcome.retry, receiver.points) == ("retry", (0, 1), ())
    assert "certificate" in outcome.message.lower()
