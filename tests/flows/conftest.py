"""Prefect's API for the tests of the flows: on its own, or with all that `prefect server` serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from otel_ml_metrics.telemetry.receiver import Receiver
from tests.flows.material import Material, lay_down
from tests.flows.serving import led_to, running_prefect, server_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
    environ = server_environment(tmp_path_factory.mktemp("prefect"))
    with running_prefect(environ):
        yield environ


@pytest.fixture(scope="module")
def server(prefect_server: dict[str, str]) -> Iterator[dict[str, str]]:
    """Lead the tests of a module to that server, instead of to the API of the harness; gives its environment."""
    with led_to({PREFECT_API_URL: prefect_server["PREFECT_API_URL"]}):
        yield prefect_server
