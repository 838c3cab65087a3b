"""The flow that turns labels into lagging metrics: advance the ledger to `as_of`, send the points, show the table."""

# No `from __future__ import annotations` here: `flow.serve` pickles the function without the names that only its
# annotations use, and Prefect could not resolve them in the process of the run.

from datetime import UTC, datetime

from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import AwareDatetime

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.evaluation_report import Report
from otel_ml_metrics.evaluator import Evaluator

from .measuring import NOTHING_TO_DO, Observation, observed
from .punctuality import Every, gap, look, taken_by_another, warn
from .running import LEDGER_TASK, SendFor, finish, model_of, patiently
from .telling import at


def run_name() -> str:
    """Name a run by its model and the instant that it pretends is now."""
    parameters = flow_run.parameters
    return f"{model_of(parameters['monitoring'])} as of {at(parameters['as_of'] or datetime.now(UTC))}"


@task(name="advance-ledger", **LEDGER_TASK)
def advance_ledger(monitoring: str, as_of: datetime | None, *, dry_run: bool) -> Report:
    """Evaluate the labels that came in since the ledger's head, and commit."""
    with Evaluator(Evaluation.from_file(monitoring)) as evaluator:
        return patiently(evaluator, lambda: evaluator.run(as_of=as_of, dry_run=dry_run))


@flow(name="evaluate-labels", flow_run_name=run_name, persist_result=False)
def evaluate_labels(
    monitoring: str,
    as_of: AwareDatetime | None = None,
    *,
    every: Every | None = None,
    dry_run: bool = False,
    send_for: SendFor = 60,
) -> "State[Report]":
    """Evaluate the labels that came in, and send what became final or changed.

    A run means "advance the ledger from where it stands to `as_of`", never "my hour": a lost, late, doubled or
    cancelled run does no harm, the next one takes everything.

    Args:
        monitoring: Path of monitoring.yaml, as the worker sees it.
        as_of: The instant that the run pretends is now, with its zone; labels received later do not exist for it. Empty
            means now. Older than the ledger's head makes the run read-only.
        every: Interval of the schedule, such as 1h; a longer time without a run is reported. Empty means no schedule.
        dry_run: Show what would become final, and neither commit nor send anything.
        send_for: Seconds to keep trying an OTLP endpoint that is down. 0 leaves the points to the next run at once.

    Returns:
        The final state: completed with the report; completed and named `NothingToDo` where another run took what this
        one was scheduled for; or failed and named `PointsKept`.
    """
    with observed("evaluate-labels", monitoring) as run:
        return run.end(_advance(run, as_of, every=every, dry_run=dry_run, send_for=send_for))


def _advance(
    run: Observation, as_of: datetime | None, *, every: str | None, dry_run: bool, send_for: int
) -> "State[Report]":
    found = look(run)
    done = taken_by_another(found, run.due) if as_of is None else None
    if done is not None:
        return Completed(name=NOTHING_TO_DO, message=done)
    remark = warn(gap(found, every=every) if as_of is None else None)
    report = advance_ledger(run.monitoring, as_of, dry_run=dry_run)
    run.labels = sum(report.labels.values()) - found.labels
    return finish(report, monitoring=run.monitoring, send_for=send_for, remark=remark)
