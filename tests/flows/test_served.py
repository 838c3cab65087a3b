"""A real Prefect server, the deployments of prefect.yaml, and a served one that is triggered and completes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, cast

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowRunFilter, FlowRunFilterState
from prefect.client.schemas.filters import FlowRunFilterStateType as StateTypes
from prefect.client.schemas.objects import StateType
from prefect.deployments import run_deployment

from tests.flows.material import SETTLED
from tests.flows.serving import DEADLINE, POLL, PREFECT, SERVED, deployment_of
from tests.patience import eventually
from tests.programs import CHECKOUT, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

    from tests.flows.material import Material

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


@pytest.fixture
def client(server: dict[str, str]) -> Iterator[SyncPrefectClient]:
    """Talk to that server."""
    assert server["PREFECT_API_URL"]
    with get_client(sync_client=True) as client:
        yield client


def scheduled(client: SyncPrefectClient, deployment: DeploymentResponse) -> list[FlowRun]:
    """Runs that the scheduler has planned for a deployment."""
    return client.read_flow_runs(
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[deployment.name])),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=StateTypes(any_=[StateType.SCHEDULED]))),
    )


@pytest.mark.timeout(300)
def test_the_deployments_of_the_repository_get_scheduled(
    server: dict[str, str], client: SyncPrefectClient, tmp_path: Path
) -> None:
    """`prefect deploy --all` takes them as they stand, and the scheduler plans the hourly runs.

    The second half is no matter of course: with some versions of its libraries the scheduler dies without a word.
    """
    environ = server | {"OTEL_ML_METRICS_MONITORING": str(tmp_path / "monitoring.yaml")}
    for arguments in (["work-pool", "create", "--type", "process", "models"], ["deploy", "--all"]):
        done = subprocess.run(
            [PREFECT, "--no-prompt", *arguments],
            env=environ,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    evaluating = deployment_of(client, "evaluate-labels/evaluate-labels")
    backfilling = deployment_of(client, "backfill/backfill")

    assert evaluating is not None
    assert backfilling is not None
    assert evaluating.entrypoint == "otel_ml_metrics.flows.evaluate_labels.evaluate_labels"
    assert evaluating.parameters == {"monitoring": str(tmp_path / "monitoring.yaml"), "every": "1h"}
    assert evaluating.global_concurrency_limit is not None
    assert evaluating.global_concurrency_limit.limit == 1
    runs = eventually(lambda: scheduled(client, evaluating), within=DEADLINE, poll=POLL)
    assert {run.expected_start_time.minute for run in runs if run.expected_start_time} == {7}
    assert scheduled(client, backfilling) == []


@pytest.mark.timeout(300)
def test_a_served_deployment_is_triggered_and_completes(
    server: dict[str, str], client: SyncPrefectClient, material: Material
) -> None:
    """From a trigger over the API to a committed ledger, with nothing between that is not Prefect's own."""
    command = [sys.executable, "-m", "otel_ml_metrics.flows.serve", str(material.monitoring)]
    with running(command, environ=server, log=material.folder / "serving.log"):
        eventually(lambda: deployment_of(client, SERVED), within=DEADLINE, poll=POLL)

        given = {"as_of": SETTLED.isoformat()}
        triggered = run_deployment(SERVED, parameters=given, timeout=DEADLINE, poll_interval=0.5)
        run = cast("FlowRun", triggered)  # a coroutine in async code only

        log = (material.folder / "serving.log").read_text(encoding="utf-8")
        assert run.state is not None
        assert run.state.is_completed(), f"{run.state}\n{log}"
        assert run.name == "flight-delay as of 2013-04-04T00:00:00Z"
        assert material.ledger.exists()


@pytest.mark.timeout(300)
def test_a_run_is_a_span_that_leads_to_it(server: dict[str, str], material: Material, tmp_path: Path) -> None:
    """One of ours, below Prefect's own span of the run: from a trace to the run in the UI, and back."""
    written = tmp_path / "spans.json"

    subprocess.run(
        [sys.executable, "-m", "tests.flows.traced", str(material.monitoring), str(written)],
        env=server,
        cwd=CHECKOUT,
        timeout=DEADLINE,
        check=True,
    )

    told = json.loads(written.read_text(encoding="utf-8"))
    (ours,) = (span for span in told["spans"] if span["name"] == "evaluate-labels")
    (around,) = (span for span in told["spans"] if span["context"]["span_id"] == ours["parent_id"])
    assert ours["attributes"] == {
        "prefect.flow_run.id": told["run"],
        "prefect.flow_run.name": "flight-delay as of 2013-04-04T00:00:00Z",
        "ml.flow.outcome": "completed",
    }
    assert around["attributes"]["prefect.run.id"] == told["run"]
    assert {span["context"]["trace_id"] for span in told["spans"]} == {ours["context"]["trace_id"]}
