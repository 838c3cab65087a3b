"""Prefect's API for the tests of the flows: on its own, or with all that `prefect server` serves."""

from __future__ import annotations

import os
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from otel_ml_metrics.telemetry.receiver import Receiver
from tests.flows.material import Material, lay_down
from tests.patience import eventually
from tests.programs import CHECKOUT, running

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFECT: Final = str(Path(sys.executable).with_name("prefect"))
DEADLINE: Final = 90.0
POLL: Final = 0.2


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    """Serve Prefect's API on a database of its own; without heartbeats, whose thread takes a second of every run."""
    with (
        prefect_test_harness(server_startup_timeout=90),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture
def material(tmp_path: Path) -> Material:
    """Two days of predictions and labels, and the monitoring.yaml that evaluates them."""
    return lay_down(tmp_path)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver to which the environment points."""
    with Receiver() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        yield receiver


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start `prefect server` on a free port with a home of its own; gives the environment that leads there."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environ = inherited | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, environ=environ, log=home / "server.log") as process:

        def healthy() -> bool | None:
            assert process.poll() is None, (home / "server.log").read_text(encoding="utf-8")
            try:
                with urllib.request.urlopen(f"{api}/health", timeout=5) as answer:  # noqa: S310 - http, our own
                    return bool(answer.status == 200)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return None

        eventually(healthy, within=DEADLINE, poll=POLL)
        yield environ


@pytest.fixture(scope="module")
def server(prefect_server: dict[str, str]) -> Iterator[dict[str, str]]:
    """Lead the tests of a module to that server, instead of to the API of the harness; gives its environment."""
    with temporary_settings({PREFECT_API_URL: prefect_server["PREFECT_API_URL"]}):
        yield prefect_server
