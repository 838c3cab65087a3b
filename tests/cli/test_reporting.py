"""The command `report`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.flows.material import SETTLED

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.flows.material import Material


def test_it_writes_one_page_and_says_where(run: Run, material: Material) -> None:
    """The page has the values; the ledger has no commit more."""
    run("evaluate", material.monitoring, "--as-of", SETTLED.isoformat())
    path = material.folder / "page.html"

    done = run("report", material.monitoring, "-o", path)

    assert (done.exit_code, done.stdout.split(":")[0]) == (0, str(path))
    assert "accuracy over windows, with its coverage" in path.read_text()
    assert [file.name for file in material.folder.glob(".page*")] == []


def test_a_ledger_that_is_not_there_has_a_page_too(run: Run, material: Material) -> None:
    """It says what to run, and no ledger is made."""
    path = material.folder / "page.html"

    done = run("report", material.monitoring, "-o", path)

    assert done.exit_code == 0
    assert "otel-ml-metrics evaluate" in path.read_text()
    assert not material.ledger.exists()


def test_a_folder_that_is_not_there_is_told(run: Run, material: Material) -> None:
    """The message names the file and what to do."""
    done = run("report", material.monitoring, "-o", material.folder / "nowhere" / "page.html")

    assert done.exit_code == 2
    assert "Name another file with -o" in done.stderr


def test_an_instant_past_the_last_run_is_refused(run: Run, material: Material) -> None:
    """Nobody has read the labels up to there."""
    run("evaluate", material.monitoring, "--as-of", SETTLED.isoformat())

    done = run("report", material.monitoring, "-o", material.folder / "page.html", "--as-of", "2013-05-01")

    assert done.exit_code == 2
    assert "Evaluate up to there first" in done.stderr


def test_help_has_a_line_to_paste(run: Run) -> None:
    """An example stands in it."""
    assert "otel-ml-metrics report monitoring.yaml -o report.html" in run("report", "--help").stdout
