"""What Prefect's API knows about a run that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import Artifact, State


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
