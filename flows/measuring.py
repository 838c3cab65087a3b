"""What a run tells of itself: how long it took, how late it began, what it took; as metrics, and as a span.

The points go the way of the lagging ones, in a request of their own, and are not kept where nobody takes them: the next
run has newer ones. Nothing here names a flow run in a metric, and no global provider is set.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from prefect import get_run_logger
from prefect.runtime import flow_run

from otel_ml_metrics import semconv
from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.errors import OtelMLMetricsError
from otel_ml_metrics.telemetry.delivery import Delivery
from otel_ml_metrics.telemetry.lagging import LaggingPoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect.client.schemas.objects import State

    from otel_ml_metrics.semconv import MetricDefinition

NOTHING_TO_DO: Final = "NothingToDo"
"""Name of the completed state of a run whose work another one did already."""

TIMEOUT: Final = "3"
"""Seconds for the points of a run; somebody may be waiting for it to end."""


@dataclass
class Observation:
    """One run of a flow, as it goes.

    Args:
        flow: Its name.
        monitoring: Path of monitoring.yaml.
        due: The instant for which it was scheduled.
        started: When it began.
        outcome: `failed` until it has ended otherwise.
        labels: How many it took; None for a flow that takes none.
        ledger_age: Seconds since the instant up to which labels were taken, as it found the ledger; None where unknown.
    """

    flow: str
    monitoring: str
    due: datetime
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    outcome: str = semconv.FLOW_FAILED
    labels: int | None = None
    ledger_age: float | None = None

    def end(self, state: State[Any]) -> State[Any]:
        """Note how the run ended, and pass its state on."""
        if state.is_completed():
            self.outcome = semconv.FLOW_SKIPPED if state.name == NOTHING_TO_DO else semconv.FLOW_COMPLETED
        return state


@contextmanager
def observed(flow: str, monitoring: str) -> Iterator[Observation]:
    """Observe what a run does in this block, and tell it when the block ends, however it ends."""
    observation = Observation(flow, monitoring, due=flow_run.scheduled_start_time)
    began = time.monotonic()
    attributes = {"prefect.flow_run.id": str(flow_run.id), "prefect.flow_run.name": str(flow_run.name)}
    with trace.get_tracer(semconv.SCOPE_FLOWS).start_as_current_span(flow, attributes=attributes) as span:
        try:
            yield observation
        finally:
            span.set_attribute(semconv.FLOW_OUTCOME, observation.outcome)
            tell(observation, duration=time.monotonic() - began)


def tell(observation: Observation, *, duration: float) -> None:
    """Send the points of a run; that nobody takes them is no reason to fail it."""
    settings = {**os.environ, "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": TIMEOUT}
    try:
        evaluation = Evaluation.from_file(observation.monitoring)
        names = {"service": evaluation.service, "evaluation": evaluation.name}
        delivery = Delivery.from_environment(settings, **names, budget=float(TIMEOUT))
        if delivery is not None:
            with delivery:
                delivery.send(list(points_of(observation, evaluation.model, duration=duration)))
    except OtelMLMetricsError as error:
        get_run_logger().warning("The metrics of this run are not sent: %s", error)


def points_of(observation: Observation, model: str, *, duration: float) -> Iterator[LaggingPoint]:
    """The points of a run, stamped with its end."""
    time_unix_nano = time.time_ns()
    of_model = {semconv.MODEL_NAME: model}
    of_flow = {**of_model, semconv.FLOW_NAME: observation.flow}
    of_outcome = {**of_flow, semconv.FLOW_OUTCOME: observation.outcome}
    lateness = max(0.0, (observation.started - observation.due).total_seconds())
    found: list[tuple[MetricDefinition, dict[str, str], float | None]] = [
        (semconv.FLOW_DURATION, of_outcome, duration),
        (semconv.FLOW_LATENESS, of_flow, lateness),
        (semconv.FLOW_LABELS, of_flow, observation.labels),
        (semconv.FLOW_LEDGER_AGE, of_model, observation.ledger_age),
    ]
    for metric, attributes, value in found:
        if value is not None:
            yield LaggingPoint.gauge(metric, attributes, time_unix_nano, value)
