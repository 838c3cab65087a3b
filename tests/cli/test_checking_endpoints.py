"""The command `check` on endpoints that do not answer to what is set: it finds the setting to mend."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc
import pytest
import trustme

from otel_ml_metrics.telemetry.grpc_receiver import GrpcReceiver
from otel_ml_metrics.telemetry.receiver import Receiver, Reply
from tests.cli.test_checking import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.flows.material import Material

HTTP: Final = "http/protobuf"


@dataclass(frozen=True)
class Authority:
    """A certificate authority that only these tests know.

    Args:
        certificate: File of its certificate.
        context: Of a server that speaks HTTP.
        credentials: Of a server that speaks gRPC.
    """

    certificate: Path
    context: ssl.SSLContext
    credentials: grpc.ServerCredentials


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Made anew for each run, so no key lies in the repository."""
    issuer = trustme.CA()
    server = issuer.issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.configure_cert(context)
    chain = [(server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())]
    certificate = tmp_path_factory.mktemp("tls") / "ca.pem"
    issuer.cert_pem.write_to_path(str(certificate))
    return Authority(certificate, context, grpc.ssl_server_credentials(chain))


@pytest.fixture
def listening(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Receiver | GrpcReceiver]:
    """A receiver of the kind that a test names."""
    kinds: dict[str, Callable[[], Receiver | GrpcReceiver]] = {
        "http": Receiver,
        "https": lambda: Receiver(tls=authority.context),
        "grpc": GrpcReceiver,
        "grpcs": lambda: GrpcReceiver(tls=authority.credentials),
    }
    with kinds[request.param]() as receiver:
        yield receiver


@pytest.fixture
def checked(material: Material, run: Run, monkeypatch: pytest.MonkeyPatch) -> Checked:
    """Check the small evaluation with settings."""
    return Checked(material, run, monkeypatch)


@dataclass
class Checked:
    """What `check` says about an endpoint."""

    material: Material
    run: Run
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, endpoint: str, **settings: str) -> str:
        """The finding, and what to do, in one line."""
        named = {"ENDPOINT": endpoint, "TIMEOUT": "2"} | settings
        for name, value in named.items():
            self.monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
        lines = self.run("check", self.material.monitoring).stdout.splitlines()
        (at,) = [place for place, line in enumerate(lines) if line.split()[1:2] == ["endpoint"]]
        return f"{lines[at]} {lines[at + 1].strip()}"


@pytest.mark.parametrize(
    ("listening", "scheme", "protocol", "fix"),
    [
        ("grpc", "http", HTTP, "It speaks grpc, not encrypted: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc."),
        ("http", "http", "grpc", f"It speaks {HTTP}, not encrypted: set OTEL_EXPORTER_OTLP_PROTOCOL={HTTP}."),
        ("http", "https", HTTP, f"It speaks {HTTP}, not encrypted: write OTEL_EXPORTER_OTLP_ENDPOINT with http://."),
        ("https", "http", HTTP, f"It speaks {HTTP}, encrypted: write OTEL_EXPORTER_OTLP_ENDPOINT with https://."),
        (
            "grpcs",
            "http",
            HTTP,
            "encrypted: write OTEL_EXPORTER_OTLP_ENDPOINT with https:// and set OTEL_EXPORTER_OTLP_PROTOCOL=grpc.",
        ),
    ],
    indirect=["listening"],
)
def test_the_setting_that_does_not_fit_is_named(
    listening: Receiver, checked: Checked, authority: Authority, *, scheme: str, protocol: str, fix: str
) -> None:
    """The address is asked in other ways, until it answers."""
    address = listening.endpoint.partition("://")[2]

    told = checked(f"{scheme}://{address}", PROTOCOL=protocol, CERTIFICATE=str(authority.certificate))

    assert told.startswith("fail")
    assert told.endswith(fix)


@pytest.mark.parametrize("listening", ["https"], indirect=True)
def test_a_certificate_of_an_unknown_authority_is_told(listening: Receiver, checked: Checked) -> None:
    """The usual case inside a company: its own authority has to be named."""
    told = checked(listening.endpoint)

    assert told.endswith("OTEL_EXPORTER_OTLP_CERTIFICATE, and its host as the certificate has it.")


def test_nobody_at_the_address(checked: Checked) -> None:
    """A receiver that is not started is another thing than one that speaks differently."""
    told = checked("http://127.0.0.1:9")

    assert told.endswith("Nobody listens at 127.0.0.1:9. Start the receiver, or mend OTEL_EXPORTER_OTLP_ENDPOINT.")


@pytest.mark.parametrize(
    ("status", "settings", "fix"),
    [
        (401, {}, "It wants a token: set OTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20<token>."),
        (401, {"HEADERS": "authorization=Bearer%20old"}, "OTEL_EXPORTER_OTLP_HEADERS sends authorization."),
        (403, {"HEADERS": "x-key=old"}, "OTEL_EXPORTER_OTLP_HEADERS sends x-key."),
        (404, {}, "is the address before /v1/metrics"),
        (500, {}, "Look into the log of the receiver"),
    ],
)
def test_a_refusal_is_told_with_its_usual_reason(
    checked: Checked, status: int, settings: dict[str, str], fix: str
) -> None:
    """A key that is missing is another thing than one that is not accepted."""
    with Receiver(reply=lambda _points: Reply(status=status)) as receiver:
        told = checked(receiver.endpoint, PROTOCOL=HTTP, **settings)

    assert "refuses an empty request" in told
    assert f"HTTP {status}" in told
    assert fix in told


def test_a_key_that_grpc_misses_is_told(checked: Checked) -> None:
    """The other protocol has names for the same."""
    with GrpcReceiver(reply=lambda _points: Reply(code="UNAUTHENTICATED")) as receiver:
        told = checked(receiver.endpoint, PROTOCOL="grpc")

    assert "It wants a token" in told


@pytest.mark.usefixtures("receiver")
def test_the_same_as_json(material: Material, run: Run) -> None:
    """For scripts: every finding, and how many fail."""
    material.monitoring.write_text(material.monitoring.read_text().replace("label: late", "label: x"))

    done = run("check", material.monitoring, "--format", "json")

    told = json.loads(done.stdout)
    assert done.exit_code == 2
    assert told["failed"] == 1
    assert [finding["subject"] for finding in told["findings"] if finding["verdict"] == "fail"] == ["labels"]
    assert lines_of(done.stdout, "fail") == []
