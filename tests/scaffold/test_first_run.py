"""A new user's first minutes: what the README says, and what `check` says. tests/end_to_end runs all of it."""

from __future__ import annotations

import json
import re
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


def commands(page: Path) -> set[str]:
    """Every line of the shell blocks of a page."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return {line for block in blocks for line in block.splitlines()}


def test_the_readme_of_a_project_says_the_same(init: Init) -> None:
    """What the tests of the page prove holds for the file that the user has."""
    needed = {command for command in commands(PAGE) if re.match(r"export|prefect server|python -m", command)}

    assert len(needed) == 5
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


def test_the_dashboards_of_a_project_are_written_as_its_readme_says(
    init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into the folders that the compose file mounts, beside those of every model."""
    folder = init()
    name = "my-model-my-model"
    monkeypatch.chdir(folder)
    (command,) = [line for line in commands(folder / "README.md") if " dashboards " in line]

    done = CliRunner().invoke(program, command.split()[1:])

    assert done.exit_code == 0, done.output
    assert list((folder / "deploy" / "dashboards" / name).glob("*.json"))
    assert (folder / "deploy" / "rules" / f"{name}.yml").is_file()
