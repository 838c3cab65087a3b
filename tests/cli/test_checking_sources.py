"""The command `check` over every kind of source: what it says of those that work, and of those that do not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from pyarrow import parquet

from tests.cli.test_checking import lines_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.flows.material import Material

pytestmark = pytest.mark.usefixtures("receiver")

FOREIGN = "id: prediction_id, predicted_at: predicted_at"


def say(material: Material, name: str, value: str) -> None:
    """Replace a line of monitoring.yaml."""
    lines = material.monitoring.read_text(encoding="utf-8").splitlines()
    changed = [f"{name}: {value}" if line.startswith(f"{name}:") else line for line in lines]
    assert changed != lines
    material.monitoring.write_text("\n".join(changed) + "\n", encoding="utf-8")


def copy_into_a_database(path: Path, *, files: list[Path], table: str) -> None:
    """Make a table of Parquet files."""
    rows = [row for file in files for row in parquet.read_table(file, partitioning=None).to_pylist()]
    names = list(rows[0])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE {table} ({', '.join(names)})")
        values = [[each.isoformat() if hasattr(each, "isoformat") else each for each in row.values()] for row in rows]
        connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})", values)


@pytest.fixture
def shop(material: Material) -> Material:
    """The small evaluation, with its labels and predictions in a database as well."""
    path = material.folder / "shop.db"
    copy_into_a_database(path, files=[material.folder / "labels" / "landed.parquet"], table="outcomes")
    segments = sorted((material.folder / "predictions").rglob("s-*.parquet"))
    copy_into_a_database(path, files=segments, table="scores")
    return material


LABELS = "url: sqlite:///shop.db, label: late, received_at: landed_at"


def test_a_table_of_labels_is_looked_at(shop: Material, run: Run) -> None:
    """Relative paths start at the settings."""
    say(shop, "labels", f"{{{LABELS}, table: outcomes}}")

    done = run("check", shop.monitoring)

    assert done.exit_code == 0, done.output
    assert "table outcomes can be read; 192 rows looked at, all usable" in done.stdout


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (f"{LABELS}, table: outcome", "cannot be read for its table outcome"),
        (f"{LABELS.replace('shop.db', 'shops.db')}, table: outcomes", "there is no such file"),
        (f"{LABELS.replace(': late', ': delayed')}, table: outcomes", "has no column 'delayed' for labels"),
        (f"{LABELS}, query: SELEC 1", "syntax error"),
        (f"{LABELS.replace(': landed_at', ': late')}, table: outcomes", "expected an instant"),
    ],
)
def test_a_table_of_labels_that_cannot_be_read_is_wrong(shop: Material, run: Run, labels: str, told: str) -> None:
    """One line says what, and what to do."""
    say(shop, "labels", f"{{{labels}}}")

    done = run("check", shop.monitoring)

    (wrong,) = lines_of(done.stdout, "fail")
    assert done.exit_code == 2
    assert told in wrong


def test_an_empty_table_is_a_warning(shop: Material, run: Run) -> None:
    """Labels come late."""
    with closing(sqlite3.connect(shop.folder / "shop.db")) as connection, connection:
        connection.execute("DELETE FROM outcomes")
    say(shop, "labels", f"{{{LABELS}, table: outcomes}}")

    done = run("check", shop.monitoring)

    assert done.exit_code == 0, done.output
    assert "table outcomes of sqlite:///" in "".join(lines_of(done.stdout, "warn"))


@pytest.mark.parametrize(
    ("body", "verdict", "told"),
    [
        ("return []", "warn", "function shop_labels:received gave nothing for the last day"),
        ("return {'prediction_id': ['a'], 'late': [True], 'landed_at': [until]}", "ok", "can be read; 1 rows"),
        ("raise OSError('no route')", "fail", "function shop_labels:received failed"),
        ("return {'prediction_id': ['a'], 'landed_at': [until]}", "fail", "has no column 'late'"),
    ],
)
def test_a_function_is_asked_for_a_day(
    material: Material, run: Run, monkeypatch: pytest.MonkeyPatch, *, body: str, verdict: str, told: str
) -> None:
    """What it gives is read as a run would read it."""
    folder = material.folder / f"code_{abs(hash(body))}"
    folder.mkdir()
    (folder / "shop_labels.py").write_text(f"def received(after, until):\n    {body}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(__import__("sys").modules, "shop_labels", raising=False)
    say(material, "labels", "{function: 'shop_labels:received', label: late, received_at: landed_at}")

    done = run("check", material.monitoring)

    assert told in "".join(lines_of(done.stdout, verdict)), done.output


def test_foreign_files_are_looked_at_and_not_taken_over(material: Material, run: Run) -> None:
    """A check changes nothing."""
    say(material, "predictions", f"{{path: 'predictions/*/*/*.parquet', {FOREIGN}, into: log}}")

    done = run("check", material.monitoring)

    assert done.exit_code == 0, done.output
    assert "can be read; 48 rows looked at, with" in "".join(lines_of(done.stdout, "ok"))
    assert not (material.folder / "log").exists()


def test_a_foreign_table_is_looked_at(shop: Material, run: Run) -> None:
    """The evaluation of it works as well."""
    say(shop, "predictions", f"{{url: 'sqlite:///shop.db', table: scores, {FOREIGN}}}")

    checked = run("check", shop.monitoring)
    done = run("evaluate", shop.monitoring, "--as-of", "2013-04-04")

    assert checked.exit_code == 0, checked.output
    assert "table scores can be read; 192 rows looked at" in checked.stdout
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("predictions", "told"),
    [
        ("path: nowhere", "nothing is there yet"),
        (
            f"path: 'predictions/*/*/*.parquet', {FOREIGN}, score: scores",
            "has no column 'scores' for predictions.score",
        ),
        ("path: 'predictions/*/*/*.parquet', id: carrier, predicted_at: score", "expected an instant"),
        ("path: 'labels/*.parquet', id: prediction_id, predicted_at: landed_at", "has no column"),
    ],
)
def test_a_foreign_log_that_does_not_fit_is_told(material: Material, run: Run, predictions: str, told: str) -> None:
    """With what would have worked, where that is known."""
    mapping = predictions if "id:" in predictions else f"{predictions}, {FOREIGN}"
    say(material, "predictions", f"{{{mapping}}}")

    done = run("check", material.monitoring)

    assert told in done.stdout
