"""What every test runs under: no telemetry settings of the machine, a Prefect home of its own, one worker a server."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Final

import hypothesis
import pytest

from tests.postgresql import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Tests with such a marker share what it starts, so one worker runs them all.
SHARED_SERVERS: Final = ("prefect", "end_to_end", "registry")

# Prefect reads its settings when it is imported, so they stand here and not in a fixture.
PREFECT_HOME: Final = tempfile.mkdtemp(prefix="otel-ml-metrics-prefect-")
os.environ.update(
    DO_NOT_TRACK="1",
    PREFECT_HOME=PREFECT_HOME,
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="180",  # 20 s by default, which two busy cores do not always keep
    PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS="false",
)
for name in [name for name in os.environ if name.startswith("OTEL_")]:
    del os.environ[name]

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("smoke", deadline=None, derandomize=True, max_examples=10)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "local"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of one shared server to one worker: it starts once, not once per worker."""
    for item in items:
        for marker in SHARED_SERVERS:
            if item.get_closest_marker(marker) and not item.get_closest_marker("xdist_group"):
                item.add_marker(pytest.mark.xdist_group(marker))


def pytest_unconfigure() -> None:
    """Remove Prefect's folder: every worker has one, and so has the process that starts them."""
    shutil.rmtree(PREFECT_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A PostgreSQL server, one for each worker that has a test for it."""
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def postgresql_database(postgresql_server: Server) -> Iterator[str]:
    """The name of an empty database."""
    name = postgresql_server.new_database()
    yield name
    postgresql_server.drop(name)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a ledger that nobody has made yet, in each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    server: Server = request.getfixturevalue("postgresql_server")
    return server.url(request.getfixturevalue("postgresql_database"))
