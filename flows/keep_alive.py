"""The flow that sends the current gauges again, for backends that forget what they do not hear of."""

# No `from __future__ import annotations` here: `flow.serve` pickles the function without the names that only its
# annotations use, and Prefect could not resolve them in the process of the run.

from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.renewal import Renewal, renew

from .measuring import NOTHING_TO_DO, observed
from .punctuality import look
from .running import LEDGER_TASK, POINTS_KEPT, model_of


def run_name() -> str:
    """Name a run by its model."""
    return f"{model_of(flow_run.parameters['monitoring'])} kept alive"


@task(name="renew-gauges", **LEDGER_TASK)
def renew_gauges(monitoring: str) -> Renewal:
    """Send what waits in the outbox, and then the current points once more."""
    return renew(Evaluation.from_file(monitoring))


@flow(name="keep-alive", flow_run_name=run_name, persist_result=False)
def keep_alive(monitoring: str) -> "State[Renewal]":
    """Send the current gauges again: the same values, stamped now. Nothing is evaluated.

    Prometheus forgets a pushed gauge after five minutes, so it wants a run every few minutes. Points that an earlier
    run could not send go first.

    Args:
        monitoring: Path of monitoring.yaml, as the worker sees it.

    Returns:
        The final state: completed with what was sent; completed and named `NothingToDo` where there is nothing to send,
        or another run sends; or failed and named `PointsKept` where the endpoint did not take the points.
    """
    with observed("keep-alive", monitoring) as run:
        look(run)
        return run.end(_told(renew_gauges(monitoring)))


def _told(renewal: Renewal) -> "State[Renewal]":
    sent = f"{renewal.caught_up.sent} kept points and {renewal.points} current ones sent"
    if renewal.missed:
        message = f"{sent}; the endpoint did not take {renewal.missed}: {renewal.message}; the next run tries again"
        return Failed(name=POINTS_KEPT, message=message)
    if renewal.refused:
        return Completed(message=f"{sent}; {renewal.refused} refused for good: {renewal.message}", data=renewal)
    if not renewal.points + renewal.caught_up.sent:
        return Completed(name=NOTHING_TO_DO, message=f"nothing to do: {renewal.message or 'no run has sent anything'}")
    return Completed(message=sent, data=renewal)
