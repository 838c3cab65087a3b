"""The flow that evaluates a past range again, from the log and the labels, and sends what differs."""

# No `from __future__ import annotations` here: `flow.serve` pickles the function without the names that only its
# annotations use, and Prefect could not resolve them in the process of the run.

from datetime import datetime

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import AwareDatetime

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.evaluation_report import Report
from otel_ml_metrics.evaluator import Evaluator

from .running import BUSY_DELAYS, SendFor, another_run_is_at_it, finish, model_of, patiently
from .telling import at


def run_name() -> str:
    """Name a run by its model and its range."""
    parameters = flow_run.parameters
    return f"{model_of(parameters['monitoring'])} from {at(parameters['since'])} to {at(parameters['until'])}"


@task(
    name="recompute-windows",
    retries=len(BUSY_DELAYS),
    retry_delay_seconds=BUSY_DELAYS,
    retry_condition_fn=another_run_is_at_it,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def recompute_windows(monitoring: str, since: datetime, until: datetime) -> Report:
    """Recompute the windows of the range, and commit what differs."""
    with Evaluator(Evaluation.from_file(monitoring)) as evaluator:
        return patiently(evaluator, lambda: evaluator.backfill(since=since, until=until))


@flow(name="backfill", flow_run_name=run_name, persist_result=False)
def backfill(monitoring: str, since: AwareDatetime, until: AwareDatetime, send_for: SendFor = 60) -> "State[Report]":
    """Evaluate a past range again, and send what differs.

    For windows that were there before a measure, a slice or a maturity was added, and after the log or the labels were
    mended. Repeating it changes nothing.

    Args:
        monitoring: Path of monitoring.yaml, as the worker sees it.
        since: Start of the range with its zone, by prediction time; the window that holds it is the first.
        until: End of the range with its zone, not included.
        send_for: Seconds to keep trying an OTLP endpoint that is down. 0 leaves the points to the next run at once.

    Returns:
        The final state: completed with the report, or failed and named `PointsKept`.
    """
    report = recompute_windows(monitoring, since, until)
    return finish(report, monitoring=monitoring, send_for=send_for)
