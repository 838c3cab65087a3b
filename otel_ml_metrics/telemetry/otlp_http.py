"""One request by OTLP/HTTP, with its answer read.

The exporter encodes what it sends by itself, tells success or failure and no more, takes a redirect for success, and
never looks at a partial success. So this speaks the protocol, which over HTTP is a POST.
"""

from __future__ import annotations

import gzip
import random
import ssl
import time
import zlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import requests
import urllib3
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from otel_ml_metrics.telemetry.answers import Answer, verdict_of_status
from otel_ml_metrics.telemetry.trust import trusting_session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from requests import Response

    from otel_ml_metrics.telemetry.endpoint import Compression, Endpoint

_LONGEST: Final = 500
_LEAST_TIMEOUT: Final = 0.001
_MOST_ATTEMPTS: Final = 6
_JITTER: Final = 0.2
_TRANSIENT: Final = frozenset({429, 502, 503, 504})
"""Statuses on which the specification of OTLP wants the same request again."""
_UNHEARD: Final = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)
# A certificate that does not fit, or a file of certificates that cannot be read. requests' own errors are OSErrors too.
_SETTINGS_ERRORS: Final = (requests.exceptions.SSLError, FileNotFoundError, PermissionError, ssl.SSLError)
_COMPRESSORS: Final[Mapping[Compression, Callable[[bytes], bytes]]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


class HttpTransport:
    """Sends by POST; what it tries again stays within the endpoint's timeout."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._url = endpoint.url
        self._timeout = endpoint.timeout
        self._compress = _COMPRESSORS[endpoint.compression]
        self._session = trusting_session(endpoint)
        certificate, key = endpoint.client_certificate, endpoint.client_key
        self._session.cert = (certificate, key) if certificate and key else certificate
        self._session.headers.update(
            {"Content-Type": "application/x-protobuf", "User-Agent": f"otel-ml-metrics/{version('otel-ml-metrics')}"}
        )
        if endpoint.compression != "none":
            self._session.headers["Content-Encoding"] = endpoint.compression
        self._session.headers.update(endpoint.headers)

    def send(self, request: ExportMetricsServiceRequest) -> Answer:
        """Send and read the answer to the last attempt."""
        body = self._compress(request.SerializeToString())
        deadline = time.monotonic() + self._timeout
        heard, attempt = self._post(body, deadline), 0
        while (pause := _pause(heard, attempt)) is not None and time.monotonic() + pause < deadline:
            time.sleep(pause)
            heard, attempt = self._post(body, deadline), attempt + 1
        return _answer(heard) if isinstance(heard, requests.Response) else _silence(heard)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _post(self, body: bytes, deadline: float) -> Response | Exception:
        timeout = max(_LEAST_TIMEOUT, deadline - time.monotonic())
        try:
            return self._session.post(self._url, data=body, timeout=timeout, allow_redirects=False)
        except _UNHEARD as error:
            return error


def _pause(heard: Response | Exception, attempt: int) -> float | None:
    """Seconds before the same request is worth another attempt; None where it is not."""
    if attempt + 1 == _MOST_ATTEMPTS:
        return None
    if isinstance(heard, requests.Response):
        if heard.status_code not in _TRANSIENT:
            return None
        asked = _asked_to_wait(heard)
        if asked is not None:
            return asked
    elif isinstance(heard, _SETTINGS_ERRORS) or not isinstance(heard, (requests.ConnectionError, requests.Timeout)):
        return None
    elif attempt == 0:
        return 0.0  # mostly a connection that was kept, and that the receiver has closed meanwhile
    return 2.0**attempt * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret


def _asked_to_wait(response: Response) -> float | None:
    try:
        return urllib3.Retry().get_retry_after(response.raw)
    except urllib3.exceptions.InvalidHeader:
        return None


def _silence(error: Exception) -> Answer:
    if isinstance(error, _SETTINGS_ERRORS):
        return Answer("settings", message=f"no answer, {_cause(error)}")
    if isinstance(error, ValueError):
        return Answer("settings", message=f"no request could be made, look at the address: {_cause(error)}")
    return Answer("busy", message=f"no answer, {_cause(error)}")


def _answer(response: Response) -> Answer:
    verdict = verdict_of_status(response.status_code)
    if verdict != "accepted":
        message = f"HTTP {response.status_code} {response.reason}: {_words(response)}".rstrip(": ")
        return Answer(verdict, message=message, status=str(response.status_code))
    try:
        partial = _parsed(response).partial_success
    except (DecodeError, json_format.ParseError):  # some receivers answer success with a word of plain text
        return Answer("accepted")
    return Answer("accepted", rejected=max(0, partial.rejected_data_points), message=partial.error_message)


def _parsed(response: Response) -> ExportMetricsServiceResponse:
    if "json" in response.headers.get("Content-Type", ""):
        parsed = ExportMetricsServiceResponse()
        json_format.Parse(response.content or b"{}", parsed, ignore_unknown_fields=True)
        return parsed
    return ExportMetricsServiceResponse.FromString(response.content)


def _words(response: Response) -> str:
    location = response.headers.get("Location")
    if location:
        return f"redirected to {location}"
    if "protobuf" in response.headers.get("Content-Type", ""):
        try:
            return str(Status.FromString(response.content).message)[:_LONGEST]
        except DecodeError:
            return ""
    return " ".join(response.text[:_LONGEST].split())


def _cause(error: BaseException) -> str:
    """Give the innermost reason; what requests wraps around it is three lines of object addresses."""
    inner = error
    while (deeper := getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)) is not None:
        if not isinstance(deeper, BaseException):
            break
        inner = deeper
    return str(inner)[:_LONGEST]
