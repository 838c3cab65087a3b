"""Runs that Prefect's API knows: scheduled for an instant, repeated, and what is known of one that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry, Scheduled

from otel_ml_metrics.flows.evaluate_labels import evaluate_labels
from tests.flows.material import SETTLED

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from prefect import Flow
    from prefect.client.schemas.objects import Artifact, State

    from otel_ml_metrics.evaluation_report import Report
    from tests.flows.material import Material


def evaluate(material: Material, **parameters: Any) -> State[Report]:
    """Run `evaluate-labels` on the material, settled unless told otherwise, and return its final state."""
    given = {"as_of": SETTLED, "send_for": 0} | parameters
    return cast("State[Report]", evaluate_labels(str(material.monitoring), **given, return_state=True))


def run_as_due(flow: Flow[..., Any], due: datetime, **parameters: Any) -> State[Any]:
    """Run a flow now that was scheduled for an earlier instant, as a worker does; its final state."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(flow, parameters=parameters, state=Scheduled(scheduled_time=due))
    return cast("State[Any]", run_flow(flow, flow_run=run, return_type="state"))


def repeat(flow: Flow[..., Any], state: State[Any]) -> State[Any]:
    """Run a run that has failed again, as `Retry` in the UI does; its final state."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run_id(state), AwaitingRetry(), force=True)
        run = client.read_flow_run(run_id(state))
    return cast("State[Any]", run_flow(flow, flow_run=run, return_type="state"))


def run_id(state: State[Any]) -> UUID:
    """Which run ended in this state."""
    found = state.state_details.flow_run_id
    assert found is not None
    return found


def name_of(state: State[Any]) -> str:
    """Name of the run, as the UI shows it."""
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run_id(state)).name


def artifacts_of(state: State[Any]) -> list[Artifact]:
    """What the run left for people to look at; Prefect's own notes about results have no key."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id(state)]))
        )
    return [artifact for artifact in found if artifact.key is not None]


def artifact_of(state: State[Any], kind: str) -> Artifact:
    """The only artifact of a kind that the run left, such as `table`."""
    (found,) = (artifact for artifact in artifacts_of(state) if artifact.type == kind)
    return found
