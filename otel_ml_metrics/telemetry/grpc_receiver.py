"""The gRPC sibling of `receiver`: a throw-away OTLP/gRPC receiver on the loopback."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)

from otel_ml_metrics.telemetry.receiver import Record, accept

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
        ExportMetricsServiceResponse,
    )

    from otel_ml_metrics.telemetry.received import ReceivedPoint
    from otel_ml_metrics.telemetry.receiver import Reply

_THREADS: Final = 4


class GrpcReceiver(Record):
    """Receives OTLP/gRPC on a free port of 127.0.0.1. Close it, or use it as a context manager.

    Args:
        reply: Chooses the answer by the points of the request; `Reply.code` counts here, `Reply.status` does not.
        tls: Encrypts the connection.
    """

    def __init__(
        self,
        *,
        reply: Callable[[tuple[ReceivedPoint, ...]], Reply] = accept,
        tls: grpc.ServerCredentials | None = None,
    ) -> None:
        super().__init__(reply)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="otlp-receiver")
        # Without this option a second receiver could bind the port of one that a test has just closed, and share it.
        self._server = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)])
        add_MetricsServiceServicer_to_server(_Service(self), self._server)  # type: ignore[no-untyped-call]
        self._scheme = "http" if tls is None else "https"
        if tls is None:
            self._port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            self._port = self._server.add_secure_port("127.0.0.1:0", tls)
        self._server.start()

    @property
    def endpoint(self) -> str:
        """Address for `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"{self._scheme}://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The settings that point an exporter here."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}

    def close(self) -> None:
        """Stop listening; what came in stays readable. A second call does nothing."""
        self.closed.set()
        self._server.stop(grace=None).wait()
        self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Service(MetricsServiceServicer):
    def __init__(self, record: Record) -> None:
        self._record = record

    def Export(  # noqa: N802 - the name in the protocol
        self,
        request: ExportMetricsServiceRequest,
        context: Any,  # noqa: ANN401 - the generated classes are not typed
    ) -> ExportMetricsServiceResponse:
        reply = self._record.take(request, {key: str(value) for key, value in context.invocation_metadata()})
        if reply.code != "OK":
            context.abort(grpc.StatusCode[reply.code], reply.message)
        return reply.response()
