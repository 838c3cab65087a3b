"""The OTLP settings: which are in force, and what is said about those that cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_ml_metrics.errors import EndpointError
from otel_ml_metrics.telemetry.endpoint import Endpoint

if TYPE_CHECKING:
    from pathlib import Path

ALL = "OTEL_EXPORTER_OTLP_ENDPOINT"
METRICS = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"


def _read(environ: dict[str, str]) -> Endpoint:
    endpoint = Endpoint.from_environment(environ)
    assert endpoint is not None
    return endpoint


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {ALL: "", METRICS: " "},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {ALL: "http://collector:4318", "OTEL_SDK_DISABLED": "true"},
        {ALL: "http://collector:4318", "OTEL_METRICS_EXPORTER": "none"},
    ],
)
def test_without_an_endpoint_nothing_is_sent(environ: dict[str, str]) -> None:
    """A default of localhost would make every run on a machine without a Collector fail."""
    assert Endpoint.from_environment(environ) is None


@pytest.mark.parametrize(
    ("environ", "url", "protocol"),
    [
        ({ALL: "http://collector:4318"}, "http://collector:4318/v1/metrics", "http/protobuf"),
        ({ALL: "https://gateway/otlp/"}, "https://gateway/otlp/v1/metrics", "http/protobuf"),
        ({ALL: "https://gateway/otlp?key=1"}, "https://gateway/otlp/v1/metrics?key=1", "http/protobuf"),
        ({ALL: "http://a:1", METRICS: "http://b:2/api/v1/otlp"}, "http://b:2/api/v1/otlp", "http/protobuf"),
        ({ALL: "http://collector:4317"}, "http://collector:4317", "grpc"),
        ({ALL: "http://c:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http://c:9", "grpc"),
        (
            {
                ALL: "http://c:4317",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
            },
            "http://c:4317/v1/metrics",
            "http/protobuf",
        ),
    ],
)
def test_the_address_follows_the_specification(environ: dict[str, str], url: str, protocol: str) -> None:
    """The general endpoint gets the metrics path, the one for metrics is used as written, and the port 4317 is gRPC."""
    endpoint = _read(environ)

    assert (endpoint.url, endpoint.protocol) == (url, protocol)


def test_settings_for_metrics_go_before_those_for_all_signals(tmp_path: Path) -> None:
    """Every setting has both forms, and the narrower one wins."""
    certificate = tmp_path / "ca.pem"
    certificate.write_text("-----BEGIN CERTIFICATE-----")

    endpoint = _read(
        {
            METRICS: "https://collector:4318/v1/metrics",
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=all",
            "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "api-key=metrics, x-tenant=a%20b",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "5",
            "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "2.5",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate),
        }
    )

    assert endpoint.headers == {"api-key": "metrics", "x-tenant": "a b"}
    assert (endpoint.timeout, endpoint.compression, endpoint.certificate) == (2.5, "gzip", str(certificate))
    assert (endpoint.secure, endpoint.variable) == (True, METRICS)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {ALL: "localhost:4318"},
            r"OTEL_EXPORTER_OTLP_ENDPOINT is 'localhost:4318', which has no scheme\. Write it like",
        ),
        ({METRICS: "collector"}, r"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT is 'collector', which has no scheme"),
        ({ALL: "grpc://collector:4317"}, "its scheme is 'grpc', expected http or https"),
        ({ALL: "http://collector:port"}, "which is no address"),
        ({ALL: "http://collector:99999"}, "which is no address"),
        ({ALL: "http://:4318"}, "which has no host"),
        ({ALL: "http://collector:0"}, "which has port 0"),
        ({ALL: "http://[::1"}, "which is no address"),
        ({ALL: "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "'http/json', expected http/protobuf or grpc"),
        ({ALL: "http://c", "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"}, "'zstd', expected none or gzip or deflate"),
        ({ALL: "http://c", "OTEL_EXPORTER_OTLP_TIMEOUT": "10s"}, "'10s', expected seconds above 0"),
        ({ALL: "http://c", "OTEL_EXPORTER_OTLP_TIMEOUT": "0"}, "'0', expected seconds above 0"),
        ({ALL: "http://c", "OTEL_EXPORTER_OTLP_TIMEOUT": "inf"}, "'inf', expected seconds above 0"),
        (
            {ALL: "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=two%0Alines"},
            "a header 'api-key' that cannot be sent",
        ),
        ({ALL: "https://c", "OTEL_EXPORTER_OTLP_CERTIFICATE": "no/such.pem"}, "there is no such file"),
    ],
)
def test_a_malformed_setting_says_what_was_found_and_expected(environ: dict[str, str], said: str) -> None:
    """The exporters log such a setting, fall back to something else and go on; a run stops instead."""
    with pytest.raises(EndpointError, match=said):
        Endpoint.from_environment(environ)


def test_secrets_of_the_endpoint_are_not_shown() -> None:
    """Messages and representations end in logs and in Prefect's database."""
    endpoint = _read(
        {ALL: "https://user:secret@gateway/otlp?key=secret", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret"}
    )

    assert endpoint.shown == "https://gateway/otlp/v1/metrics"
    assert "secret" not in repr(endpoint)
    with pytest.raises(EndpointError) as caught:
        Endpoint.from_environment({ALL: "ftp://user:secret@gateway?key=secret"})
    assert "secret" not in str(caught.value)


def test_only_stable_attributes_join_the_resource() -> None:
    """A pod name in OTEL_RESOURCE_ATTRIBUTES would make every series of every run a new one."""
    endpoint = _read(
        {
            ALL: "http://collector:4318",
            "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=travel,k8s.pod.name=w-7,deployment.environment.name=prod",
        }
    )

    assert endpoint.resource == {"service.namespace": "travel", "deployment.environment.name": "prod"}
