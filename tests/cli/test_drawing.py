"""The command `dashboards`: files for Grafana and Prometheus, from monitoring.yaml or for everything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.flows.material import Material


def test_every_file_is_written_and_named(run: Run, tmp_path: Path) -> None:
    """A line per file, so that it can be found."""
    done = run("dashboards", "-o", tmp_path / "made")

    assert done.exit_code == 0, done.output
    written = {str(path) for path in (tmp_path / "made").rglob("*") if path.is_file()}
    assert set(done.stdout.split()) == written
    assert {path.name for path in (tmp_path / "made").rglob("*.json")} >= {"live.json", "quality.json"}


def test_of_an_evaluation_they_carry_its_name(run: Run, material: Material, tmp_path: Path) -> None:
    """So that those of several evaluations stand side by side in Grafana."""
    done = run("dashboards", material.monitoring, "-o", tmp_path)

    assert done.exit_code == 0, done.output
    board = json.loads(
        (tmp_path / "dashboards" / "flight-delay-api-flight-delay" / "live.json").read_text(encoding="utf-8")
    )
    assert board["title"].startswith("flight-delay-api/flight-delay: ")


def test_other_files_of_the_folder_stay(run: Run, tmp_path: Path) -> None:
    """A folder of dashboards is shared with those that people made."""
    mine = tmp_path / "dashboards" / "mine.json"
    mine.parent.mkdir()
    mine.write_text("{}", encoding="utf-8")

    run("dashboards", "-o", tmp_path)

    assert mine.read_text(encoding="utf-8") == "{}"


def test_a_broken_monitoring_yaml_is_explained(run: Run, material: Material, tmp_path: Path) -> None:
    """As everywhere: what was found, what was expected, what to do."""
    text = material.monitoring.read_text(encoding="utf-8").replace("accuracy", "acuracy")
    material.monitoring.write_text(text, encoding="utf-8")

    done = run("dashboards", material.monitoring, "-o", tmp_path)

    assert done.exit_code == 2
    assert "accuracy" in done.stderr
    assert not (tmp_path / "dashboards").exists()
