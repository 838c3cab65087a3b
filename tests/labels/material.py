"""Worlds whose labels are rows of a database, or what a function gives, with the facts that label files would have."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from tests.evaluation.material import Fact, World, at, us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from otel_ml_metrics.configuration import Evaluation
    from tests.evaluation.oracle import Settings

DATABASES: Final[tuple[str, ...]] = ("sqlite",)
"""Add "postgresql" where there is a fixture `postgresql_url` with the URL of a database that tables may be made in."""

BERLIN: Final = ZoneInfo("Europe/Berlin")


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

TYPED_FORMS: Final[dict[str, Form]] = FORMS | {
    "timestamptz": Form("TIMESTAMP WITH TIME ZONE", lambda instant: instant),
    "timestamp": Form("TIMESTAMP", local, "Europe/Berlin"),
}
"""What PostgreSQL can hold."""

KEPT: Final = [
    pytest.param(database, form, id=f"{database}, {name}")
    for database in DATABASES
    for name, form in (TYPED_FORMS if database == "postgresql" else FORMS).items()
]
"""Each database with each form that it can hold."""


@dataclass
class TableWorld(World):
    """Labels are rows of a table.

    Args:
        url: Of the database; default: a file in the folder.
        form: How instants are kept.
        labels: Type of the labels, and how they are written.
    """

    url: str = ""
    form: Form = FORMS["text in UTC"]
    labels: tuple[str, Callable[[bool], object]] = ("BOOLEAN", bool)
    table: str = field(default_factory=lambda: f"outcomes_{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        """Make the table."""
        self.url = self.url or f"sqlite:///{self.folder}/outcomes.db"
        columns = f"prediction_id TEXT, label {self.labels[0]}, received_at {self.form.column}, revision INT"
        self.execute(f"CREATE TABLE {self.table} ({columns})")

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
        self.facts += [(each.id, each.label, us(each.received_at), each.revision) for each in rows]
        self.insert(rows)
        return self.folder

    def insert(self, rows: Iterable[Fact]) -> None:
        """Insert rows that the oracle knows nothing of."""
        values = [
            {
                "id": row.id,
                "label": self.labels[1](row.label),
                "received_at": self.form.write(row.received_at),
                "revision": row.revision,
            }
            for row in rows
        ]
        if values:
            self.execute(f"INSERT INTO {self.table} VALUES (:id, :label, :received_at, :revision)", values)

    def delete(self, prediction_id: str) -> None:
        """Delete the rows of a prediction, for the oracle as well."""
        self.execute(f"DELETE FROM {self.table} WHERE prediction_id = '{prediction_id}'")
        self.facts = [fact for fact in self.facts if fact[0] != prediction_id]

    @property
    def source(self) -> dict[str, Any]:
        """What the settings say of the labels."""
        return {"url": self.url, "table": self.table, "revision": "revision", "zone": self.form.zone}

    def evaluation(self, settings: Settings | None = None, **given: Any) -> Evaluation:
        """An evaluation that reads the table."""
        return super().evaluation(settings, **{"labels": self.source} | given)


@dataclass
class FunctionWorld(World):
    """Labels are what a function gives; it keeps every call, and how many rows it gave."""

    calls: list[tuple[datetime | None, datetime, int]] = field(default_factory=list)

    def label(self, rows: Iterable[Fact], name: str | None = None, form: str = "parquet") -> Path:
        """Keep the rows in memory."""
        del name, form
        self.facts += [(each.id, each.label, us(each.received_at), each.revision) for each in rows]
        return self.folder

    def received(self, after: datetime | None, until: datetime) -> list[dict[str, object]]:
        """The labels received within a time."""
        start = datetime.min.replace(tzinfo=UTC) if after is None else after
        names = ("prediction_id", "label", "received_at", "revision")
        facts = [(*fact[:2], at(fact[2]), fact[3]) for fact in self.facts]
        rows = [dict(zip(names, fact, strict=True)) for fact in facts if start < fact[2] <= until]
        self.calls.append((after, until, len(rows)))
        return rows

    def evaluation(self, settings: Settings | None = None, **given: Any) -> Evaluation:
        """An evaluation that asks the function."""
        labels = {"function": self.received, "revision": "revision"}
        return super().evaluation(settings, **{"labels": labels} | given)
