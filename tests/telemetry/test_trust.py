"""Connections of the exporter, and what a fork does to them."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from otel_ml_metrics.telemetry.trust import trusting_session

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = str(self.client_address[1]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A server that says from which port of the client a request came."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_forked_child_makes_a_connection_of_its_own(endpoint: str) -> None:
    """On a connection that both used, an answer to the parent would be read by the child."""
    with trusting_session(None) as session:
        ports = [session.post(endpoint, data=b"x").text for _ in range(2)]
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writing, session.post(endpoint, data=b"x", timeout=60).content)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            in_child = answer.read()
        ports.append(session.post(endpoint, data=b"x").text)

    assert len(set(ports)) == 1
    assert in_child.isdecimal()
    assert in_child not in ports
