"""Where lagging points go: the `OTEL_EXPORTER_OTLP_*` settings, read once and checked.

The exporters read the same variables, but fall back to localhost, log a malformed value and go on. A run of an
evaluation must say so instead, so the settings are resolved here and handed to the exporter in full.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast
from urllib.parse import SplitResult, urlsplit

from opentelemetry.util.re import parse_env_headers

from otel_ml_metrics.errors import EndpointError, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping

Protocol = Literal["http/protobuf", "grpc"]
Compression = Literal["none", "gzip", "deflate"]

PROTOCOLS: Final = ("http/protobuf", "grpc")
COMPRESSIONS: Final = ("none", "gzip", "deflate")
METRICS_PATH: Final = "v1/metrics"
GRPC_PORT: Final = 4317
DEFAULT_TIMEOUT: Final = 10.0

_HEADER: Final = re.compile(r"[a-z0-9_.-]+")  # what gRPC takes, the narrower of the two

# Resource attributes that are worth a place beside ours and do not change from run to run. A pod name, a host or a
# process id from the same variable would make every series of every run a new one.
_STABLE: Final = ("deployment.environment", "deployment.environment.name", "service.namespace")


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """A receiver, and how to talk to it.

    Args:
        url: As the exporter needs it; for http/protobuf with its path. Not shown: it may hold a password.
        protocol: `http/protobuf` or `grpc`.
        headers: Sent with every request. Not shown: they hold keys.
        timeout: Seconds for one request, further attempts included.
        compression: Of the request.
        certificate: File of the certificates to trust, None for the usual ones.
        client_key: File of the client's key, None without.
        client_certificate: File of the client's certificate, None without.
        resource: Attributes that join `service.name` and `service.instance.id`.
        variable: The setting that named the endpoint, for messages.
    """

    url: str = field(repr=False)
    protocol: Protocol = "http/protobuf"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = DEFAULT_TIMEOUT
    compression: Compression = "none"
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None
    resource: Mapping[str, str] = field(default_factory=dict)
    variable: str = "OTEL_EXPORTER_OTLP_ENDPOINT"

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted: the scheme decides, for gRPC too."""
        return urlsplit(self.url).scheme == "https"

    @property
    def shown(self) -> str:
        """The address as it may stand in a message: without password and query."""
        return _without_secrets(urlsplit(self.url))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Endpoint | None:
        """Read the settings of the OpenTelemetry specification; one for metrics goes before one for all signals.

        Without `OTEL_EXPORTER_OTLP_PROTOCOL` the port decides: 4317 speaks gRPC, all others http/protobuf.
        `OTEL_EXPORTER_OTLP_TIMEOUT` is in seconds, as in the exporters of the Python SDK.

        Returns:
            None where no endpoint is set, or `OTEL_SDK_DISABLED` or `OTEL_METRICS_EXPORTER=none` turns sending off.

        Raises:
            EndpointError: A setting cannot be used as it is written.
        """
        if _switched_off(environ):
            return None
        variable, raw = _setting(environ, "ENDPOINT")
        if not raw:
            return None
        split = _split(variable, raw)
        protocol = _protocol(environ, split)
        whole = protocol == "grpc" or variable == "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
        return cls(
            url=raw if whole else _with_metrics_path(split),
            protocol=protocol,
            headers=_headers(environ),
            timeout=_timeout(environ),
            compression=_compression(environ),
            certificate=_file(environ, "CERTIFICATE"),
            client_key=_file(environ, "CLIENT_KEY"),
            client_certificate=_file(environ, "CLIENT_CERTIFICATE"),
            resource=_stable_resource(environ),
            variable=variable,
        )


def _switched_off(environ: Mapping[str, str]) -> bool:
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return disabled or environ.get("OTEL_METRICS_EXPORTER", "").strip().lower() == "none"


def _setting(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Find the variable that is in force, and its value; an empty one counts as not set, as the specification says."""
    variables = (f"OTEL_EXPORTER_OTLP_METRICS_{name}", f"OTEL_EXPORTER_OTLP_{name}")
    for variable in variables:
        if value := environ.get(variable, "").strip():
            return variable, value
    return variables[-1], ""


def _split(variable: str, raw: str) -> SplitResult:
    example = "Write it like http://collector:4318, with https:// for an encrypted connection."
    if "://" not in raw:
        message = f"{variable} is {raw!r}, which has no scheme. {example}"
        raise EndpointError(message)
    try:
        split = urlsplit(raw)
        port = split.port
    except ValueError as error:
        message = f"{variable} is {raw!r}, which is no address ({error}). {example}"
        raise EndpointError(message) from error
    shown = _without_secrets(split)
    if split.scheme not in ("http", "https"):
        message = f"{variable} is {shown!r}: its scheme is {split.scheme!r}, expected http or https. {example}"
        raise EndpointError(message)
    if not split.hostname or port == 0:
        found = "has no host" if not split.hostname else "has port 0, where nobody listens"
        message = f"{variable} is {shown!r}, which {found}. {example}"
        raise EndpointError(message)
    return split


def _without_secrets(split: SplitResult) -> str:
    return split._replace(netloc=split.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _with_metrics_path(split: SplitResult) -> str:
    return split._replace(path=f"{split.path.rstrip('/')}/{METRICS_PATH}").geturl()


def _protocol(environ: Mapping[str, str], split: SplitResult) -> Protocol:
    default = "grpc" if split.port == GRPC_PORT else "http/protobuf"
    return cast("Protocol", _one_of(environ, "PROTOCOL", PROTOCOLS, default))


def _compression(environ: Mapping[str, str]) -> Compression:
    return cast("Compression", _one_of(environ, "COMPRESSION", COMPRESSIONS, "none"))


def _one_of(environ: Mapping[str, str], name: str, known: tuple[str, ...], default: str) -> str:
    variable, value = _setting(environ, name)
    if value and value.lower() not in known:
        message = f"{variable} is {value!r}, expected {' or '.join(known)}. {suggest(value, known)}"
        raise EndpointError(message)
    return value.lower() or default


def _headers(environ: Mapping[str, str]) -> Mapping[str, str]:
    variable, value = _setting(environ, "HEADERS")
    headers = parse_env_headers(value, liberal=True)
    for key, text in headers.items():
        if not (_HEADER.fullmatch(key) and text.isascii() and text.isprintable()):
            message = (
                f"{variable} has a header {key!r} that cannot be sent; keys are like api-key, values printable ASCII."
            )
            raise EndpointError(message)
    return headers


def _timeout(environ: Mapping[str, str]) -> float:
    variable, value = _setting(environ, "TIMEOUT")
    try:
        seconds = float(value) if value else DEFAULT_TIMEOUT
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        message = f"{variable} is {value!r}, expected seconds above 0, such as 10."
        raise EndpointError(message)
    return seconds


def _file(environ: Mapping[str, str], name: str) -> str | None:
    variable, value = _setting(environ, name)
    if value and not Path(value).is_file():
        message = f"{variable} is {value!r}, and there is no such file. Name a PEM file that this process can read."
        raise EndpointError(message)
    return value or None


def _stable_resource(environ: Mapping[str, str]) -> dict[str, str]:
    given = parse_env_headers(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""), liberal=True)
    return {key: given[key] for key in _STABLE if given.get(key)}
