"""Fixtures of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest
from click.testing import CliRunner, Result

from otel_ml_metrics.console.program import program
from otel_ml_metrics.telemetry.receiver import Receiver
from tests.flows.material import Material, lay_down

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Run(Protocol):
    """Runs the program on arguments."""

    def __call__(self, *arguments: object) -> Result:
        """Run it, and keep what it wrote and its exit code."""


@pytest.fixture
def material(tmp_path: Path) -> Material:
    """Two days of predictions and labels, and the monitoring.yaml that evaluates them."""
    return lay_down(tmp_path)


@pytest.fixture
def run() -> Run:
    """Run the program in this process."""

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(program, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver to which the environment points."""
    with Receiver() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        yield receiver
