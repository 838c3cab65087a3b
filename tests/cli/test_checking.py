"""The command `check`: one broken part at a time, named with what to do about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet
import pytest

from otel_ml_metrics.telemetry.receiver import Receiver, Reply

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.flows.material import Material


def lines_of(output: str, verdict: str) -> list[str]:
    """The lines of one verdict."""
    return [line for line in output.splitlines() if line.startswith(verdict)]


@pytest.mark.usefixtures("receiver")
def test_everything_in_order_is_exit_code_0(material: Material, run: Run) -> None:
    """A line for each part says what was looked at."""
    done = run("check", material.monitoring)

    assert done.exit_code == 0, done.output
    assert [re.split("  +", line)[1] for line in lines_of(done.stdout, "ok")] == [
        "settings",
        "prediction log",
        "labels",
        "ids",
        "ledger",
        "endpoint",
    ]


@pytest.mark.usefixtures("receiver")
def test_looking_makes_no_ledger(material: Material, run: Run) -> None:
    """A check changes nothing, not even by making an empty file."""
    run("check", material.monitoring)

    assert not material.ledger.exists()


@pytest.mark.usefixtures("receiver")
@pytest.mark.parametrize(
    ("old", "new", "subject", "hint"),
    [
        ("slices: [carrier]", "slices: [carier]", "prediction log", "'carrier'"),
        ("label: late", "label: delayed", "labels", "late"),
        ("model: flight-delay\n", "model: flight-delays\nname: f\n", "prediction log", "flight-delay"),
        ("measures: [accuracy,", "measures: [acuracy,", "settings", "'accuracy'"),
    ],
)
def test_a_name_that_is_nowhere_is_found(
    material: Material, run: Run, *, old: str, new: str, subject: str, hint: str
) -> None:
    """Typing errors show before the first run, with what would have worked."""
    known = material.monitoring.read_text(encoding="utf-8").replace("name: flight-delay-api/flight-delay\n", "")
    assert old in known
    material.monitoring.write_text(known.replace(old, new), encoding="utf-8")

    done = run("check", material.monitoring)

    (wrong,) = lines_of(done.stdout, "fail")
    assert done.exit_code == 2
    assert wrong.split(maxsplit=1)[1].startswith(subject)
    assert hint in wrong


@pytest.mark.usefixtures("receiver")
def test_a_half_written_label_file_is_named(material: Material, run: Run) -> None:
    """The one broken file among many is the one to look for."""
    whole = material.folder / "labels" / "landed.parquet"
    (whole.parent / "half.parquet").write_bytes(whole.read_bytes()[:200])

    done = run("check", material.monitoring)

    assert done.exit_code == 2
    assert "half.parquet" in "".join(lines_of(done.stdout, "fail"))


@pytest.mark.usefixtures("receiver")
def test_bad_label_rows_are_a_warning(material: Material, run: Run) -> None:
    """A run keeps them aside and goes on, so they fail no check."""
    path = material.folder / "labels" / "landed.parquet"
    table = pa.parquet.read_table(path)
    holes = pa.array([None, *table.column("late").to_pylist()[1:]], pa.bool_())
    pa.parquet.write_table(table.set_column(table.schema.get_field_index("late"), "late", holes), path)

    done = run("check", material.monitoring)

    assert done.exit_code == 0, done.output
    assert "1 with no label" in "".join(lines_of(done.stdout, "warn"))


@pytest.mark.usefixtures("receiver")
def test_labels_that_are_all_unusable_fail_the_check(material: Material, run: Run) -> None:
    """A run would go on with nothing, so this is no matter of a few bad rows."""
    path = material.folder / "labels" / "landed.parquet"
    table = pa.parquet.read_table(path)
    words = pa.array(["yesterday"] * len(table))
    pa.parquet.write_table(table.set_column(table.schema.get_field_index("landed_at"), "landed_at", words), path)

    done = run("check", material.monitoring)

    assert done.exit_code == 2
    assert "192 with no instant" in "".join(lines_of(done.stdout, "fail"))


@pytest.mark.usefixtures("receiver")
@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("attribution_window: 1d", "attribution_window: 2d", "attribution_window was 86400 and is 172800"),
        ("sqlite:///{folder}/ledger.db", "postgresql+psycopg://u:secret@127.0.0.1:9/x", "127.0.0.1:9/x cannot be used"),
        ("sqlite:///{folder}/ledger.db", "sqlite:///{folder}/monitoring.yaml", "file is not a database"),
    ],
    ids=["changed", "unreachable", "no-ledger"],
)
def test_a_ledger_that_runs_would_refuse_is_told(
    material: Material, run: Run, *, old: str, new: str, told: str
) -> None:
    """A definition that was changed under a live ledger, a database that is down, a file that is something else."""
    run("evaluate", material.monitoring, "--as-of", "2013-04-04")
    before, after = (text.format(folder=material.folder) for text in (old, new))
    known = material.monitoring.read_text(encoding="utf-8")
    assert before in known
    material.monitoring.write_text(known.replace(before, after), encoding="utf-8")

    done = run("check", material.monitoring)

    wrong = "".join(lines_of(done.stdout, "fail"))
    assert done.exit_code == 2
    assert told in wrong
    assert "secret" not in done.output


@pytest.mark.usefixtures("receiver")
def test_a_ledger_of_another_evaluation_is_found(material: Material, run: Run) -> None:
    """Two evaluations in one ledger would spoil both."""
    run("evaluate", material.monitoring, "--as-of", "2013-04-04")
    known = material.monitoring.read_text(encoding="utf-8")
    material.monitoring.write_text(known.replace("api/flight-delay", "api/other"), encoding="utf-8")

    done = run("check", material.monitoring)

    assert done.exit_code == 2
    assert "flight-delay-api/flight-delay" in "".join(lines_of(done.stdout, "fail"))


def test_a_missing_endpoint_is_wrong_here(material: Material, run: Run) -> None:
    """An evaluation that reaches nobody is not ready, and the line says what to set."""
    done = run("check", material.monitoring)

    assert done.exit_code == 2
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in done.stdout


def test_an_endpoint_that_does_not_answer_is_named(
    material: Material, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address shows, so that a wrong port can be seen."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")

    done = run("check", material.monitoring)

    (wrong,) = lines_of(done.stdout, "fail")
    assert done.exit_code == 2
    assert "http://127.0.0.1:9/v1/metrics by http/protobuf does not answer" in wrong


def test_what_the_endpoint_refused_is_a_warning(
    material: Material, run: Run, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused points never come back, so somebody should know of them."""
    with monkeypatch.context() as refusing, Receiver(reply=lambda _points: Reply(status=400)) as strict:
        refusing.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", strict.endpoint)
        run("evaluate", material.monitoring, "--as-of", "2013-04-04")

    done = run("check", material.monitoring)

    assert receiver.points == ()
    assert done.exit_code == 0, done.output
    assert "refused for good" in "".join(lines_of(done.stdout, "warn"))
