"""Request context: what a request says about itself reaches the predictions made in it, and nothing else changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.errors import FieldError
from otel_ml_metrics.integrations.asgi import LONGEST, RequestContextMiddleware
from otel_ml_metrics.prediction_log.layout import SEGMENT_PATTERN
from otel_ml_metrics.telemetry.exporter import OTLPMLMetricExporter
from otel_ml_metrics.telemetry.receiver import Receiver, Reply
from tests.patience import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from otel_ml_metrics.testing import TelemetryCapture

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


def an_app(monitor: ModelMonitor, *, shutdown_timeout: float = 5.0, **fields: str) -> FastAPI:
    """An application whose three routes record one prediction each; keywords are its headers, without `X-`."""
    app = FastAPI()
    headers = {f"X-{name}": field for name, field in fields.items()}
    app.add_middleware(RequestContextMiddleware, fields=headers, shutdown_timeout=shutdown_timeout)

    @app.get("/sync")
    def in_a_thread() -> None:
        monitor.record(score=0.5)

    @app.get("/async")
    async def in_the_loop() -> None:
        await asyncio.sleep(0)
        monitor.record_batch(score=[0.5])

    @app.get("/given")
    def with_its_own() -> None:
        monitor.record(score=0.5, channel="given")

    return app


def get(app: FastAPI, path: str, **headers: str) -> None:
    """Ask a route of the application, as a client does; keywords are its headers."""

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            response = await client.get(path, headers=headers)
            assert response.is_success

    asyncio.run(ask())


async def live(app: FastAPI) -> list[str]:
    """Start the application and end it, as a server does; what it said."""
    said: list[str] = []
    orders = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, str]:
        return {"type": next(orders)}

    async def send(message: Any) -> None:
        said.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    return said


def logged(folder: Path) -> list[dict[str, Any]]:
    """Every row of the log."""
    return [row for path in folder.rglob(SEGMENT_PATTERN) for row in pq.read_table(path, partitioning=None).to_pylist()]


@pytest.mark.parametrize("route", ["sync", "async"])
def test_a_header_is_a_declared_slice(telemetry: TelemetryCapture, route: str) -> None:
    """In the event loop and in its threads, for rows and for batches."""
    monitor = ModelMonitor("m", slices=["channel"], meter_provider=telemetry.meter_provider)
    app = an_app(monitor, Channel="channel", Other="not_declared")

    get(app, f"/{route}", **{"x-channel": "web", "x-other": "unused"})
    get(app, f"/{route}")

    assert telemetry.values("ml.predictions", by="ml.slice.channel") == {"web": 1, "(missing)": 1}
    assert telemetry.values("ml.monitor.faults", by="reason") == {}


def test_what_the_call_says_outranks_the_header(telemetry: TelemetryCapture) -> None:
    """The server knows better than its client."""
    monitor = ModelMonitor("m", slices=["channel"], meter_provider=telemetry.meter_provider)

    get(an_app(monitor, Channel="channel"), "/given", **{"x-channel": "web"})

    assert telemetry.values("ml.predictions", by="ml.slice.channel") == {"given": 1}


def test_a_long_header_is_left_out(telemetry: TelemetryCapture) -> None:
    """A client cannot fill the buffer with its headers."""
    monitor = ModelMonitor("m", slices=["channel"], meter_provider=telemetry.meter_provider)

    get(an_app(monitor, Channel="channel"), "/sync", **{"x-channel": "x" * (LONGEST + 1)})

    assert telemetry.values("ml.predictions", by="ml.slice.channel") == {"(missing)": 1}


def test_the_trace_of_the_caller_is_in_the_log(tmp_path: Path) -> None:
    """Without tracing in the server, a prediction is found by the trace that asked for it."""
    monitor = ModelMonitor("m", log=tmp_path)

    get(an_app(monitor), "/sync", **CALLER)
    monitor.shutdown()

    assert [(row["trace_id"], row["span_id"]) for row in logged(tmp_path)] == [(TRACE, SPAN)]


def test_a_span_of_the_server_stays_current() -> None:
    """Where the server traces, its own span is nearer."""
    seen: list[int] = []

    async def app(*_: Any) -> None:
        seen.append(trace.get_current_span().get_span_context().span_id)

    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("server")
    scope = {"type": "http", "headers": [(b"traceparent", CALLER["traceparent"].encode())]}
    with tracer.start_as_current_span("request") as span:
        asyncio.run(RequestContextMiddleware(app)(scope, _nothing, _nothing))

    assert seen == [span.get_span_context().span_id]


async def _nothing(*_: Any) -> Any:
    return {}


@pytest.mark.parametrize("headers", [[], [(b"accept", b"*/*")]])
def test_a_request_that_says_nothing_has_the_context_it_had(headers: list[tuple[bytes, bytes]]) -> None:
    """The application gets the very same scope, receive and send: no body is touched."""
    passed: list[Any] = []

    async def app(*arguments: Any) -> None:
        passed.extend([*arguments, get_current()])

    async def serve() -> list[Any]:
        scope = {"type": "http", "headers": headers}
        await RequestContextMiddleware(app, fields={"x-channel": "channel"})(scope, _nothing, _nothing)
        return [scope, _nothing, _nothing, get_current()]

    expected = asyncio.run(serve())

    assert all(ours is theirs for ours, theirs in zip(passed, expected, strict=True))


def test_an_error_of_the_application_leaves_no_context_behind() -> None:
    """The next request starts from what was there before."""

    async def app(*_: Any) -> None:
        raise LookupError

    async def serve() -> object:
        before = get_current()
        scope = {"type": "http", "headers": [(b"x-channel", b"web")]}
        with pytest.raises(LookupError):
            await RequestContextMiddleware(app, fields={"x-channel": "channel"})(scope, _nothing, _nothing)
        return get_current() is before

    assert asyncio.run(serve())


def test_reserved_fields_are_no_headers_to_say() -> None:
    """A client must not choose scores or ids."""
    with pytest.raises(FieldError, match="'score' is a field of every prediction"):
        RequestContextMiddleware(_nothing, fields={"x-score": "score"})


def test_the_end_of_the_server_exports_what_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything has left before the server says that it is done."""
    with Receiver() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        reader = PeriodicExportingMetricReader(OTLPMLMetricExporter(), export_interval_millis=3_600_000)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        monitor = ModelMonitor("m", interval=3600, meter_provider=provider)

        monitor.record(score=0.5)
        said = asyncio.run(live(an_app(monitor)))
        counts = [point.count for point in receiver.points if point.metric == "ml.prediction.score"]
        provider.shutdown()

    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert counts == [1]


def test_the_end_of_the_server_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that never answers does not keep the server from ending."""
    with Receiver(reply=lambda _: Reply(hang=True)) as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        reader = PeriodicExportingMetricReader(OTLPMLMetricExporter(), export_interval_millis=3_600_000)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        monitor = ModelMonitor("m", meter_provider=provider)

        monitor.record(score=0.5)
        monitor.force_flush()  # what waits is the export alone
        said = asyncio.run(live(an_app(monitor, shutdown_timeout=0.5)))

        assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert eventually(lambda: [exchange.reply.hang for exchange in receiver.exchanges]) == [True]
