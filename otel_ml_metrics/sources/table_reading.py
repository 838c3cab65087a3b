"""One look at a table or query: its columns, its rows received within a time, and how many there are."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from otel_ml_metrics.errors import suggest
from otel_ml_metrics.sources.database import digest, digest_sql, opened
from otel_ml_metrics.sources.instant_columns import InstantColumn
from otel_ml_metrics.sources.values import table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from sqlalchemy import ColumnElement, FromClause, Select

    from otel_ml_metrics.declared_sources import Queried
    from otel_ml_metrics.sources.database import Refusal

CHUNK: Final = 20_000
"""Rows that are Python values at a time."""


class Tally(NamedTuple):
    """How many rows there are, and a sum that tells them from others."""

    rows: int = 0
    digest: int = 0


@dataclass(frozen=True)
class Reader:
    """How a source is read.

    Args:
        source: The table or query.
        columns: What is needed of it; those that are missing are refused.
        instant: Column of the instant by which it grows.
        zone: IANA zone of instants that name none.
        where: Place of the source in the settings.
        refusal: What is raised where it cannot be read.
        optional: What is read as well, where it is there.
    """

    source: Queried
    columns: Sequence[str]
    instant: str
    zone: str | None
    where: str
    refusal: Refusal
    optional: Sequence[str] = ()

    @contextmanager
    def look(self) -> Iterator[TableReading]:
        """Look at the rows as they are now."""
        with opened(self.source, self.where, self.refusal) as connection:
            yield TableReading(connection, self)


class TableReading:
    """The rows of a source at one moment.

    Args:
        connection: Sees that moment.
        reader: What is read, and how.
    """

    def __init__(self, connection: sa.Connection, reader: Reader) -> None:
        self._connection = connection
        self._reader = reader
        self.names = self._names()
        for column in reader.columns:
            if column not in self.names:
                known = suggest(column, self.names)
                message = f"The {reader.source.shown} has no column {column!r} for {reader.where}. {known}"
                raise reader.refusal(message)
        others = [column for column in reader.optional if column in self.names]
        self.columns = list(dict.fromkeys((*reader.columns, *others)))

    @cached_property
    def _rows(self) -> FromClause:
        return self._selectable([sa.column(name) for name in self.names])

    @cached_property
    def instants(self) -> InstantColumn | None:
        """How instants compare here; None where there is no row with one."""
        column = self._rows.c[self._reader.instant]
        example = self._connection.scalar(sa.select(column).where(column.is_not(None)).limit(1))
        if example is None:
            return None
        zone = ZoneInfo(self._reader.zone or "UTC")
        found = InstantColumn(column, example, zone)
        if not found.is_known:
            message = (
                f"The column {self._reader.instant!r} of the {self._reader.source.shown} holds {example!r}; expected an"
                " instant: a timestamp, or ISO 8601 text. A query: can turn it into one."
            )
            raise self._reader.refusal(message)
        return found

    def tables(self, after_us: int | None, until_us: int, *, columns: Sequence[str] = ()) -> Iterator[pa.Table]:
        """The rows received in `(after_us, until_us]`, and maybe a few of the days around it, some at a time.

        Args:
            after_us: None for all up to `until_us`.
            until_us: The last instant.
            columns: What is read; default: what the reader needs.
        """
        if self.instants is not None:
            wanted = [self.instants.until(until_us)]
            wanted += [] if after_us is None else [self.instants.after(after_us)]
            names = columns or self.columns
            for rows in self._stream(self._select(names).where(*wanted)):
                yield table_of(rows, names)

    def some(self, rows: int) -> pa.Table:
        """A few rows, whichever come first."""
        names = self.columns
        return table_of(self._connection.execute(self._select(names).limit(rows)).all(), names)

    @property
    def is_exact(self) -> bool:
        """Whether the database compares exact instants."""
        return self.instants is not None and self.instants.is_exact

    def first_us(self, after_us: int | None = None) -> int | None:
        """The first instant of all rows, or of those after an instant and maybe of the days around it."""
        if self.instants is None:
            return None
        query = sa.select(sa.func.min(self.instants.column))
        return self.instants.us_of(
            self._connection.scalar(query if after_us is None else query.where(self.instants.after(after_us)))
        )

    def tally(self, since_us: int, until_us: int) -> Tally:
        """Count the rows received until an instant exactly, back to about another one."""
        if self.instants is None:
            return Tally()
        far = (self.instants.after(since_us), self.instants.clearly_until(until_us))
        total = sa.func.coalesce(sa.func.sum(digest_sql(self._connection, self._told())), 0)
        found = self._connection.execute(sa.select(sa.func.count(), total).select_from(self._rows).where(*far)).one()
        near = Tally() if self.instants.is_exact else self._tally_each(self.instants, since_us, until_us)
        return Tally(int(found[0]) + near.rows, int(found[1]) + near.digest)

    def _tally_each(self, instants: InstantColumn, since_us: int, until_us: int) -> Tally:
        """Count the rows of which the database cannot say whether they were received until an instant."""
        rows = total = 0
        names = [self._reader.instant, *self.columns]
        near = (instants.after(since_us), instants.after(until_us), instants.until(until_us))
        for chunk in self._stream(self._select(names).where(*near)):
            for row in chunk:
                instant_us = instants.us_of(row[0])
                if instant_us is not None and instant_us <= until_us:
                    rows += 1
                    total += digest(*row)
        return Tally(rows, total)

    def _told(self) -> list[ColumnElement[Any]]:
        """What tells rows apart: an instant as a number, since its text depends on settings of the database."""
        columns: list[ColumnElement[Any]] = [self._rows.c[name] for name in self.columns]
        if self.instants is None or isinstance(self.instants.example, str):
            return columns
        at = self.columns.index(self._reader.instant)
        columns[at] = sa.cast(sa.func.floor(sa.func.date_part("epoch", columns[at]) * 1_000_000), sa.BigInteger)
        return columns

    def _select(self, names: Sequence[str]) -> Select[Any]:
        return sa.select(*(self._rows.c[name].label(f"c{at}") for at, name in enumerate(names)))

    def _stream(self, query: Select[Any]) -> Iterator[Sequence[Any]]:
        yield from self._connection.execute(query, execution_options={"yield_per": CHUNK}).partitions()

    def _names(self) -> list[str]:
        nothing = sa.select(sa.text("*")).select_from(self._selectable([])).where(sa.false())
        return list(self._connection.execute(nothing).keys())

    def _selectable(self, columns: list[Any]) -> FromClause:
        source = self._reader.source
        if source.table is not None:
            schema, _, name = source.table.rpartition(".")
            return sa.table(name, *columns, schema=schema or None)
        plain = re.sub(":", r"\\:", str(source.query).strip().rstrip(";"))  # no part of it is a parameter
        return sa.text(plain).columns(*columns).subquery("source")
