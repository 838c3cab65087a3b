"""One Collector and one Prometheus for all tests that talk to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.certificates import Authority
from tests.end_to_end.stack import Stack, Tools, running_stack

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


@pytest.fixture(scope="session")
def tools() -> Tools:
    """Where otelcol, prometheus and promtool are; built first if they are nowhere."""
    return Tools.provided()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Certificates of a Collector and of a client that it knows."""
    return Authority.founded(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def stack(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Collector and Prometheus, ready, with an empty database; tests stay apart by their `service.name`."""
    with running_stack(tools, tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the two programs said when a test that used them fails."""
    report = yield
    running = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(running, Stack):
        report.sections.append(("Collector and Prometheus", running.logs()))
    return report
