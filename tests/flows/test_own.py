"""The flow of a starting project that users take as an example for their own."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from otel_ml_metrics.console.program import program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.prefect


@pytest.mark.usefixtures("prefect_api")
def test_the_example_of_an_own_flow_evaluates_its_project(tmp_path: Path) -> None:
    """It calls a flow of the package, and uses what became final."""
    folder = tmp_path / "project"
    written = CliRunner().invoke(program, ["init", str(folder), "--example"])
    assert written.exit_code == 0, written.output

    own = runpy.run_path(str(folder / "flows" / "own.py"))["own"]

    assert own() > 0
    assert own() == 0
