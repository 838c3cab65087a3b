"""What every test runs under: no telemetry settings of the machine, a Prefect home of its own, one worker a server."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Final

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture(scope="session", autouse=True)
def _prefect_home() -> Iterator[None]:
    """Remove Prefect's folder when the worker is done with it."""
    yield
    shutil.rmtree(PREFECT_HOME, ignore_errors=True)
