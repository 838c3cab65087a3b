"""One request by OTLP/gRPC, with its answer read.

The exporter is given requests that are encoded already. It drops the response with its partial success, and logs the
status code instead of giving it back. It makes its stub anew when a connection breaks, so the stub is wrapped whenever
it is set.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import grpc
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import MetricExportResult

from otel_ml_metrics.telemetry.answers import Answer, verdict_of_code
from otel_ml_metrics.telemetry.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
        ExportMetricsServiceResponse,
    )
    from opentelemetry.sdk.metrics.export import MetricsData

    from otel_ml_metrics.telemetry.endpoint import Endpoint

_LOGGER: Final = "opentelemetry.exporter.otlp.proto.grpc.exporter"
_COMPRESSION: Final[Mapping[str, grpc.Compression]] = {
    "none": grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}
_NOBODY: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})  # what the client says, too, that reaches nobody


class GrpcTransport:
    """Sends by the SDK's OTLP/gRPC exporter; the exporter's own retries stay within the endpoint's timeout."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._exporter = _Listening(
            endpoint=f"{urlsplit(endpoint.url).scheme}://{urlsplit(endpoint.url).netloc}",
            insecure=not endpoint.secure,
            credentials=_credentials(endpoint),
            headers=dict(endpoint.headers),
            timeout=endpoint.timeout,
            compression=_COMPRESSION[endpoint.compression],
        )

    def send(self, request: ExportMetricsServiceRequest) -> Answer:
        """Send and read the answer to the last attempt."""
        self._exporter.take()
        with quiet(_LOGGER):
            result = self._exporter.export(cast("MetricsData", request))
        heard = self._exporter.take()
        if isinstance(heard, grpc.RpcError):
            code, words = heard.code().name, heard.details() or ""
            message = f"gRPC {code}: {words}".rstrip(": ")
            return Answer(verdict_of_code(code), message=message, status="" if code in _NOBODY else code)
        if heard is not None:
            partial = heard.partial_success
            return Answer("accepted", rejected=max(0, partial.rejected_data_points), message=partial.error_message)
        if result is MetricExportResult.SUCCESS:
            return Answer("accepted", message="The exporter reports success without having used its stub.")
        return Answer("settings", message="no request could be made")

    def close(self) -> None:
        """Close the channel."""
        self._exporter.shutdown()


class _Listening(OTLPMetricExporter):
    """The exporter, keeping the response or the error of its last call."""

    _heard: ExportMetricsServiceResponse | grpc.RpcError | None = None

    def take(self) -> ExportMetricsServiceResponse | grpc.RpcError | None:
        heard, self._heard = self._heard, None
        return heard

    @property
    def _client(self) -> Any:  # noqa: ANN401 - a stub; the generated classes are not typed
        return self if self._stub_in_use is not None else None

    @_client.setter
    def _client(self, stub: Any) -> None:  # noqa: ANN401 - the same
        self._stub_in_use = stub

    def _translate_data(self, data: Any) -> ExportMetricsServiceRequest:  # noqa: ANN401 - the request, encoded by us
        request: ExportMetricsServiceRequest = data
        return request

    def _count_data(self, data: object) -> int:
        del data
        return 0  # for the exporter's metrics about itself, which nobody asked this one for

    def Export(self, **request: Any) -> ExportMetricsServiceResponse:  # noqa: ANN401, N802 - stands in for the stub's method
        try:
            response: ExportMetricsServiceResponse = self._stub_in_use.Export(**request)
        except grpc.RpcError as error:
            self._heard = error
            raise
        self._heard = response
        return response


def _credentials(endpoint: Endpoint) -> grpc.ChannelCredentials | None:
    if not endpoint.secure:
        return None
    files = (endpoint.certificate, endpoint.client_key, endpoint.client_certificate)
    return grpc.ssl_channel_credentials(*(None if name is None else Path(name).read_bytes() for name in files))
