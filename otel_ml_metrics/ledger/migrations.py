"""The way from each schema of the ledger to the next: forward only, in the transaction of whoever opens it.

A step is written out and never changes; `schema.py` says what all of them lead to, and a test that both agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from otel_ml_metrics.ledger.emitted import digest, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BYTES: Final = {"sqlite": "BLOB", "postgresql": "BYTEA"}


@dataclass(frozen=True)
class Step:
    """One step.

    Args:
        to: The schema that it leads to.
        statements: For every database; `{bytes}` stands for its type of bytes.
        postgresql: For PostgreSQL alone, afterwards.
        fill: Computes what the new tables hold from what is there.
    """

    to: int
    statements: tuple[str, ...] = ()
    postgresql: tuple[str, ...] = ()
    fill: Callable[[sa.Connection], None] | None = None

    def take(self, connection: sa.Connection) -> None:
        """Go from the schema before to this one."""
        dialect = connection.dialect.name
        for statement in self.statements:
            connection.exec_driver_sql(statement.format(bytes=_BYTES[dialect]))
        for statement in self.postgresql if dialect == "postgresql" else ():
            connection.exec_driver_sql(statement)
        if self.fill is not None:
            self.fill(connection)
        connection.execute(sa.text("INSERT INTO ledger_schema (version) VALUES (:to)"), {"to": self.to})
        connection.execute(sa.text("UPDATE head SET schema_version = :to"), {"to": self.to})


def _note_emitted(connection: sa.Connection) -> None:
    """Until schema 2 the outbox kept every point, which was how a second value was known."""
    query = sa.text("SELECT time_unix_nano, series FROM outbox ORDER BY time_unix_nano")
    rows: Iterator[sa.Row[tuple[int, str]]] = iter(connection.execute(query))
    noted = [
        {"time": time, "series": pack(digest(row.series) for row in group)}
        for time, group in groupby(rows, key=attrgetter("time_unix_nano"))
    ]
    if noted:
        statement = sa.text("INSERT INTO emitted (time_unix_nano, series) VALUES (:time, :series)")
        connection.execute(statement, noted)


STEPS: Final = (
    Step(
        to=2,
        statements=(
            "CREATE TABLE ledger_schema (version INTEGER NOT NULL, PRIMARY KEY (version))",
            """
            CREATE TABLE movement (
                window_us BIGINT NOT NULL, version BIGINT NOT NULL, labels TEXT NOT NULL, predictions BIGINT NOT NULL,
                rebuilt BOOLEAN NOT NULL, moves {bytes}, PRIMARY KEY (window_us, version)
            )
            """,
            "CREATE TABLE emitted (time_unix_nano BIGINT NOT NULL PRIMARY KEY, series {bytes} NOT NULL)",
        ),
        postgresql=(
            "ALTER TABLE input_file ALTER COLUMN name TYPE TEXT",
            "ALTER TABLE fact_block ALTER COLUMN id TYPE BIGINT",
            "ALTER SEQUENCE fact_block_id_seq AS BIGINT",
            "ALTER TABLE outbox ALTER COLUMN id TYPE BIGINT",
            "ALTER SEQUENCE outbox_id_seq AS BIGINT",
            "ALTER TABLE fact_block ALTER COLUMN facts SET STORAGE EXTERNAL",
            "ALTER TABLE state_block ALTER COLUMN sums SET STORAGE EXTERNAL",
            'ALTER TABLE aside ALTER COLUMN "rows" SET STORAGE EXTERNAL',
            "ALTER TABLE movement ALTER COLUMN moves SET STORAGE EXTERNAL",
            "ALTER TABLE emitted ALTER COLUMN series SET STORAGE EXTERNAL",
        ),
        fill=_note_emitted,
    ),
    Step(
        to=3,
        statements=(
            """
            CREATE TABLE exact_block (
                window_us BIGINT NOT NULL PRIMARY KEY, version BIGINT NOT NULL, entries {bytes} NOT NULL
            )
            """,
        ),
        postgresql=("ALTER TABLE exact_block ALTER COLUMN entries SET STORAGE EXTERNAL",),
    ),
)
"""Every step, in order."""


def migrate(connection: sa.Connection, *, found: int) -> None:
    """Take every step after the schema that was found."""
    for step in STEPS:
        if step.to > found:
            step.take(connection)
