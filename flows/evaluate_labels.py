"""The flow that turns labels into lagging metrics: advance the ledger to `as_of`, send the points, show the table."""

# No `from __future__ import annotations` here: `flow.serve` pickles the function without the names that only its
# annotations use, and Prefect could not resolve them in the process of the run.

from datetime import UTC, datetime

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
    """Name a run by its model and the instant that it pretends is now."""
    parameters = flow_run.parameters
    return f"{model_of(parameters['monitoring'])} as of {at(parameters['as_of'] or datetime.now(UTC))}"


@task(
    name="advance-ledger",
    retries=len(BUSY_DELAYS),
    retry_delay_seconds=BUSY_DELAYS,
    retry_condition_fn=another_run_is_at_it,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def advance_ledger(monitoring: str, as_of: datetime | None, *, dry_run: bool) -> Report:
    """Evaluate the labels that came in since the ledger's head, and commit."""
    with Evaluator(Evaluation.from_file(monitoring)) as evaluator:
        return patiently(evaluator, lambda: evaluator.run(as_of=as_of, dry_run=dry_run))


@flow(name="evaluate-labels", flow_run_name=run_name, persist_result=False)
def evaluate_labels(
    monitoring: str, as_of: AwareDatetime | None = None, *, dry_run: bool = False, send_for: SendFor = 60
) -> "State[Report]":
    """Evaluate the labels that came in, and send what became final or changed.

    A run means "advance the ledger from where it stands to `as_of`", never "my hour": a lost, late, doubled or
    cancelled run does no harm, the next one takes everything.

    Args:
        monitoring: Path of monitoring.yaml, as the worker sees it.
        as_of: The instant that the run pretends is now, with its zone; labels received later do not exist for it. Empty
            means now. Older than the ledger's head makes the run read-only.
        dry_run: Show what would become final, and neither commit nor send anything.
        send_for: Seconds to keep trying an OTLP endpoint that is down. 0 leaves the points to the next run at once.

    Returns:
        The final state: completed with the report, or failed and named `PointsKept`.
    """
    report = advance_ledger(monitoring, as_of, dry_run=dry_run)
    return finish(report, monitoring=monitoring, send_for=send_for)
