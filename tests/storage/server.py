"""An S3 server on a free port of loopback that notes its requests, and can be told to fail."""

from __future__ import annotations

import threading
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Request(NamedTuple):
    """What a client asked for."""

    method: str
    path: str
    query: str


class _Silent(WSGIRequestHandler):
    def log(self, *_args: Any) -> None:
        """Say nothing: tests look at `requests`."""


class ObjectServer:
    """Starts when it is entered.

    `failing` says which requests are answered by 503.
    """

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Silent)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.endpoint = f"http://127.0.0.1:{self._server.port}"
        self.requests: list[Request] = []
        self.failing: Callable[[Request], bool] = lambda _request: False

    @property
    def environment(self) -> dict[str, str]:
        """How clients find it, and how they do not look for a cloud around them."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def make_bucket(self, name: str) -> str:
        """A new bucket, as a URL."""
        asked = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")  # noqa: S310  # our own server
        urllib.request.urlopen(asked, timeout=30).close()  # noqa: S310  # our own server
        return f"s3://{name}"

    def methods(self, ending: str = "") -> list[str]:
        """Methods of the requests so far for paths with this ending."""
        return [request.method for request in self.requests if request.path.endswith(ending)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING", ""))
        self.requests.append(request)
        if self.failing(request):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("503 Slow Down", [("Content-Length", "0")])
            return []
        answer: Iterable[bytes] = self._moto(environ, start)
        return answer
