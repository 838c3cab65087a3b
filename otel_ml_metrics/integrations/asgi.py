"""Request context for ASGI applications: headers become declared fields, traces are linked, the end is flushed.

    app.add_middleware(RequestContextMiddleware, fields={"x-channel": "channel"})   # FastAPI and Starlette
    app = RequestContextMiddleware(app, fields={"x-channel": "channel"})            # any other

It reads headers only: bodies pass through untouched, and a request without one of the headers costs a look at each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import attach, detach, get_current
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_ml_metrics.errors import FieldError
from otel_ml_metrics.request_fields import with_request_fields
from otel_ml_metrics.semconv import RESERVED_FIELDS
from otel_ml_metrics.telemetry.processes import EXIT_TIMEOUT, recorders

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from opentelemetry.context import Context

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Message, Receive, Send], Awaitable[None]]

LONGEST: Final = 256
"""Bytes of a header that can be a field; a longer one is left out: what a client sends waits in the buffer."""

_TRACE_HEADERS: Final = {b"traceparent": "traceparent", b"tracestate": "tracestate"}
_ENDED: Final = frozenset({"lifespan.shutdown.complete", "lifespan.shutdown.failed"})
_propagator: Final = TraceContextTextMapPropagator()


class RequestContextMiddleware:
    """Gives every prediction that is made in a request what the request says about itself.

    - A header is the value of a declared slice or field, for monitors that declare it, where `record` is not given one.
    - The caller's trace (`traceparent`) is that of the prediction, in the log and in exemplars, unless the server has a
      span of its own.
    - When the server shuts down, all that was recorded is drained and exported before it says that it is done. Servers
      that end by a signal, as uvicorn does, run no exit hooks afterwards.

    Args:
        app: What serves.
        fields: Name of the field by name of the header, whatever its case.
        shutdown_timeout: Seconds at most for what waits at the end, should the receiver not answer.

    Raises:
        FieldError: A field has a name that is reserved.
    """

    def __init__(
        self, app: Application, *, fields: Mapping[str, str] | None = None, shutdown_timeout: float = EXIT_TIMEOUT
    ) -> None:
        fields = fields or {}
        for field in fields.values():
            if field.lower() in RESERVED_FIELDS:
                message = f"{field!r} is a field of every prediction, and no header's to say. Choose a declared one."
                raise FieldError(message)
        self._app = app
        self._shutdown_timeout = shutdown_timeout
        self._fields = {header.lower().encode("latin-1"): field for header, field in fields.items()}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the server."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._flushing(send))
            return
        context = self._context(scope.get("headers", ()))
        if context is None:
            await self._app(scope, receive, send)
            return
        token = attach(context)
        try:
            await self._app(scope, receive, send)
        finally:
            detach(token)

    def _context(self, headers: Any) -> Context | None:  # noqa: ANN401  # pairs of bytes, names in lower case
        """The context that the headers make; None where they say nothing."""
        brought: dict[str, str] = {}
        traced: dict[str, str] = {}
        for name, value in headers:
            if name in self._fields and len(value) <= LONGEST:
                brought[self._fields[name]] = value.decode("latin-1")
            elif name in _TRACE_HEADERS:
                traced[_TRACE_HEADERS[name]] = value.decode("latin-1")
        context = get_current()
        if traced and not trace.get_current_span(context).get_span_context().is_valid:
            context = _propagator.extract(traced, context)
        elif not brought:
            return None
        return with_request_fields(brought, context) if brought else context

    def _flushing(self, send: Send) -> Send:
        """Export when the application has shut down, and before the server hears of it."""

        async def sent(message: Message) -> None:
            if message["type"] in _ENDED:
                recorders.export(self._shutdown_timeout)  # in the event loop: it has nothing else to do any more
            await send(message)

        return sent
