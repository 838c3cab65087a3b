"""The flow that warns before there are values: labels that come in slower than they used to."""

# No `from __future__ import annotations` here: `flow.serve` pickles the function without the names that only its
# annotations use, and Prefect could not resolve them in the process of the run.

from typing import Annotated

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import Field

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.coverage_watch import TOLERANCE, OpenWindow, Watch, watch

from .measuring import observed
from .punctuality import Every, gap, look, warn
from .running import LEDGER_TASK, model_of
from .showing import MOST_ROWS
from .telling import at, slug

COVERAGE_LAGS = "CoverageLags"
"""Name of the completed state of a run that found a window whose labels come in too slowly."""

LEDGER_BEHIND = "LedgerBehind"
"""Name of the completed state of a run that found that nobody advances the ledger."""


def run_name() -> str:
    """Name a run by its model."""
    return f"{model_of(flow_run.parameters['monitoring'])} watched"


@task(name="compare-with-complete-windows", **LEDGER_TASK)
def compare(monitoring: str, tolerance: float) -> Watch:
    """Compare the labels of open windows with what complete ones let one expect."""
    return watch(Evaluation.from_file(monitoring), tolerance=tolerance)


@flow(name="watch-coverage", flow_run_name=run_name, persist_result=False)
def watch_coverage(
    monitoring: str, *, every: Every | None = None, tolerance: Annotated[float, Field(gt=0, le=1)] = TOLERANCE
) -> "State[Watch]":
    """Compare the labels of open windows with what is to be expected by now, and say which windows lag.

    Reads the ledger, and changes nothing. What no evaluation has taken yet is not there; that nobody evaluates is
    reported as well.

    Args:
        monitoring: Path of monitoring.yaml, as the worker sees it.
        every: Interval at which labels are evaluated, such as 1h; a longer time without a run is reported. Empty means
            that there is no schedule.
        tolerance: Share of the expected labels below which a window lags; chance is allowed for besides.

    Returns:
        The final state: completed with what was compared, and named `CoverageLags` where a window lags, or
        `LedgerBehind` where nobody advances the ledger.
    """
    with observed("watch-coverage", monitoring) as run:
        remark = warn(gap(look(run), every=every))
        found = compare(monitoring, tolerance)
        for window in found.lagging:
            warn(_described(window))
        _publish(found, monitoring)
        name = COVERAGE_LAGS if found.lagging else LEDGER_BEHIND if remark else None
        return run.end(Completed(name=name, message=remark + _told(found), data=found))


def _told(found: Watch) -> str:
    if found.as_of is None:
        return "there is no ledger yet; the first evaluation makes it"
    if not found.windows:
        return (
            f"nothing to compare as of {at(found.as_of)}: {found.complete} complete windows, no open ones with labels"
        )
    lagging = "; ".join(map(_described, found.lagging)) or "none lags"
    return f"{len(found.windows)} open windows as of {at(found.as_of)}: {lagging}"


def _described(window: OpenWindow) -> str:
    return (
        f"the window {at(window.start)} to {at(window.end)} lags: {window.labelled} of {window.predictions} predictions"
        f" are labelled, and {window.expected:.0f} were to be expected by now"
    )


def _publish(found: Watch, monitoring: str) -> None:
    """Leave a table of the open windows, newest first, under one key per evaluation."""
    if not found.windows:
        return
    table = [
        {
            "window": f"{at(window.start)} to {at(window.end)}",
            "predictions": window.predictions,
            "labelled": window.labelled,
            "expected": round(window.expected, 1),
            "coverage": window.labelled / window.predictions,
            "expected coverage": window.expected / window.predictions,
            "lags": "yes" if window.lags else "",
        }
        for window in reversed(found.windows[-MOST_ROWS:])
    ]
    key = f"coverage-{slug(Evaluation.from_file(monitoring).name)}"
    create_table_artifact(key=key, table=table, description=f"{_told(found)}.")
