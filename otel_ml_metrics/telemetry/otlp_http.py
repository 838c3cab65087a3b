"""One request by OTLP/HTTP, with its answer read.

The exporter tells success or failure and no more: it drops the response, takes a redirect for success, and never looks
at a partial success. So its session carries an adapter that keeps what was answered.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import requests
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.sdk.metrics.export import MetricExportResult

from otel_ml_metrics.telemetry.answers import Answer, verdict_of_status
from otel_ml_metrics.telemetry.quiet import quiet
from otel_ml_metrics.telemetry.trust import TrustingAdapter, session_with

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.metrics.export import MetricsData
    from requests import PreparedRequest, Response

    from otel_ml_metrics.telemetry.answers import Verdict
    from otel_ml_metrics.telemetry.endpoint import Endpoint

_LOGGER: Final = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
_LONGEST: Final = 500
# A certificate that does not fit, or a file of certificates that cannot be read. requests' own errors are OSErrors too.
_SETTINGS_ERRORS: Final = (requests.exceptions.SSLError, FileNotFoundError, PermissionError, ssl.SSLError)
_COMPRESSION: Final[Mapping[str, Compression]] = {
    "none": Compression.NoCompression,
    "gzip": Compression.Gzip,
    "deflate": Compression.Deflate,
}


class HttpTransport:
    """Sends by the SDK's OTLP/HTTP exporter; the exporter's own retries stay within the endpoint's timeout."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._listener = _Listener(endpoint.certificate)
        session = session_with(self._listener)
        session.max_redirects = 0  # older exporters follow them, as GET and without the body
        self._exporter = OTLPMetricExporter(
            endpoint=endpoint.url,
            certificate_file=endpoint.certificate,
            client_key_file=endpoint.client_key,
            client_certificate_file=endpoint.client_certificate,
            headers=dict(endpoint.headers),
            timeout=endpoint.timeout,
            compression=_COMPRESSION[endpoint.compression],
            session=session,
        )

    def send(self, data: MetricsData) -> Answer:
        """Send and read the answer to the last attempt."""
        self._listener.take()
        result = MetricExportResult.FAILURE
        # Older exporters let the session's errors through; the listener has them too.
        with quiet(_LOGGER), suppress(requests.RequestException):
            result = self._exporter.export(data)
        heard = self._listener.take()
        if isinstance(heard, requests.Response):
            return _answer(heard)
        if heard is not None:
            verdict: Verdict = "settings" if isinstance(heard, _SETTINGS_ERRORS) else "busy"
            return Answer(verdict, message=f"no answer, {_cause(heard)}")
        if result is MetricExportResult.SUCCESS:
            return Answer("accepted", message="The exporter reports success without having used its session.")
        return Answer("settings", message="no request could be made, look at the address")

    def close(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()


class _Listener(TrustingAdapter):
    """Keeps the answer, or the error, of the last attempt."""

    _heard: Response | Exception | None = None

    def take(self) -> Response | Exception | None:
        heard, self._heard = self._heard, None
        return heard

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401 - passed on unread
        try:
            response = super().send(request, *args, **kwargs)
            response.content  # noqa: B018 - read here, so that an answer that breaks off is an error and not an answer
        except Exception as error:
            self._heard = error
            raise
        self._heard = response
        return response


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
