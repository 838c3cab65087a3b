"""Worlds whose labels are rows of a database, or what a function gives, with the facts that label files would have."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from tests.evaluation.material import Fact, World

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.evaluation.oracle import Settings

BERLIN: Final = ZoneInfo("Europe/Berlin")
POSTGRESQL: Final = pytest.param("postgresql", marks=pytest.mark.postgresql)


@dataclass(frozen=True)
class Form:
    """How a table keeps its instants.

    Args:
        column: SQL type of the column.
        write: The value of an instant.
        zone: What the settings say of it.
    """

    column: str
    write: Callable[[datetime], object]
    zone: str | None = None


def local(instant: datetime) -> datetime:
    """What a clock in Berlin shows."""
    return instant.astimezone(BERLIN).replace(tzinfo=None)


FORMS: Final[dict[str, Form]] = {
    "text with its offset": Form("TEXT", lambda instant: instant.astimezone(BERLIN).isoformat()),
    "text in UTC": Form("TEXT", lambda instant: instant.strftime("%Y-%m-%d %H:%M:%S.%fZ")),
    "text of a zone": Form("TEXT", lambda instant: local(instant).isoformat(" "), "Europe/Berlin"),
}
"""What any database can hold."""

TYPED_FORMS: Final[dict[str, Form]] = {
    "timestamptz": Form("TIMESTAMP WITH TIME ZONE", lambda instant: instant),
    "timestamp": Form("TIMESTAMP", local, "Europe/Berlin"),
}
"""What PostgreSQL can hold besides."""

KEPT: Final = [pytest.param("sqlite", form, id=f"sqlite, {name}") for name, form in FORMS.items()] + [
    pytest.param("postgresql", form, id=f"postgresql, {name}", marks=pytest.mark.postgresql)
    for name, form in (FORMS | TYPED_FORMS).items()
]
"""Each database with each form that it can hold."""


@contextmanager
def witnessed_rows() -> Iterator[list[str]]:
    """The values that any SQLite database reads by `witness(column)` from here on: which rows it looks at."""
    rows: list[str] = []

    def witness(value: str) -> str:
        rows.append(value)
        return value

    def lend(connection: sqlite3.Connection, _record: object) -> None:
        connection.create_function("witness", 1, witness)

    sa.event.listen(sa.Engine, "connect", lend)
    try:
        yield rows
    finally:
        sa.event.remove(sa.Engine, "connect", lend)


@dataclass
class TableWorld(World):
    """Labels are rows of a table.

    Args:
        url: Of the database; default: a file in the folder.
        form: How instants are kept.
        labels: Type of the labels, and how they are written.
        table: Its name.
    """

    url: str = ""
    form: Form = FORMS["text in UTC"]
    labels: tuple[str, Callable[[Any], object]] | None = None
    table: str = field(default_factory=lambda: f"outcomes_{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        """Make the table."""
        self.url = self.url or f"sqlite:///{self.folder}/outcomes.db"
        self.labels = self.labels or (("DOUBLE PRECISION", float) if self.task == "regression" else ("BOOLEAN", bool))
        self.execute(
            f"CREATE TABLE {self.table} (prediction_id TEXT, label {self.labels[0]}, received_at {self.form.column},"
            f" revision INT, customer INT, region TEXT, occurred_at {self.form.column})"
        )

    def execute(self, statement: str, rows: list[dict[str, object]] | None = None) -> None:
        """Run a statement and commit it."""
        engine = sa.create_engine(self.url, poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.text(statement), rows or [{}])
        engine.dispose()

    def label(self, rows: Iterable[Fact], name: str | None = None, form: str = "parquet") -> Path:
        """Insert rows in place of writing a file."""
        del name, form
        rows = list(rows)
        self.facts += [each.said() for each in rows]
        self.insert(rows)
        return self.folder

    def insert(self, rows: Iterable[Fact]) -> None:
        """Insert rows that the oracle knows nothing of."""
        values = [self._written(row) for row in rows]
        if values:
            names = ":id, :label, :received_at, :revision, :customer, :region, :occurred_at"
            self.execute(f"INSERT INTO {self.table} VALUES ({names})", values)

    def _written(self, row: Fact) -> dict[str, object]:
        assert self.labels is not None
        values = asdict(row) | {"label": None if row.label is None else self.labels[1](row.label)}
        instants = {name: values[name] for name in ("received_at", "occurred_at")}
        return values | {name: None if each is None else self.form.write(each) for name, each in instants.items()}

    def delete(self, prediction_id: str) -> None:
        """Delete the rows of a prediction, for the oracle as well."""
        self.execute(f"DELETE FROM {self.table} WHERE prediction_id = '{prediction_id}'")
        self.facts = [fact for fact in self.facts if fact.id != prediction_id]

    @property
    def source(self) -> dict[str, Any]:
        """What the settings say of the labels."""
        return {"url": self.url, "table": self.table, "revision": "revision", "zone": self.form.zone}

    def _labels(self, settings: Settings) -> dict[str, Any]:
        return {name: value for name, value in super()._labels(settings).items() if name != "path"} | self.source


@dataclass
class FunctionWorld(World):
    """Labels are what a function gives; it keeps every call, and how many rows it gave."""

    rows: list[Fact] = field(default_factory=list)
    calls: list[tuple[datetime | None, datetime, int]] = field(default_factory=list)

    def label(self, rows: Iterable[Fact], name: str | None = None, form: str = "parquet") -> Path:
        """Keep the rows in memory."""
        del name, form
        rows = list(rows)
        self.facts += [each.said() for each in rows]
        self.rows += rows
        return self.folder

    def received(self, after: datetime | None, until: datetime) -> list[dict[str, object]]:
        """The labels received within a time."""
        start = datetime.min.replace(tzinfo=UTC) if after is None else after
        given = [asdict(row) for row in self.rows if row.received_at is not None and start < row.received_at <= until]
        self.calls.append((after, until, len(given)))
        return [row | {"prediction_id": row["id"]} for row in given]

    def _labels(self, settings: Settings) -> dict[str, Any]:
        labels = {name: value for name, value in super()._labels(settings).items() if name != "path"}
        return labels | {"function": self.received}
