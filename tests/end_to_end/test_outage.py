"""Prometheus goes away, the Collector is killed meanwhile, both come back: whatever was accepted is there."""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality, Metric, NumberDataPoint, Sum

from otel_ml_metrics.ledger.outbox import Outbox
from otel_ml_metrics.sending import send
from otel_ml_metrics.telemetry.delivery import Delivery
from otel_ml_metrics.telemetry.lagging import LaggingPoint
from tests.end_to_end.stack import (
    COLLECTOR_PORTS,
    PROMETHEUS_PORTS,
    Server,
    free_ports,
    running_collector,
    running_prometheus,
)
from tests.end_to_end.test_stack import in_hours, nanoseconds, post, request_of
from tests.ledger.material import NAME, commit, opened
from tests.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_ml_metrics.evaluation_report import Delivered
    from otel_ml_metrics.ledger.store import Ledger
    from tests.end_to_end.stack import Prometheus, Series, Tools

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(120, func_only=True)]

PAUSE = 0.05  # seconds between two exports of a server: far more often than in real life
RUN = 700  # lagging points of a run, more than one request takes
STARTED_AT = in_hours(0)
Told = set[tuple[datetime, float]]


@dataclass
class ModelServer:
    """Exports a counter again and again, and remembers what it was told "accepted" for."""

    endpoint: str
    service: str = field(default_factory=lambda: f"flights-{uuid.uuid4()}")
    accepted: Told = field(default_factory=set)
    refused: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def last(self) -> float:
        """The newest count that was accepted."""
        return max(self.accepted, default=(STARTED_AT, 0.0))[1]

    def wait_for(self, more: int) -> None:
        """Wait until so many further exports were accepted."""
        wanted = len(self.accepted) + more
        eventually(lambda: len(self.accepted) >= wanted)

    def _work(self) -> None:
        count = 0
        while not self._stop.wait(PAUSE):
            count += 1
            at = datetime.fromtimestamp(time.time_ns() // 10**6 / 1e3, UTC)
            point = NumberDataPoint({}, nanoseconds(STARTED_AT), nanoseconds(at), count)
            total = Sum([point], AggregationTemporality.CUMULATIVE, is_monotonic=True)
            try:
                request = request_of(self.service, Metric("ml.predictions", "", "", total), scope="otel_ml_metrics")
                post(self.endpoint, request).raise_for_status()
                self.accepted.add((at, float(count)))
            except httpx.HTTPError:
                self.refused += 1


@dataclass
class LabelRuns:
    """Runs of an evaluation: each commits its points to the ledger, then sends what waits there."""

    ledger: Ledger
    delivery: Delivery
    service: str
    committed: Told = field(default_factory=set)
    version: int = 0

    def run(self) -> Delivered:
        """Commit values of windows that nobody has seen, and try to send."""
        points = [self._point(self.version * RUN + number) for number in range(RUN)]
        self.ledger.commit(
            commit(self.version, points=[(point.series, point.time_unix_nano, point.to_json()) for point in points])
        )
        self.version += 1
        return self.send()

    def send(self) -> Delivered:
        """Try to send what waits."""
        return send(Outbox(self.ledger), self.delivery, progress=lambda *_: None)

    def _point(self, number: int) -> LaggingPoint:
        at = STARTED_AT - timedelta(days=1, minutes=number)
        self.committed.add((at, float(number)))
        given: dict[str, Any] = {"metric": "ml.evaluation.support", "unit": "{prediction}", "description": "Rows."}
        return LaggingPoint(kind="gauge", attributes={}, time_unix_nano=nanoseconds(at), value=float(number), **given)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Callable[[str], LabelRuns]]:
    """Runs over a ledger of their own, once the Collector's endpoint is known."""
    with ExitStack() as stack:
        ledger = stack.enter_context(opened(f"sqlite:///{tmp_path / 'ledger.db'}"))

        def with_endpoint(endpoint: str) -> LabelRuns:
            service = f"flights-{uuid.uuid4()}"
            environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "0.7"}
            delivery = Delivery.from_environment(environ, service=service, evaluation=NAME)
            assert delivery is not None
            return LabelRuns(ledger, stack.enter_context(closing(delivery)), service)

        yield with_endpoint


def stored(prometheus: Prometheus, name: str, service: str) -> Told:
    """Every point of one series."""
    found: list[Series] = prometheus.query(f'{name}{{job="{service}"}}[30d]')
    return {point for series in found for point in series.points}


@pytest.mark.parametrize("end", [Server.kill, Server.stop])
def test_an_outage_loses_nothing(
    tools: Tools, tmp_path: Path, runs: Callable[[str], LabelRuns], end: Callable[[Server], None]
) -> None:
    """Every live point that the Collector accepted is stored, and every lagging value that the ledger committed.

    One server ends while Prometheus is away and the Collector still lives, so its last counts exist in the
    Collector's queue and nowhere else. Then the Collector is killed, or told to stop as in an update.
    """
    ports, (port,) = free_ports(COLLECTOR_PORTS), free_ports(PROMETHEUS_PORTS)
    endpoint, backend = f"http://127.0.0.1:{ports[1]}", f"http://127.0.0.1:{port}"
    evaluation = runs(endpoint)

    with ModelServer(endpoint) as lasting, ExitStack() as life:
        with running_collector(tools.otelcol, tmp_path, backend, ports=ports) as (collector, _, _):
            with running_prometheus(tools.prometheus, tmp_path, ports=[port]):
                lasting.wait_for(10)
                assert evaluation.run().kept == 0
            with ModelServer(endpoint) as ending:
                ending.wait_for(30)
                assert evaluation.run().kept == RUN
            end(collector)
        assert evaluation.run().kept == 2 * RUN
        life.enter_context(running_collector(tools.otelcol, tmp_path, backend, ports=ports))
        lasting.wait_for(10)
        _, prometheus = life.enter_context(running_prometheus(tools.prometheus, tmp_path, ports=[port]))
        lasting.wait_for(10)
        delivered = evaluation.send()

        assert (delivered.sent, delivered.kept, delivered.rejected) == (2 * RUN, 0, 0)
        assert stored(prometheus, "ml_evaluation_support", evaluation.service) == evaluation.committed
        for server in (ending, lasting):
            eventually(partial(is_stored, server, prometheus))
        assert (ending.refused, lasting.refused > 0, ending.last >= 30) == (0, True, True)


def is_stored(server: ModelServer, prometheus: Prometheus) -> bool:
    """Tell whether all that the server was told "accepted" for is stored."""
    return server.accepted.copy() <= stored(prometheus, "ml_predictions_total", server.service)
