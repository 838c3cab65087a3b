"""The ledger: what was taken, what it adds up to, and the one commit point of a run.

A run reads without a lock, remembers the version that it read, and commits everything in one transaction that first
moves the version on. If somebody else moved it meanwhile, nothing is written and the run starts over.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import sqlalchemy as sa

from otel_ml_metrics.attribution.inputs import Input
from otel_ml_metrics.attribution.tables import LOST, TILED_SUMS, fact_schema
from otel_ml_metrics.errors import LedgerBusyError, LedgerError, LedgerMismatchError, LedgerMovedError
from otel_ml_metrics.ledger import schema
from otel_ml_metrics.ledger.schema import decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

BUSY_SECONDS: Final = 60.0
"""How long a commit waits for another one."""

MOST_BLOCKS: Final = 16
"""Blocks of facts of one date before they are merged into one."""


@dataclass(frozen=True)
class Head:
    """Where the ledger stands.

    Args:
        version: Commits so far; 0 for a new ledger.
        as_of_us: The instant up to which labels were taken; None for a new ledger.
        created_us: When it was made.
        definition: What its sums mean; None for a new ledger.
        totals: What the cumulative metrics count.
    """

    version: int = 0
    as_of_us: int | None = None
    created_us: int = 0
    definition: Mapping[str, Any] | None = None
    totals: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Commit:
    """Everything that one run changes.

    Args:
        read_version: The version that the run read; the commit is refused if it is no longer the newest.
        as_of_us: The instant that the run pretended was now.
        now_us: When the run was.
        definition: What the sums mean.
        totals: What the cumulative metrics count.
        inputs: Progress of the files that moved on.
        facts: New facts by date of their prediction.
        replaced_dates: Dates whose facts are replaced, not added to.
        states: All sums of the tiles that changed, by tile.
        pending: Labels that wait, if they changed.
        lost: Repeated predictions, if they changed.
        points: Outbox rows: series, time and point as JSON.
        summary: For the table of runs.
    """

    read_version: int
    as_of_us: int
    now_us: int
    definition: Mapping[str, Any]
    totals: Mapping[str, Any]
    inputs: Sequence[Input] = ()
    facts: Mapping[str, pa.Table] = field(default_factory=dict)
    replaced_dates: frozenset[str] = frozenset()
    states: Mapping[int, pa.Table] = field(default_factory=dict)
    pending: pa.Table | None = None
    lost: pa.Table | None = None
    points: Sequence[tuple[str, int, str]] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """One evaluation's ledger in a database.

    Args:
        url: SQLAlchemy URL; a SQLite file and its folder are made where they are missing.
        name: Of the evaluation.
        label_kind: boolean, number or string.
        by_entity: Whether labels name entities.

    Raises:
        LedgerMismatchError: The database holds the ledger of another evaluation.
        LedgerBusyError: Another run holds the database for longer than a minute.
        LedgerError: There is no such database, it is none, or its disk is full.
    """

    def __init__(self, url: str, *, name: str, label_kind: str, by_entity: bool = False) -> None:
        self.url = sa.make_url(url)
        self.name = name
        self._facts = fact_schema(label_kind, by_entity=by_entity)
        self._engine = _engine(self.url)
        with self.transaction() as connection:
            _create(connection)
        self._check_name()

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return self.url.render_as_string(hide_password=True)

    @property
    def path(self) -> Path | None:
        """The file of a SQLite ledger."""
        is_file = self.url.get_backend_name() == "sqlite" and self.url.database not in (None, "", ":memory:")
        return Path(str(self.url.database)) if is_file else None

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """One transaction; a database that stays locked is a LedgerBusyError."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.IntegrityError:
            raise
        except sa.exc.DatabaseError as error:
            if isinstance(error, sa.exc.OperationalError) and "locked" in str(error.orig):
                message = f"Another run holds the ledger {self.shown}; nothing was changed. Run again later."
                raise LedgerBusyError(message) from error
            advice = "See that it is a ledger, and that its disk has room."
            message = f"The ledger {self.shown} cannot be used: {error.orig}. {advice}"
            raise LedgerError(message) from error

    def head(self) -> Head:
        """Where the ledger stands."""
        with self.transaction() as connection:
            row = connection.execute(sa.select(schema.head)).mappings().first()
        if row is None:
            return Head()
        return Head(
            version=row["version"],
            as_of_us=row["as_of_us"],
            created_us=row["created_us"],
            definition=json.loads(row["definition"]),
            totals=json.loads(row["totals"]),
        )

    def inputs(self, kind: str) -> dict[str, Input]:
        """How far the label files or segments were taken, by name."""
        table = schema.input_file
        names = ("kind", "name", "stat", "fingerprint", "taken_until_us", "last_us", "date", "foreign_ids")
        query = sa.select(*(table.c[name] for name in names)).where(table.c.kind == kind)
        with self.transaction() as connection:
            return {row.name: Input(*row) for row in connection.execute(query)}

    def facts(self, dates: Iterable[str]) -> pa.Table:
        """All labels that were applied to predictions of these dates, with the date."""
        blocks = []
        table = schema.fact_block
        with self.transaction() as connection:
            for date in sorted(dates):
                query = sa.select(table.c.facts).where(table.c.date == date).order_by(table.c.id)
                for (block,) in connection.execute(query):
                    facts = decode(block)
                    blocks.append(facts.append_column("date", pa.array([date] * len(facts), pa.string())))
        return pa.concat_tables(blocks) if blocks else self._facts.append(pa.field("date", pa.string())).empty_table()

    def tiles(self) -> list[int]:
        """Start of every tile that has sums, ascending."""
        with self.transaction() as connection:
            return list(
                connection.scalars(sa.select(schema.state_block.c.tile_us).order_by(schema.state_block.c.tile_us))
            )

    def states(self, tiles: Iterable[int]) -> pa.Table:
        """All sums of these tiles, with the tile."""
        table = schema.state_block
        blocks = []
        with self.transaction() as connection:
            for tile in sorted(tiles):
                for (block,) in connection.execute(sa.select(table.c.sums).where(table.c.tile_us == tile)):
                    sums = decode(block)
                    blocks.append(sums.append_column("tile_us", pa.array([tile] * len(sums), pa.int64())))
        return pa.concat_tables(blocks) if blocks else TILED_SUMS.empty_table()

    def pending(self) -> pa.Table:
        """Labels that wait for their prediction."""
        return self._aside("pending", self._facts)

    def lost(self) -> pa.Table:
        """Rows of the prediction log that repeat an id."""
        return self._aside("lost", LOST)

    def _aside(self, name: str, empty: pa.Schema) -> pa.Table:
        with self.transaction() as connection:
            block = connection.scalar(sa.select(schema.aside.c.rows).where(schema.aside.c.name == name))
        return decode(block) if block is not None else empty.empty_table()

    def emitted(self, times: Iterable[int]) -> set[tuple[str, int]]:
        """Series and time of every point that was ever put into the outbox for these times."""
        table = schema.outbox
        query = sa.select(table.c.series, table.c.time_unix_nano).where(table.c.time_unix_nano.in_(sorted(times)))
        with self.transaction() as connection:
            return {(row.series, row.time_unix_nano) for row in connection.execute(query)}

    def commit(self, commit: Commit) -> int:
        """Write everything that a run changes, or nothing; the new version.

        Raises:
            LedgerMovedError: Somebody else committed since the run read.
            LedgerBusyError: Somebody else has been committing for a minute.
        """
        version = commit.read_version + 1
        with self.transaction() as connection:
            self._move_on(connection, commit, version)
            self._write_inputs(connection, commit.inputs, version)
            for date in sorted(commit.replaced_dates):
                connection.execute(sa.delete(schema.fact_block).where(schema.fact_block.c.date == date))
            for date, facts in sorted(commit.facts.items()):
                self._add_facts(connection, date, facts, version)
            for tile, sums in sorted(commit.states.items()):
                _replace(connection, schema.state_block, {"tile_us": tile}, {"version": version, "sums": encode(sums)})
            for name, rows in (("pending", commit.pending), ("lost", commit.lost)):
                if rows is not None:
                    _replace(connection, schema.aside, {"name": name}, {"version": version, "rows": encode(rows)})
            _insert(
                connection,
                schema.outbox,
                ("version", "series", "time_unix_nano", "point", "status"),
                [(version, series, time, point, "waiting") for series, time, point in commit.points],
            )
            summary = json.dumps(dict(commit.summary), sort_keys=True)
            row = {"version": version, "as_of_us": commit.as_of_us, "committed_us": commit.now_us, "summary": summary}
            connection.execute(sa.insert(schema.run), [row])
        return version

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _check_name(self) -> None:
        with self.transaction() as connection:
            row = connection.execute(sa.select(schema.head.c.name, schema.head.c.schema_version)).first()
        if row is not None and row.name != self.name:
            message = (
                f"The ledger {self.shown} belongs to the evaluation {row.name!r},"
                f" not to {self.name!r}. Give each evaluation a ledger of its own, or write name: {row.name} again."
            )
            raise LedgerMismatchError(message)
        if row is not None and row.schema_version != schema.SCHEMA_VERSION:
            message = (
                f"The ledger {self.shown} has schema {row.schema_version}, and this"
                f" version of otel-ml-metrics knows schema {schema.SCHEMA_VERSION}. Use the version that wrote it."
            )
            raise LedgerMismatchError(message)

    def _move_on(self, connection: sa.Connection, commit: Commit, version: int) -> None:
        """Move the version, which takes the write lock, and see that it is still the one that was read."""
        values = {
            "version": version,
            "as_of_us": commit.as_of_us,
            "definition": json.dumps(dict(commit.definition), sort_keys=True),
            "totals": json.dumps(dict(commit.totals), sort_keys=True),
        }
        table = schema.head
        if commit.read_version == 0:
            first = {"id": 1, "schema_version": schema.SCHEMA_VERSION, "created_us": commit.now_us, "name": self.name}
            try:
                connection.execute(sa.insert(table), [first | values])
            except sa.exc.IntegrityError as error:
                raise self._moved(commit.read_version) from error
            return
        moved = connection.execute(sa.update(table).where(table.c.version == commit.read_version).values(values))
        if moved.rowcount != 1:
            raise self._moved(commit.read_version)

    def _moved(self, read_version: int) -> LedgerMovedError:
        message = (
            f"Another run committed to the ledger of {self.name!r} after this one had read version {read_version};"
            " nothing was changed. Run again."
        )
        return LedgerMovedError(message)

    def _write_inputs(self, connection: sa.Connection, inputs: Sequence[Input], version: int) -> None:
        table = schema.input_file
        for kind in sorted({each.kind for each in inputs}):
            names = [each.name for each in inputs if each.kind == kind]
            for start in range(0, len(names), 500):
                some = names[start : start + 500]
                connection.execute(sa.delete(table).where(table.c.kind == kind, table.c.name.in_(some)))
        columns = ("kind", "name", "stat", "fingerprint", "taken_until_us", "last_us", "date", "foreign_ids", "version")
        rows = [(*(getattr(each, column) for column in columns[:-1]), version) for each in inputs]
        _insert(connection, table, columns, rows)

    def _add_facts(self, connection: sa.Connection, date: str, facts: pa.Table, version: int) -> None:
        table = schema.fact_block
        earlier = sa.select(table.c.facts).where(table.c.date == date).order_by(table.c.id)
        blocks = list(connection.scalars(earlier))
        if len(blocks) + 1 >= MOST_BLOCKS:
            connection.execute(sa.delete(table).where(table.c.date == date))
            facts = pa.concat_tables([*map(decode, blocks), facts])
        connection.execute(sa.insert(table), [{"date": date, "version": version, "facts": encode(facts)}])


