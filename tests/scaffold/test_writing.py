"""Nothing of the user's is written over, and what stands in the way is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from otel_ml_metrics.console.program import program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scaffold.conftest import Init


def test_a_file_in_the_way_stops_everything(tmp_path: Path) -> None:
    """Half a project beside somebody's file would be neither."""
    (tmp_path / "prefect.yaml").write_text("mine")

    done = CliRunner().invoke(program, ["init", str(tmp_path)])

    assert done.exit_code == 2
    assert "there is already prefect.yaml" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["prefect.yaml"]


def test_force_replaces_files_of_the_project_only(tmp_path: Path) -> None:
    """What else lies in the folder stays."""
    (tmp_path / "prefect.yaml").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")

    done = CliRunner().invoke(program, ["init", str(tmp_path), "--force"])

    assert done.exit_code == 0, done.output
    assert (tmp_path / "prefect.yaml").read_text() != "old"
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("place", ["project", "project/flows"])
def test_a_file_where_a_folder_goes_is_named(tmp_path: Path, place: str) -> None:
    """Not even --force deletes it."""
    way = tmp_path / place
    way.parent.mkdir(exist_ok=True)
    way.write_text("mine")

    done = CliRunner().invoke(program, ["init", str(tmp_path / "project"), "--force"])

    assert done.exit_code == 2
    assert "there is already" in done.stderr
    assert way.read_text() == "mine"


def test_made_up_predictions_never_join_real_ones(init: Init) -> None:
    """An example in a folder with data would spoil what is evaluated from it."""
    folder = init("--example")

    done = CliRunner().invoke(program, ["init", str(folder), "--example", "--force"])

    assert done.exit_code == 2
    assert "data/" in done.stderr


@pytest.mark.parametrize("model", ["", 'a"b', "a: b", "-x", "ü", "a" * 101])
def test_a_name_that_files_cannot_carry_is_refused(tmp_path: Path, model: str) -> None:
    """It would stand in YAML, Python and shell, so it is kept plain."""
    done = CliRunner().invoke(program, ["init", str(tmp_path / "project"), f"--model={model}"])

    assert done.exit_code == 2
    assert "--model" in done.stderr
    assert not (tmp_path / "project").exists()
