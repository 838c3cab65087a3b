"""The flow that evaluates several models at once, each as a run of its own."""

# No `from __future__ import annotations` here: `flow.serve` pickles the function without the names that only its
# annotations use, and Prefect could not resolve them in the process of the run.

from typing import Annotated, Any, cast

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from .evaluate_labels import evaluate_labels
from .fanning_out import Runner, task_runner
from .punctuality import Every
from .running import SendFor, model_of


def run_name() -> str:
    """Name a run by how many models it evaluates."""
    return f"{len(flow_run.parameters['monitoring'])} models"


@task(name="evaluate-model", task_run_name="{monitoring}", cache_policy=NO_CACHE, persist_result=False)
def evaluate_model(monitoring: str, every: str | None, send_for: int) -> "State[None]":
    """Evaluate one model, in a flow run of its own; how that ended, in a state that a cluster can pass on."""
    state = cast("State[Any]", evaluate_labels(monitoring, every=every, send_for=send_for, return_state=True))
    if state.is_completed():
        return Completed(name=state.name, message=state.message)
    return Failed(name=state.name, message=state.message)  # of the run's own state Prefect would keep no message


@flow(name="evaluate-all", flow_run_name=run_name, persist_result=False)
def evaluate_all(
    monitoring: Annotated[list[str], Field(min_length=1)],
    *,
    every: Every | None = None,
    runner: Runner = "threads",
    address: str | None = None,
    at_once: Annotated[int, Field(ge=1, le=64)] = 4,
    send_for: SendFor = 60,
) -> "State[None]":
    """Evaluate several models, some of them at once. One that fails does not keep the others from running.

    Args:
        monitoring: Path of the monitoring.yaml of each model, as the workers see them.
        every: Interval of the schedule, such as 1h; a longer time without a run is reported. Empty means no schedule.
        runner: What runs them: threads of this process, or dask or ray, which have to be installed.
        address: Of a Dask scheduler or a Ray cluster. Empty starts one on this machine for the run.
        at_once: How many run at the same time.
        send_for: Seconds to keep trying an OTLP endpoint that is down. 0 leaves the points to the next run at once.

    Returns:
        The final state: completed; or failed, with each model that failed and why.
    """
    with task_runner(runner, at_once=at_once, address=address) as started:
        runs = {
            each: started.submit(evaluate_model, {"monitoring": each, "every": every, "send_for": send_for})
            for each in dict.fromkeys(monitoring)
        }
        for run in runs.values():
            run.wait()
    states = {each: run.state for each, run in runs.items()}
    failed = [f"{model_of(each)}: {state.message}" for each, state in states.items() if not state.is_completed()]
    if failed:
        return Failed(message=f"{len(failed)} of {len(states)} models failed: {'; '.join(failed)}")
    return Completed(message=f"{len(states)} models evaluated: {', '.join(map(model_of, states))}")
