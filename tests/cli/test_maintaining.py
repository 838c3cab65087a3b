"""The command `maintain`: it keeps a log and a ledger in order, and says what it did."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.prediction_log.folder import ModelFolder
from otel_ml_metrics.prediction_log.reader import log_files, segments
from otel_ml_metrics.testing import TelemetryCapture
from tests.flows.material import START, Material, lay_down

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run

MODEL = "flight-delay"


@pytest.fixture
def material(tmp_path: Path) -> Material:
    """Two days with several segments each, evaluated up to long afterwards, and a retention of three days."""
    material = lay_down(tmp_path)
    material.monitoring.write_text(material.monitoring.read_text() + "retention: 3d\n")
    return material


def told(run: Run, *arguments: object) -> dict[str, Any]:
    """What the command says for programs."""
    done = run("maintain", *arguments, "--format", "json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def log_late_rows(material: Material) -> None:
    """Predictions of long after, so that the ledger moves on."""
    with TelemetryCapture() as telemetry:
        monitor = ModelMonitor(
            MODEL,
            version="1",
            variant="champion",
            slices=["carrier"],
            log=material.folder / "predictions",
            meter_provider=telemetry.meter_provider,
        )
        monitor.record(score=0.5, prediction=True, carrier="UA", predicted_at=START + timedelta(days=5))
        monitor.shutdown()


def test_it_merges_and_retires_and_says_so(material: Material, run: Run) -> None:
    """In one go, for people."""
    log_late_rows(material)
    run("evaluate", material.monitoring, "--as-of", "2013-04-05")

    done = run("maintain", material.monitoring)

    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "flight-delay-api/flight-delay: done"
    assert lines[1].startswith("  retired: everything before 2013-04-02; this time 1 dates with 2 segments, 2 files")
    assert lines[2].startswith("  merged:  2 files into 1, 96 rows")
    assert lines[3].startswith("    2013-04-02  2 files, 96 rows")
    assert lines[4].startswith("  deleted: 0 files")
    assert len(log_files(material.folder / "predictions", MODEL)) == 2


def test_json_has_every_merge(material: Material, run: Run) -> None:
    """With files, rows and bytes; the second time there is nothing."""
    run("evaluate", material.monitoring, "--as-of", "2013-04-04")

    first = told(run, material.monitoring, "--compact")
    second = told(run, material.monitoring, "--compact")

    assert [(each["date"], each["files"], each["rows"]) for each in first["merged"]] == [
        ("2013-04-01", 2, 96),
        ("2013-04-02", 2, 96),
    ]
    assert all(each["size"] > 0 and each["size_before"] > 0 for each in first["merged"])
    assert (first["retired"], first["dry_run"]) == (None, False)
    assert second["merged"] == []


def test_only_what_is_asked_for_is_done(material: Material, run: Run) -> None:
    """--retain leaves the other files as they are."""
    run("evaluate", material.monitoring, "--as-of", "2013-04-05")

    done = told(run, material.monitoring, "--retain")

    assert (done["retired"]["before"], done["retired"]["dates"], done["merged"]) == ("2013-04-02", 1, [])
    assert len(log_files(material.folder / "predictions", MODEL)) == 2


def test_a_dry_run_changes_nothing(material: Material, run: Run) -> None:
    """It says what would be done, and what that is is done then."""
    run("evaluate", material.monitoring, "--as-of", "2013-04-05")
    before = sorted(material.folder.rglob("*.parquet"))

    shown = run("maintain", material.monitoring, "--dry-run")
    planned = told(run, material.monitoring, "--dry-run")

    assert shown.stdout.startswith("flight-delay-api/flight-delay: nothing was changed, this would be")
    assert sorted(material.folder.rglob("*.parquet")) == before
    assert planned["retired"] == told(run, material.monitoring)["retired"]


def test_the_grace_can_be_none(material: Material, run: Run) -> None:
    """Where nobody reads, files go at once."""
    done = told(run, material.monitoring, "--grace", "0")

    assert done["deleted"]["files"] == 4
    assert len(list(material.folder.rglob("predictions/**/*.parquet"))) == 2
    assert len(segments(material.folder / "predictions", MODEL)) == 4


def test_values_are_those_of_before(material: Material, run: Run) -> None:
    """Nobody who reads the report can tell."""
    arguments = ("evaluate", material.monitoring, "--as-of", "2013-04-04", "--format", "json")
    expected = json.loads(run(*arguments).stdout)["values"]
    material.ledger.unlink()
    run("maintain", material.monitoring, "--grace", "0")

    assert json.loads(run(*arguments).stdout)["values"] == expected


def test_another_maintenance_is_exit_code_1(material: Material, run: Run) -> None:
    """A script runs it again."""
    with ModelFolder(material.folder / "predictions", MODEL).alone():
        done = run("maintain", material.monitoring)

    assert done.exit_code == 1
    assert "Another process" in done.stderr
    assert "Run it again." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--grace", "soon"), "no duration"), (("--compress",), "No such option")],
)
def test_a_wrong_call_is_exit_code_2(material: Material, run: Run, arguments: tuple[str, ...], message: str) -> None:
    """It says what would have worked."""
    done = run("maintain", material.monitoring, *arguments)

    assert done.exit_code == 2
    assert message in done.stderr


def test_a_short_grace_in_an_object_store_is_exit_code_2(material: Material, run: Run) -> None:
    """The message says why."""
    text = material.monitoring.read_text().replace(
        f"predictions: {material.folder}/predictions", "predictions: s3://b/p"
    )
    material.monitoring.write_text(text)

    done = run("maintain", material.monitoring, "--grace", "1m")

    assert done.exit_code == 2
    assert "600 s at least" in done.stderr


def test_a_retention_that_is_too_short_names_its_line(material: Material, run: Run) -> None:
    """Before anything is done."""
    text = material.monitoring.read_text().replace("retention: 3d", "retention: 1d")
    material.monitoring.write_text(text)

    done = run("maintain", material.monitoring)

    assert done.exit_code == 2
    assert "monitoring.yaml:14: retention: found 1d, expected at least 2d" in done.stderr
