"""The commands `evaluate` and `backfill`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from otel_ml_metrics.telemetry.receiver import Receiver, Reply

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.flows.material import Material


def test_json_on_standard_output_is_nothing_but_the_report(material: Material, run: Run, receiver: Receiver) -> None:
    """A script reads the report; everything else goes to standard error."""
    done = run("evaluate", material.monitoring, "--as-of", "2013-04-04", "--format", "json")

    report = json.loads(done.stdout)
    assert done.exit_code == 0, done.stderr
    assert report["as_of"] == "2013-04-04T00:00:00Z"
    assert {value["measure"] for value in report["values"]} == {"accuracy", "log_loss"}
    assert {value["window_start"] for value in report["values"]} == {"2013-04-01T00:00:00Z", "2013-04-02T00:00:00Z"}
    assert report["labels"]["matched"] == 192
    assert report["delivery"]["kept"] == 0
    assert receiver.points


def test_the_table_has_a_line_per_window_and_age(material: Material, run: Run) -> None:
    """A person sees windows by measures, the variants side by side, and how complete each is."""
    done = run("evaluate", material.monitoring, "--as-of", "2013-04-04")

    lines = [line.split() for line in done.stdout.splitlines()]
    assert "flight-delay-api/flight-delay as of 2013-04-04 00:00Z: champion | challenger" in done.stdout
    assert [line[:2] for line in lines if line and line[0].startswith("2013-")] == [
        ["2013-04-01", "6h"],
        ["2013-04-01", "1d"],
        ["2013-04-02", "6h"],
        ["2013-04-02", "1d"],
    ]
    assert "100.0% | 100.0%" in done.stdout


def test_a_missing_endpoint_is_said_once_and_is_no_failure(material: Material, run: Run) -> None:
    """Trying it out needs no Collector; the points wait."""
    done = run("evaluate", material.monitoring, "--as-of", "2013-04-04")

    assert done.exit_code == 0
    assert done.stderr.count("OTEL_EXPORTER_OTLP_ENDPOINT") == 1


def test_an_endpoint_that_is_down_is_exit_code_3(material: Material, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values are in the ledger, and a script can tell that from a failed evaluation."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")

    done = run("evaluate", material.monitoring, "--as-of", "2013-04-04")

    assert done.exit_code == 3
    assert "wait in the ledger for http://127.0.0.1:9" in done.stderr
    assert "2013-04-01" in done.stdout


def test_refused_points_are_told_and_do_not_fail_the_run(
    material: Material, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is done again would make the receiver take them."""
    with Receiver(reply=lambda _points: Reply(status=400, message="too old")) as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)

        done = run("evaluate", material.monitoring, "--as-of", "2013-04-04")

    assert done.exit_code == 0
    assert "refused for good" in done.stderr
    assert "too old" in done.stderr


@pytest.mark.parametrize("endpoint", ["collector:4318", "ftp://collector", "http://:4318"])
def test_a_malformed_endpoint_is_refused_before_anything_is_done(
    material: Material, run: Run, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """It says what was found and how to write it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)

    done = run("evaluate", material.monitoring, "--as-of", "2013-04-04")

    assert done.exit_code == 2
    assert "http://collector:4318" in done.stderr
    assert not material.ledger.exists()


def test_a_dry_run_leaves_everything_to_do(material: Material, run: Run, receiver: Receiver) -> None:
    """It shows what would become final, and the next run makes it so."""
    arguments = ("evaluate", material.monitoring, "--as-of", "2013-04-04", "--format", "json")

    shown = json.loads(run(*arguments, "--dry-run").stdout)
    sent_by_the_dry_run = receiver.points
    done = json.loads(run(*arguments).stdout)

    assert sent_by_the_dry_run == ()
    assert shown["values"] == done["values"]
    assert shown["values"]


def test_an_instant_behind_the_ledger_is_a_query(material: Material, run: Run) -> None:
    """What was known then can always be asked again, and asking changes nothing."""
    then = json.loads(run("evaluate", material.monitoring, "--as-of", "2013-04-03", "--format", "json").stdout)
    run("evaluate", material.monitoring, "--as-of", "2013-04-04")

    asked = run("evaluate", material.monitoring, "--as-of", "2013-04-03", "--format", "json")

    assert asked.exit_code == 0
    assert "Nothing was written" in asked.stderr
    assert json.loads(asked.stdout)["values"] == then["values"]


def test_a_typo_in_the_settings_names_its_line(material: Material, run: Run) -> None:
    """The message says file, line and place, and offers what would have worked."""
    known = material.monitoring.read_text(encoding="utf-8")
    material.monitoring.write_text(known.replace("attribution_window", "atribution_window"), encoding="utf-8")

    done = run("evaluate", material.monitoring)

    assert done.exit_code == 2
    assert "monitoring.yaml:9" in done.stderr
    assert "attribution_window" in done.stderr


def test_a_backfill_of_what_is_there_changes_nothing(material: Material, run: Run) -> None:
    """Repeating it is always safe."""
    run("evaluate", material.monitoring, "--as-of", "2013-04-04")

    done = run("backfill", material.monitoring, "--since", "2013-04-01", "--until", "2013-04-03", "--format", "json")

    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["values"] == []


def test_a_backfill_backwards_is_refused(material: Material, run: Run) -> None:
    """Swapped ends are a mistake and no empty range."""
    done = run("backfill", material.monitoring, "--since", "2013-04-03", "--until", "2013-04-01")

    assert done.exit_code == 2
    assert "is not before" in done.stderr


def test_breaches_stand_below_the_table_and_in_the_json(material: Material, run: Run) -> None:
    """A person reads a line per breach; a script reads all of them under `breaches`."""
    with material.monitoring.open("a", encoding="utf-8") as settings:
        settings.write(
            "alerts: [{name: too_low, measure: accuracy, below: 1, minimum_support: 1, severity: critical}]\n"
        )

    table = run("evaluate", material.monitoring, "--as-of", "2013-04-04", "--dry-run")
    report = json.loads(run("evaluate", material.monitoring, "--as-of", "2013-04-04", "--format", "json").stdout)

    assert "4 beyond a threshold:" in table.stdout
    assert "critical  too_low  accuracy below 1: 0." in table.stdout
    assert {(each["alert"], each["variant"]) for each in report["breaches"]} == {
        ("too_low", "champion"),
        ("too_low", "challenger"),
    }
