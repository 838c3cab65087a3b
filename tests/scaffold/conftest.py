"""Starting projects, written as the command writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest
from click.testing import CliRunner

from otel_ml_metrics.console.program import program

if TYPE_CHECKING:
    from pathlib import Path


class Init(Protocol):
    """Writes a project with `otel-ml-metrics init`."""

    def __call__(self, *options: str) -> Path:
        """Write it with these options, and return its folder."""


@pytest.fixture
def init(tmp_path: Path) -> Init:
    """Run the command in this process, on a new folder."""

    def written(*options: str) -> Path:
        folder = tmp_path / "project"
        done = CliRunner().invoke(program, ["init", str(folder), *options])
        assert done.exit_code == 0, done.output
        return folder

    return written
