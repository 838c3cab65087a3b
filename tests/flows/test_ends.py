"""Runs that do not end by themselves: killed, cancelled, timed out, gone with the machine. The next one catches up."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL
from prefect.states import Cancelling

from otel_ml_metrics.checks.asking import AUTH, ask
from otel_ml_metrics.checks.prefect_api import look_at_prefect
from otel_ml_metrics.flows.evaluate_labels import evaluate_labels
from tests.flows.material import SETTLED, lay_down
from tests.flows.serving import POLL, SERVED, deployment_of, led_to, running_prefect, server_environment
from tests.flows.stage import AFTER_COMMIT, BEFORE_COMMIT, PATIENCE, Stage
from tests.patience import eventually
from tests.programs import running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from prefect.client.schemas.objects import FlowRun, State

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("ends")]

LOGIN: Final = "admin:s3cr3t"
NEVER: Final = "0 0 1 1 *"
SCHEDULED: Final = ("evaluate-labels", "watch-coverage", "keep-alive", "maintain-log")
LEASE: Final = 60
"""Seconds, the shortest that Prefect grants."""


class Machine:
    """One machine with everything on it: a Prefect server with a password, and the flows of an evaluation, served.

    Args:
        stage: What is evaluated there.
        environ: Of the server and of all that talk to it.
    """

    def __init__(self, stage: Stage, environ: Mapping[str, str]) -> None:
        self.stage = stage
        self.environ = environ
        self._programs = ExitStack()
        self._groups: list[int] = []

    def boot(self) -> None:
        """Start the server, and serve the flows; none of them runs by a schedule."""
        self._groups = [self._programs.enter_context(running_prefect(self.environ))]
        serve = [sys.executable, "-m", "otel_ml_metrics.flows.serve", str(self.stage.material.monitoring)]
        command = [*serve, *(f"--{flow}={NEVER}" for flow in SCHEDULED)]
        log = self.stage.material.folder / "serving.log"
        environ = {**self.environ, **self.stage.environ}
        self._groups.append(self._programs.enter_context(running(command, environ=environ, log=log)).pid)
        eventually(self.taken, within=PATIENCE, poll=POLL)

    def cut_power(self) -> None:
        """End everything at once, so that nobody can say goodbye."""
        for group in self._groups:
            os.killpg(group, signal.SIGKILL)
        self.shut_down()

    def shut_down(self) -> None:
        """End what still runs."""
        self._programs.close()

    def taken(self) -> str | None:
        """How many of its places runs of the deployment hold, as text; None where there is no deployment yet."""
        with get_client(sync_client=True) as client:
            deployment = deployment_of(client, SERVED)
        limit = None if deployment is None else deployment.global_concurrency_limit
        return None if limit is None else f"{limit.active_slots} of {limit.limit}"

    def start(self, monitoring: Path) -> FlowRun:
        """Have the deployment run, and do not wait for it."""
        given = {"monitoring": str(monitoring), "as_of": SETTLED.isoformat(), "send_for": 0}
        return cast("FlowRun", run_deployment(SERVED, parameters=given, timeout=0))  # a coroutine in async code only

    def start_held(self, monitoring: Path, place: str) -> FlowRun:
        """Have it run up to a place, and wait until it is there."""
        self.stage.hold(place)
        run = self.start(monitoring)
        self.stage.await_held()
        return run


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine that is up; it keeps leases where they outlast it, and looks for forgotten ones often."""
    stage = Stage(lay_down(tmp_path_factory.mktemp("stage")))
    environ = server_environment(
        tmp_path_factory.mktemp("prefect"),
        PREFECT_SERVER_API_AUTH_STRING=LOGIN,
        PREFECT_API_AUTH_STRING=LOGIN,
        PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE="prefect.server.concurrency.lease_storage.filesystem",
        PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS="1",
        PREFECT_RUNNER_POLL_FREQUENCY="1",
    )
    machine = Machine(stage, environ)
    of_client = {PREFECT_API_URL: environ["PREFECT_API_URL"], PREFECT_API_AUTH_STRING: LOGIN}
    with stage.receiver, pytest.MonkeyPatch.context() as settings:
        for name, value in stage.environ.items():
            settings.setenv(name, value)
        try:
            with led_to(of_client):  # left before the server is, so that waiting events still find it
                machine.boot()
                yield machine
        finally:
            stage.let_go()
            machine.shut_down()


@pytest.fixture
def stage(machine: Machine) -> Iterator[Stage]:
    """What is evaluated; nobody is held up any more after a test."""
    yield machine.stage
    machine.stage.let_go()


