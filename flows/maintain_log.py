"""The flow that keeps the prediction log and the ledger small: merges files, retires old dates."""

# No `from __future__ import annotations` here: `flow.serve` pickles the function without the names that only its
# annotations use, and Prefect could not resolve them in the process of the run.

from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.maintenance import Upkeep, maintain

from .measuring import observed
from .running import LEDGER_TASK, model_of


def run_name() -> str:
    """Name a run by its model."""
    return f"{model_of(flow_run.parameters['monitoring'])} maintained"


@task(name="keep-in-order", **LEDGER_TASK)
def keep_in_order(monitoring: str, *, compaction: bool, retention: bool, dry_run: bool) -> Upkeep:
    """Retire, merge and delete."""
    evaluation = Evaluation.from_file(monitoring)
    return maintain(evaluation, compaction=compaction, retention=retention, dry_run=dry_run)


@flow(name="maintain-log", flow_run_name=run_name, persist_result=False)
def maintain_log(
    monitoring: str, *, compaction: bool = True, retention: bool = True, dry_run: bool = False
) -> "State[Upkeep]":
    """Merge the small files of the prediction log, and retire what is older than the declared retention.

    Safe beside model servers and evaluations. Whatever a run was in the middle of when it died, the next one makes up
    for.

    Args:
        monitoring: Path of monitoring.yaml, as the worker sees it.
        compaction: Merge files.
        retention: Retire dates, where monitoring.yaml declares a retention.
        dry_run: Look only, and change nothing.

    Returns:
        The final state: completed with what was done.
    """
    with observed("maintain-log", monitoring) as run:
        done = keep_in_order(monitoring, compaction=compaction, retention=retention, dry_run=dry_run)
        return run.end(Completed(message=_told(done), data=done))


def _told(done: Upkeep) -> str:
    merged = sum(each.files for each in done.merged)
    parts = [f"{merged} files of {len({each.date for each in done.merged})} dates merged"]
    if done.retired is not None and done.retired.before is not None:
        parts.append(f"{done.retired.dates} dates retired, all before {done.retired.before}")
    parts.append(f"{done.deleted.files} files deleted whose time was over")
    return ("nothing was changed, this would be: " if done.dry_run else "") + "; ".join(parts)