def _create(connection: sa.Connection) -> None:
    """Make the tables that are missing; two runs may find out at once that they are."""
    for table in schema.metadata.sorted_tables:
        connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
        for index in table.indexes:
            connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return _server_engine(url)
    try:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        message = f"The folder of the ledger {url.database} cannot be made: {problem.strerror}."
        raise LedgerError(message) from problem
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS}, poolclass=sa.pool.NullPool)

    @sa.event.listens_for(engine, "connect")
    def _durable(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    return engine


def _server_engine(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(url)
    except ModuleNotFoundError as missing:
        message = (
            f"The driver {missing.name} of the ledger {url.render_as_string(hide_password=True)} is not installed. Run:"
            f" pip install {missing.name}, or name another driver, as in postgresql+psycopg://."
        )
        raise LedgerError(message) from missing


def _replace(connection: sa.Connection, table: sa.Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    matches = [table.c[name] == value for name, value in key.items()]
    connection.execute(sa.delete(table).where(*matches))
    connection.execute(sa.insert(table), [{**key, **values}])


def _insert(
    connection: sa.Connection, table: sa.Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert many rows at the driver's level, which is several times quicker than by mappings."""
    if not rows:
        return
    statement = sa.insert(table).values({name: sa.bindparam(name) for name in columns})
    compiled = statement.compile(dialect=connection.dialect)
    if compiled.positional:
        order = [columns.index(name) for name in compiled.positiontup or columns]
        connection.exec_driver_sql(str(compiled), [tuple(row[at] for at in order) for row in rows])
    else:
        connection.exec_driver_sql(str(compiled), [dict(zip(columns, row, strict=True)) for row in rows])
