"""A throw-away OTLP receiver on the loopback, for the demo without an endpoint and for tests.

It keeps what it was sent as plain points, and answers as it is told to.
"""

from __future__ import annotations

import gzip
import threading
import zlib
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Self, cast

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from otel_ml_metrics.telemetry.received import points_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from otel_ml_metrics.telemetry.received import ReceivedPoint

PATH: Final = "/v1/metrics"
_PROTOBUF: Final = "application/x-protobuf"
_TEXT: Final = "text/plain"


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer to one request.

    Args:
        status: HTTP status; the gRPC receiver takes `code` instead.
        code: Name of a gRPC status code.
        rejected: Points to report as left out, in a partial success.
        message: Of the partial success, or of the error.
        headers: More HTTP headers.
        body: Instead of the response that follows from the rest, None for that one.
        content_type: Of the body.
        hang: Say nothing until the receiver is closed.
        hang_up: Close the connection without an answer.
    """

    status: int = 200
    code: str = "OK"
    rejected: int = 0
    message: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    content_type: str = _PROTOBUF
    hang: bool = False
    hang_up: bool = False

    @property
    def accepts(self) -> bool:
        """Whether the sender is told that its request was taken over."""
        return self.status == 200 and self.code == "OK" and not (self.hang or self.hang_up)  # noqa: PLR2004 - HTTP's

    def response(self) -> ExportMetricsServiceResponse:
        """Build the message of a success, partial or whole."""
        response = ExportMetricsServiceResponse()
        if self.rejected or self.message:
            response.partial_success.rejected_data_points = self.rejected
            response.partial_success.error_message = self.message
        return response


ACCEPT: Final = Reply()


def accept(_points: tuple[ReceivedPoint, ...]) -> Reply:
    """Take everything over."""
    return ACCEPT


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what was answered to it.

    Args:
        points: In the order on the wire.
        reply: What was answered.
        headers: Of the request, keys in lower case.
    """

    points: tuple[ReceivedPoint, ...]
    reply: Reply
    headers: Mapping[str, str]


class Record:
    """What came in, whatever the protocol; safe to read while more comes in.

    Args:
        reply: Chooses the answer by the points of the request.
    """

    def __init__(self, reply: Callable[[tuple[ReceivedPoint, ...]], Reply]) -> None:
        self.closed = threading.Event()
        self._reply = reply
        self._exchanges: list[Exchange] = []
        self._lock = threading.Lock()

    def take(self, request: ExportMetricsServiceRequest, headers: Mapping[str, str]) -> Reply:
        """Keep a request and choose its answer; with `Reply.hang` this returns when the receiver is closed."""
        points = tuple(points_of(request))
        with self._lock:
            reply = self._reply(points)
            self._exchanges.append(Exchange(points, reply, headers))
        if reply.hang:
            self.closed.wait()
        return reply

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """All requests so far, oldest first, refused ones included."""
        with self._lock:
            return tuple(self._exchanges)

    @property
    def points(self) -> tuple[ReceivedPoint, ...]:
        """All points of the accepted requests so far, in the order in which they came."""
        return tuple(point for exchange in self.exchanges if exchange.reply.accepts for point in exchange.points)


class Receiver(Record):
    """Receives OTLP/HTTP with protobuf bodies on a free port of 127.0.0.1. Close it, or use it as a context manager.

    Args:
        reply: Chooses the answer by the points of the request; takes everything over by default.
        port: 0 for a free one.
        tls: Encrypts the connection, with the certificate that is loaded in it.

    >>> with Receiver() as receiver:
    ...     sorted(receiver.environment)
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_PROTOCOL']
    """

    def __init__(
        self,
        *,
        reply: Callable[[tuple[ReceivedPoint, ...]], Reply] = accept,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(reply)
        self._scheme = "http" if tls is None else "https"
        self._server = _Server(("127.0.0.1", port), self)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Address for `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """The settings that point an exporter here."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}

    def close(self) -> None:
        """Stop listening; what came in stays readable. A second call does nothing."""
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], record: Record) -> None:
        super().__init__(address, _Handler)
        self.record = record

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base class
        """Stay silent: clients that give up are what some tests are about, and the base class prints a traceback."""


class _Handler(BaseHTTPRequestHandler):
    # HTTP/1.0, the default: one request per connection, so a closed receiver answers nobody on an old one.

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != PATH:
            self._say(404, b"OTLP metrics are taken at /v1/metrics", _TEXT)
            return
        headers = {key.lower(): value for key, value in self.headers.items()}
        try:
            request = ExportMetricsServiceRequest.FromString(_plain(body, headers.get("content-encoding", "")))
        except (DecodeError, OSError, zlib.error):
            self._say(400, b"the body is no ExportMetricsServiceRequest", _TEXT)
            return
        self._answer(cast("_Server", self.server).record.take(request, headers))

    def _answer(self, reply: Reply) -> None:
        if reply.hang or reply.hang_up:
            return
        if reply.body is not None:
            self._say(reply.status, reply.body, reply.content_type, reply.headers)
        elif reply.accepts:
            self._say(reply.status, reply.response().SerializeToString(), reply.content_type, reply.headers)
        else:
            self._say(reply.status, reply.message.encode(), _TEXT, reply.headers)

    def _say(self, status: int, body: bytes, content_type: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.send_response(status)
        for key, value in (("Content-Type", content_type), ("Content-Length", str(len(body))), *headers):
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent: the demo draws its progress on the terminal."""


def _plain(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    return zlib.decompress(body) if encoding == "deflate" else body
