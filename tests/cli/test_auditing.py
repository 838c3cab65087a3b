"""The commands `ledger check`, `ledger export` and `ledger repair`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from otel_ml_metrics.console.program import program
from otel_ml_metrics.ledger import schema
from otel_ml_metrics.telemetry.receiver import Receiver, Reply
from tests.ledger import schema_1
from tests.ledger.material import opened

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.flows.material import Material


@pytest.fixture
def evaluated(material: Material, run: Run) -> Material:
    """Two days of predictions and labels, evaluated once."""
    assert run("evaluate", material.monitoring, "--as-of", "2013-04-04").exit_code == 0
    return material


@pytest.fixture
def wrong(evaluated: Material) -> Material:
    """The same, with every sum of the first day one too high."""
    first = sa.select(sa.func.min(schema.state_block.c.tile_us)).scalar_subquery()
    with opened(f"sqlite:///{evaluated.ledger}") as ledger, ledger.database.writing() as connection:
        table = schema.state_block
        block = connection.scalar(sa.select(table.c.sums).where(table.c.tile_us == first))
        assert block is not None
        sums = schema.decode(block, "block")
        more = pa.Table.from_pylist([row | {"value": row["value"] + 1} for row in sums.to_pylist()], sums.schema)
        connection.execute(sa.update(table).where(table.c.tile_us == first).values(sums=schema.encode(more)))
    return evaluated


def test_a_sound_ledger_is_exit_code_0(evaluated: Material, run: Run) -> None:
    """A line says what was computed again, and one what is in the outbox."""
    done = run("ledger", "check", evaluated.monitoring)

    assert done.exit_code == 0, done.output
    assert "2 windows were computed again from log and applied labels: every sum is equal." in done.stdout
    assert "waiting" in done.stdout


def test_sums_that_differ_are_exit_code_1(wrong: Material, run: Run) -> None:
    """A person sees some of them with both values, a script sees them all."""
    shown = run("ledger", "check", wrong.monitoring)
    plain = run("ledger", "check", wrong.monitoring, "--format", "json")

    found = json.loads(plain.stdout)
    assert (shown.exit_code, plain.exit_code) == (1, 1)
    assert f"{found['differing_sums']} sums of 1 windows differ" in shown.stdout
    assert "carrier=UA" in shown.stdout
    assert (found["verdict"], found["differing_windows"]) == ("differs", ["2013-04-01T00:00:00Z"])
    assert {each["stored"] - each["computed"] for each in found["differences"]} == {1}


def test_exact_measures_are_named_as_unchecked(material: Material, run: Run) -> None:
    """Their values are no function of the sums that were compared, and nobody is to think they were."""
    settings = material.monitoring.read_text(encoding="utf-8")
    exact = "{name: surprise, unit: '{nat}', exact: log_loss, description: Mean surprise}"
    declared = settings.replace("[accuracy, log_loss]", f"[accuracy, {exact}]")
    material.monitoring.write_text(declared, encoding="utf-8")
    assert run("evaluate", material.monitoring, "--as-of", "2013-04-04").exit_code == 0

    shown = run("ledger", "check", material.monitoring)
    plain = run("ledger", "check", material.monitoring, "--format", "json")

    assert "Not checked: the values of exact measures (surprise)." in shown.stdout
    assert json.loads(plain.stdout)["unchecked"] == ["surprise"]


def test_a_segment_that_is_gone_is_exit_code_2(evaluated: Material, run: Run) -> None:
    """What cannot be computed again is told with its reason."""
    next((evaluated.folder / "predictions").glob("*/dt=2013-04-01/*.parquet")).unlink()

    done = run("ledger", "check", evaluated.monitoring)

    assert done.exit_code == 2
    assert "Not computed, 2013-04-01 00:00Z to 2013-04-02 00:00Z: The segment" in done.stdout
    assert run("ledger", "check", evaluated.monitoring, "--since", "2013-04-02").exit_code == 0


@pytest.mark.parametrize("command", [("check",), ("export", "-o", "out"), ("repair", "--yes")])
def test_a_ledger_that_is_not_there_is_not_made(material: Material, run: Run, command: tuple[str, ...]) -> None:
    """The message says which command makes it."""
    done = run("ledger", command[0], material.monitoring, *command[1:])

    assert done.exit_code == 2
    assert "The first `otel-ml-metrics evaluate` makes it" in done.stderr
    assert not material.ledger.exists()


def test_the_check_of_everything_takes_no_old_ledger_along(material: Material, run: Run) -> None:
    """It changes nothing, so it says what the next run is going to do."""
    schema_1.make(f"sqlite:///{material.ledger}")

    done = run("check", material.monitoring)
    refused = run("ledger", "check", material.monitoring)

    assert "has schema 1; the next run takes it to schema 3" in done.stdout
    assert (refused.exit_code, "has schema 1" in refused.stderr) == (2, True)


def test_repair_asks_and_puts_right(wrong: Material, run: Run) -> None:
    """An answer of no leaves everything as it is."""
    arguments = ["ledger", "repair", str(wrong.monitoring)]

    refused = CliRunner().invoke(program, arguments, input="n\n")
    still = run("ledger", "check", wrong.monitoring)
    done = CliRunner().invoke(program, arguments, input="y\n")
    after = run("ledger", "check", wrong.monitoring)

    assert (refused.exit_code, still.exit_code) == (1, 1)
    assert "Replace them by what log and labels add up to? [y/N]" in done.stderr
    assert (done.exit_code, after.exit_code) == (0, 0), done.output
    assert "Replaced the sums of 1 windows" in done.stdout


def test_repair_with_nothing_to_do_asks_nothing(evaluated: Material, run: Run) -> None:
    """And says so."""
    done = run("ledger", "repair", evaluated.monitoring)

    assert done.exit_code == 0, done.output
    assert "Replaced the sums of 0 windows" in done.stdout


def test_a_dry_run_says_what_would_be_replaced(wrong: Material, run: Run) -> None:
    """And changes nothing."""
    done = run("ledger", "repair", wrong.monitoring, "--dry-run", "--format", "json")

    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (found["dry_run"], found["check"]["verdict"], found["replaced_windows"]) == (True, "differs", [])
    assert run("ledger", "check", wrong.monitoring).exit_code == 1


def test_refused_points_are_sent_again_on_request(
    material: Material, run: Run, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check says what the endpoint said, and how to send them again."""
    with (
        monkeypatch.context() as elsewhere,
        Receiver(reply=lambda _points: Reply(status=400, message="too old")) as strict,
    ):
        for name, value in strict.environment.items():
            elsewhere.setenv(name, value)
        run("evaluate", material.monitoring, "--as-of", "2013-04-04")

    checked = run("ledger", "check", material.monitoring)
    done = run("ledger", "repair", material.monitoring, "--resend", "--format", "json")

    assert checked.exit_code == 0
    assert "too old" in checked.stdout
    assert "ledger repair --resend" in checked.stdout
    assert json.loads(done.stdout)["requeued"] == len(receiver.points) > 0


def test_repair_with_an_endpoint_that_is_down_is_exit_code_3(
    wrong: Material, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sums are right; points wait."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")

    done = run("ledger", "repair", wrong.monitoring, "--yes")

    assert done.exit_code == 3
    assert run("ledger", "check", wrong.monitoring).exit_code == 0


def test_an_export_lists_its_files(evaluated: Material, run: Run, tmp_path: Path) -> None:
    """The manifest last."""
    done = run("ledger", "export", evaluated.monitoring, "-o", tmp_path / "out")

    assert done.exit_code == 0, done.output
    names = [line.split()[0].rpartition("/")[2] for line in done.stdout.splitlines()]
    assert sorted(names) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert (names[0], names[-1]) == ("sums.parquet", "ledger.json")


def test_an_export_into_a_folder_that_holds_anything_is_refused(evaluated: Material, run: Run) -> None:
    """It names what is there."""
    done = run("ledger", "export", evaluated.monitoring, "-o", evaluated.folder)

    assert done.exit_code == 2
    assert "already" in done.stderr
