"""The flow that evaluates a past range again, from the log and the labels, and sends what differs."""

# No `from __future__ import annotations` here: `flow.serve` pickles the function without the names that only its
# annotations use, and Prefect could not resolve them in the process of the run.

from datetime import datetime
from typing import Annotated

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import AwareDatetime, Field

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.evaluation_report import Report
from otel_ml_metrics.evaluator import Evaluator

from .measuring import observed
from .running import LEDGER_TASK, SendFor, finish, model_of, patiently
from .stretches import Progress, stretches_of, together
from .telling import at, slug

WINDOWS_AT_ONCE = 30
"""Windows that one commit recomputes: so much is lost, at most, where a run is cut off."""


def run_name() -> str:
    """Name a run by its model and its range."""
    parameters = flow_run.parameters
    return f"{model_of(parameters['monitoring'])} from {at(parameters['since'])} to {at(parameters['until'])}"


@task(name="recompute-windows", **LEDGER_TASK)
def recompute_windows(monitoring: str, since: datetime, until: datetime) -> Report:
    """Recompute the windows of a stretch, and commit what differs."""
    with Evaluator(Evaluation.from_file(monitoring)) as evaluator:
        return patiently(evaluator, lambda: evaluator.backfill(since=since, until=until))


@flow(name="backfill", flow_run_name=run_name, persist_result=False)
def backfill(
    monitoring: str,
    since: AwareDatetime,
    until: AwareDatetime,
    *,
    windows_at_once: Annotated[int, Field(ge=1, le=10_000)] = WINDOWS_AT_ONCE,
    send_for: SendFor = 60,
) -> "State[Report]":
    """Evaluate a past range again, and send what differs.

    For windows that were there before a measure, a slice or a maturity was added, and after the log or the labels were
    mended. Repeating it changes nothing. A run that was cut off goes on where it was when it is retried.

    Args:
        monitoring: Path of monitoring.yaml, as the worker sees it.
        since: Start of the range with its zone, by prediction time; the window that holds it is the first.
        until: End of the range with its zone, not included.
        windows_at_once: How many windows one commit recomputes. Fewer need less memory.
        send_for: Seconds to keep trying an OTLP endpoint that is down. 0 leaves the points to the next run at once.

    Returns:
        The final state: completed with the report, or failed and named `PointsKept`.
    """
    with observed("backfill", monitoring) as run:
        report = _recompute(monitoring, since, until, windows_at_once=windows_at_once)
        return run.end(finish(report, monitoring=monitoring, send_for=send_for))


def _recompute(monitoring: str, since: datetime, until: datetime, *, windows_at_once: int) -> Report:
    evaluation = Evaluation.from_file(monitoring)
    stretches = stretches_of(evaluation, since, until, windows=windows_at_once)
    progress = Progress.of_run(f"backfill-{slug(evaluation.name)}", stretches)
    reports = []
    try:
        for stretch in progress.left or stretches[-1:]:  # a run that is retried after its last commit still sends
            reports.append(recompute_windows(monitoring, *stretch))
            progress.advance()
    except BaseException:
        get_run_logger().error(progress.told())
        raise
    return together(reports)
