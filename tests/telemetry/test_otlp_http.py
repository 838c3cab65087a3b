"""What is tried again over HTTP, and when."""

from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from otel_ml_metrics.telemetry.endpoint import Endpoint
from otel_ml_metrics.telemetry.otlp_http import HttpTransport
from otel_ml_metrics.telemetry.receiver import ACCEPT, Receiver, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_ml_metrics.telemetry.answers import Answer

TIMEOUT = 10.0


def _sent(receiver: Receiver) -> Answer:
    transport = HttpTransport(Endpoint(url=f"{receiver.endpoint}/v1/metrics", timeout=TIMEOUT))
    try:
        return transport.send(ExportMetricsServiceRequest())
    finally:
        transport.close()


def _busy_at_first(*headers: tuple[str, str]) -> Receiver:
    replies = iter([Reply(503, headers=headers)])
    return Receiver(reply=lambda _: next(replies, ACCEPT))


@pytest.mark.parametrize("wait", ["0", "Fri, 31 Dec 1999 23:59:59 GMT", "soon"])
def test_the_receiver_says_how_long_to_wait(wait: str) -> None:
    """Seconds, or an instant; what cannot be read leaves the pause to us."""
    with _busy_at_first(("Retry-After", wait)) as receiver:
        answer = _sent(receiver)

    assert (answer.verdict, len(receiver.exchanges)) == ("accepted", 2)


@pytest.mark.parametrize("wait", ["3600", "Fri, 31 Dec 2099 23:59:59 GMT"])
def test_a_wait_beyond_the_timeout_is_for_the_next_run(wait: str) -> None:
    """The rest of the points would wait too."""
    with _busy_at_first(("Retry-After", wait)) as receiver:
        answer = _sent(receiver)

    assert (answer.verdict, answer.status, len(receiver.exchanges)) == ("busy", "503", 1)


def test_a_receiver_that_is_busy_and_wants_no_pause_is_left_alone_soon() -> None:
    """It would be asked without a pause until the timeout."""
    with Receiver(reply=lambda _: Reply(503, headers=(("Retry-After", "0"),))) as receiver:
        answer = _sent(receiver)

    assert (answer.verdict, len(receiver.exchanges)) == ("busy", 6)


@pytest.mark.parametrize("status", [400, 401, 408, 500, 501])
def test_other_statuses_are_not_tried_again(status: int) -> None:
    """OTLP names those that are."""
    with Receiver(reply=lambda _: Reply(status, headers=(("Retry-After", "0"),))) as receiver:
        answer = _sent(receiver)

    assert (answer.status, len(receiver.exchanges)) == (str(status), 1)


class _Forgetful(socketserver.BaseRequestHandler):
    """Promises to keep the connection, and closes it at the second request."""

    def handle(self) -> None:
        self.request.recv(65_536)
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
        self.request.recv(65_536)


@contextmanager
def _forgetful() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Forgetful) as server:
        server.daemon_threads = True  # the last connection is open until the collector of garbage finds it
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/metrics"
        server.shutdown()


def test_a_connection_that_was_kept_too_long_is_made_anew_at_once() -> None:
    """Receivers, and proxies before them, close what was silent for a while."""
    with _forgetful() as url:
        transport = HttpTransport(Endpoint(url=url, timeout=TIMEOUT))
        answers = [transport.send(ExportMetricsServiceRequest()).verdict for _ in range(3)]
        transport.close()

    assert answers == ["accepted"] * 3


@pytest.mark.parametrize("url", ["http://.collector:4318", "http://a" + "b" * 70 + ":4318", "http://[::1:4318"])
def test_an_address_that_cannot_be_asked_is_about_the_settings(url: str) -> None:
    """Whatever the libraries below raise for it."""
    transport = HttpTransport(Endpoint(url=url, timeout=TIMEOUT))

    answer = transport.send(ExportMetricsServiceRequest())

    transport.close()
    assert answer.verdict in {"settings", "busy"}
    assert answer.message