def known(run: FlowRun) -> FlowRun:
    """A run as Prefect knows it now."""
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run.id)


def ended(run: FlowRun) -> State[Any]:
    """Wait for the final state of a run."""

    def final() -> State[Any] | None:
        state = known(run).state
        return state if state is not None and state.is_final() else None

    return eventually(final, within=PATIENCE, poll=POLL)


@pytest.mark.parametrize("place", [BEFORE_COMMIT, AFTER_COMMIT])
def test_a_killed_run_makes_way_for_the_next_one_which_catches_up(machine: Machine, stage: Stage, place: str) -> None:
    """Killed with the labels in hand, or with points that are committed and not sent: nobody can tell afterwards."""
    expected = stage.undisturbed()
    monitoring = stage.anew()
    run = machine.start_held(monitoring, place)
    stage.kill()
    assert ended(run).is_crashed()
    stage.let_go()

    state = ended(machine.start(monitoring))

    assert state.is_completed(), state
    assert stage.outcome(monitoring) == expected


def test_a_cancelled_run_makes_way_for_the_next_one_which_catches_up(machine: Machine, stage: Stage) -> None:
    """Its labels never come, and still it ends; one that is started meanwhile is not needed, and is cancelled."""
    expected = stage.undisturbed()
    monitoring = stage.anew()
    run = machine.start_held(monitoring, BEFORE_COMMIT)
    doubled = ended(machine.start(monitoring))
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelling())
    cancelled = ended(run)
    stage.let_go()

    state = ended(machine.start(monitoring))

    assert (doubled.is_cancelled(), doubled.message) == (True, "Deployment concurrency limit reached.")
    assert cancelled.is_cancelled(), cancelled
    assert state.is_completed(), state
    assert stage.outcome(monitoring) == expected


@pytest.mark.usefixtures("machine")
def test_after_a_run_that_took_too_long_the_next_one_catches_up(stage: Stage) -> None:
    """A flow of one's own may bound it by Prefect's timeout."""
    expected = stage.undisturbed()
    monitoring = stage.anew()
    bounded: Any = evaluate_labels.with_options(timeout_seconds=3)
    stage.hold(BEFORE_COMMIT)
    late = bounded(str(monitoring), SETTLED, send_for=0, return_state=True)
    stage.let_go()

    state = bounded.with_options(timeout_seconds=PATIENCE)(str(monitoring), SETTLED, send_for=0, return_state=True)

    assert (late.is_failed(), late.name) == (True, "TimedOut")
    assert state.is_completed(), state
    assert stage.outcome(monitoring) == expected


def test_a_power_cut_blocks_nobody_for_ever(machine: Machine, stage: Stage) -> None:
    """The run is gone with its lease, which nobody renews: when it expires, the place is free again."""
    expected = stage.undisturbed()
    monitoring = stage.anew()
    run = known(machine.start_held(monitoring, BEFORE_COMMIT))
    assert run.state is not None
    lease = run.state.state_details.deployment_concurrency_lease_id
    assert lease is not None
    with get_client(sync_client=True) as client:
        client.renew_concurrency_lease(lease, LEASE)  # a run does so for five minutes
    assert machine.taken() == "1 of 1"
    machine.cut_power()
    with suppress(ProcessLookupError):  # it may have been of the group of the one that started it
        stage.kill()
    stage.let_go()

    machine.boot()

    eventually(lambda: machine.taken() == "0 of 1", within=PATIENCE, poll=POLL)
    state = ended(machine.start(monitoring))
    assert state.is_completed(), state
    assert stage.outcome(monitoring) == expected


@pytest.mark.parametrize(
    ("login", "verdict", "told"),
    [
        ({}, "fail", "Set PREFECT_API_AUTH_STRING=user:password."),
        ({AUTH: "admin:wrong"}, "fail", "Mend PREFECT_API_AUTH_STRING."),
        ({AUTH: LOGIN}, "ok", "answers with version"),
    ],
)
def test_who_does_not_know_the_password_is_refused_and_told_what_to_set(
    machine: Machine, *, login: dict[str, str], verdict: str, told: str
) -> None:
    """Prefect answers 401 to everything but the question of its health, and so `check` asks for more than that."""
    environ = {"PREFECT_API_URL": machine.environ["PREFECT_API_URL"], **login}

    refused = ask("deployments/filter", environ, content={}).status
    (found,) = look_at_prefect(environ)

    assert (refused == 401) is (verdict == "fail")
    assert found.verdict == verdict
    assert told in f"{found.told} {found.fix}"
