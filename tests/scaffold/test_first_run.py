"""A new user's first quarter of an hour: the commands of docs/getting-started.md, and what `check` says on the way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from click.testing import CliRunner

from otel_ml_metrics.console.program import program
from otel_ml_metrics.telemetry.receiver import Receiver

if TYPE_CHECKING:
    from tests.scaffold.conftest import Init

CHECKOUT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = CHECKOUT / "docs" / "getting-started.md"
LONGEST: Final = 300
"""Seconds that a user may have to wait."""


def commands(page: Path) -> set[str]:
    """Every line of the shell blocks of a page."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return {line for block in blocks for line in block.splitlines()}


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.timeout(2 * LONGEST)
@pytest.mark.xdist_group("first-run")
def test_the_commands_of_the_page_lead_to_a_finished_scheduled_run() -> None:
    """A real Prefect server, a real schedule, the commands as they stand: values are sent well within five minutes."""
    script = CHECKOUT / "benchmarks" / "init_to_run.py"
    environ = os.environ | {"PYTHONPATH": str(CHECKOUT)}

    done = subprocess.run(
        [sys.executable, str(script), f"--within={LONGEST}"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=2 * LONGEST,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"(\d+) s from init to a finished scheduled run that sent [1-9]\d* points", done.stdout)


def test_the_readme_of_a_project_says_the_same(init: Init) -> None:
    """What the tests of the page prove holds for the file that the user has."""
    needed = {command for command in commands(PAGE) if re.match(r"export|prefect server|python -m", command)}

    assert len(needed) == 4
    assert needed <= commands(init() / "README.md")


@pytest.mark.parametrize(
    ("options", "missing"), [((), {"prediction log", "labels"}), (("--example",), set())], ids=["bare", "example"]
)
def test_check_tells_only_what_is_really_missing(init: Init, options: tuple[str, ...], missing: set[str]) -> None:
    """A new project is right as it stands; predictions and labels are the user's to bring."""
    monitoring = init(*options) / "monitoring.yaml"

    with Receiver() as receiver:
        environ = {**receiver.environment, "OTEL_ML_METRICS_MONITORING": str(monitoring)}
        done = CliRunner().invoke(program, ["check", str(monitoring), "--format=json"], env=environ)

    found = {finding["subject"]: finding["verdict"] for finding in json.loads(done.stdout)["findings"]}
    nothing_runs = {"Prefect"}  # no server is started here
    assert {subject for subject, verdict in found.items() if verdict != "ok"} == missing | nothing_runs
    assert done.exit_code == 0
