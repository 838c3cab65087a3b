"""The ledger: what was taken, what it adds up to, and the one commit point of a run.

A run reads without a lock, remembers the version that it read, and commits everything in one transaction that first
moves the version on. If somebody else moved it meanwhile, nothing is written and the run starts over. A process that is
killed while it commits leaves the version before or the version after, whole.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Self

import sqlalchemy as sa

from otel_ml_metrics.attribution.tables import fact_schema
from otel_ml_metrics.errors import LedgerError, LedgerMismatchError, LedgerMovedError
from otel_ml_metrics.ledger import blocks, emitted, rows, schema
from otel_ml_metrics.ledger.commit import Commit
from otel_ml_metrics.ledger.database import BUSY_SECONDS, shown
from otel_ml_metrics.ledger.migrations import migrate
from otel_ml_metrics.ledger.postgresql import PostgreSQL
from otel_ml_metrics.ledger.reader import LedgerReader
from otel_ml_metrics.ledger.retiring import forget
from otel_ml_metrics.ledger.schema import encode
from otel_ml_metrics.ledger.sqlite import SQLite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from otel_ml_metrics.attribution.inputs import Input
    from otel_ml_metrics.attribution.retirement import Retirement
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.ledger.commit import Head, Movement
    from otel_ml_metrics.ledger.database import Database
    from otel_ml_metrics.ledger.retiring import Forgotten

_INPUT_COLUMNS: Final = (
    "kind", "name", "stat", "fingerprint", "taken_until_us", "last_us", "date", "foreign_ids", "version",
)  # fmt: skip


class Ledger(LedgerReader):
    """One evaluation's ledger in a database: a SQLite file, a PostgreSQL database, or a schema of one.

    Opening it makes the tables that are missing, and takes those of an earlier version of the package along.

    Args:
        url: SQLAlchemy URL; a SQLite file and its folder are made where they are missing.
        name: Of the evaluation.
        label_kind: boolean, number or string.
        by_entity: Whether labels name entities.
        busy_seconds: How long a transaction waits for another one.

    Raises:
        LedgerMismatchError: The database holds the ledger of another evaluation, or of a newer version of the package.
        LedgerBusyError: Another run holds the database for too long.
        LedgerLostError: The connection to the database was lost.
        LedgerError: There is no such database, it is none, or its disk is full.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        label_kind: str,
        by_entity: bool = False,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.database = _database(url, busy_seconds)
        self.name = name
        super().__init__(self.database.reading, facts=fact_schema(label_kind, by_entity=by_entity))
        try:
            _bring_up(self.database)
            self._check_name()
        except BaseException:
            self.database.close()
            raise

    @classmethod
    def of(cls, evaluation: Evaluation) -> Self:
        """The ledger of an evaluation."""
        labels = evaluation.labels
        return cls(
            evaluation.ledger,
            name=evaluation.name,
            label_kind=evaluation.kinds["label"],
            by_entity=bool(labels.keys),
        )

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return self.database.shown

    @property
    def path(self) -> Path | None:
        """The file of a SQLite ledger."""
        return self.database.path

    @contextmanager
    def snapshot(self) -> Iterator[LedgerReader]:
        """Read the ledger as it is now, whatever is committed meanwhile; for reading that does not take long."""
        with self.database.reading() as connection:
            yield LedgerReader(lambda: nullcontext(connection), facts=self.fact_schema)

    def commit(self, commit: Commit) -> int:
        """Write everything that a run changes, or nothing; the new version.

        Raises:
            LedgerMovedError: Somebody else committed since the run read.
            LedgerBusyError: Somebody else has been committing for too long.
            LedgerLostError: The connection was lost: all of it stands there, or nothing.
        """
        version = commit.read_version + 1
        with self.database.writing() as connection:
            self._move_on(connection, commit, version)
            _write_inputs(connection, commit.inputs, version)
            for date in sorted(commit.replaced_dates):
                connection.execute(sa.delete(schema.fact_block).where(schema.fact_block.c.date == date))
            for date, block in blocks.encoded(commit.facts):
                blocks.add_block(connection, date, block, version)
            states = [(tile, version, encode(sums)) for tile, sums in sorted(commit.states.items())]
            rows.replace(connection, schema.state_block, ("tile_us", "version", "sums"), states)
            exact = [(window, version, encode(entries)) for window, entries in sorted(commit.exact.items())]
            rows.replace(connection, schema.exact_block, ("window_us", "version", "entries"), exact)
            asides = (("pending", commit.pending), ("held", commit.held), ("lost", commit.lost))
            kept = [(name, version, encode(table)) for name, table in asides if table is not None]
            rows.replace(connection, schema.aside, ("name", "version", "rows"), kept)
            _write_movements(connection, commit.movements, version)
            emitted.note(connection, commit.once)
            points = [(version, series, time, point, "waiting") for series, time, point in commit.points]
            rows.insert(connection, schema.outbox, ("version", "series", "time_unix_nano", "point", "status"), points)
            _note_run(connection, commit, version, commit.summary)
        return version

    def retire(self, head: Head, retirement: Retirement, *, label_files: Sequence[str], now_us: int) -> Forgotten:
        """Forget everything of retired dates but their sums, or nothing.

        Args:
            head: As it was read; the ledger stands.
            retirement: What is retired from now on.
            label_files: Names of label files whose progress nobody needs any more.
            now_us: When that is.

        Raises:
            LedgerMovedError: Somebody else committed since the head was read.
            LedgerBusyError: Somebody else has been committing for too long.
        """
        commit = Commit(
            read_version=head.version,
            as_of_us=head.as_of_us or 0,
            now_us=now_us,
            definition=head.definition or {},
            totals=head.totals,
        )
        version, lost = head.version + 1, self.lost()
        with self.database.writing() as connection:
            self._move_on(connection, commit, version)
            forgotten = forget(connection, retirement, label_files=label_files, lost=lost, version=version)
            _note_run(connection, commit, version, asdict(forgotten) | {"retired_before": retirement.before})
        return forgotten

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def _check_name(self) -> None:
        with self.database.reading() as connection:
            name = connection.scalar(sa.select(schema.head.c.name))
        if name is not None and name != self.name:
            message = (
                f"The ledger {self.shown} belongs to the evaluation {name!r}, not to {self.name!r}. Give each"
                f" evaluation a ledger of its own (a file, a database or a schema), or write name: {name} again."
            )
            raise LedgerMismatchError(message)

    def _move_on(self, connection: sa.Connection, commit: Commit, version: int) -> None:
        """Move the version, which holds off other commits, and see that it is still the one that was read."""
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
        as_read = (table.c.version == commit.read_version, table.c.schema_version == schema.SCHEMA_VERSION)
        if connection.execute(sa.update(table).where(*as_read).values(values)).rowcount != 1:
            found = connection.scalar(sa.select(table.c.schema_version)) or 0
            is_newer = found > schema.SCHEMA_VERSION
            raise _too_new(self.shown, found) if is_newer else self._moved(commit.read_version)

    def _moved(self, read_version: int) -> LedgerMovedError:
        message = (
            f"Another run committed to the ledger of {self.name!r} after this one had read version {read_version};"
            " nothing was changed. Run again."
        )
        return LedgerMovedError(message)


def schema_of(url: str) -> int | None:
    """Which schema the ledger at a URL has; None where there is no ledger. Nothing is made or changed.

    Raises:
        LedgerError: The database cannot be reached, or it is none.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite" and not SQLite.exists(parsed):
        return None
    database = _database(url, BUSY_SECONDS)
    try:
        with database.reading() as connection:
            return _schema_found(connection)
    finally:
        database.close()


def shown_url(url: str) -> str:
    """The URL of a ledger without its password.

    Raises:
        LedgerError: It is no URL.
    """
    return shown(_parsed(url))


def _database(url: str, busy_seconds: float) -> Database:
    parsed = _parsed(url)
    backend = SQLite if parsed.get_backend_name() == "sqlite" else PostgreSQL
    return backend(parsed, busy_seconds=busy_seconds)


def _parsed(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        message = (
            "The URL of the ledger cannot be read (it is not shown, since it may hold a password). Write it like"
            " sqlite:///data/ledger.db or postgresql+psycopg://user@host:5432/name, special characters of a password"
            " as %XX."
        )
        raise LedgerError(message) from error


def _bring_up(database: Database) -> None:
    """Make the tables, or take those of an earlier schema along; whoever comes first does it for all."""
    with database.reading() as connection:
        found = _schema_found(connection)
    if found == schema.SCHEMA_VERSION:
        return
    with database.writing() as connection:
        database.lock(connection, "schema")
        found = _schema_found(connection)
        if found is None:
            schema.metadata.create_all(connection)
            connection.execute(sa.insert(schema.ledger_schema), [{"version": schema.SCHEMA_VERSION}])
        elif found > schema.SCHEMA_VERSION:
            raise _too_new(database.shown, found)
        else:
            migrate(connection, found=found)


def _too_new(where: str, found: int) -> LedgerMismatchError:
    message = (
        f"The ledger {where} has schema {found}, and this version of otel-ml-metrics knows schemas up to"
        f" {schema.SCHEMA_VERSION}. Upgrade this installation to the version that wrote it"
        " (pip install --upgrade otel-ml-metrics), or name a new ledger: its first run reads everything anew."
    )
    return LedgerMismatchError(message)


def _schema_found(connection: sa.Connection) -> int | None:
    inspector = sa.inspect(connection)
    if inspector.has_table(schema.ledger_schema.name):
        found: int | None = connection.scalar(sa.select(sa.func.max(schema.ledger_schema.c.version)))
        return found
    return 1 if inspector.has_table(schema.head.name) else None


def _note_run(connection: sa.Connection, commit: Commit, version: int, summary: Mapping[str, Any]) -> None:
    told = json.dumps(dict(summary), sort_keys=True)
    row = {"version": version, "as_of_us": commit.as_of_us, "committed_us": commit.now_us, "summary": told}
    connection.execute(sa.insert(schema.run), [row])


def _write_inputs(connection: sa.Connection, inputs: Sequence[Input], version: int) -> None:
    table = schema.input_file
    for kind in sorted({each.kind for each in inputs}):
        names = [each.name for each in inputs if each.kind == kind]
        for some in rows.chosen(connection, table.c.name, names):
            connection.execute(sa.delete(table).where(table.c.kind == kind, some))
    taken = [(*(getattr(each, column) for column in _INPUT_COLUMNS[:-1]), version) for each in inputs]
    rows.insert(connection, table, _INPUT_COLUMNS, taken)


def _write_movements(connection: sa.Connection, movements: Mapping[int, Movement], version: int) -> None:
    moved = [
        (
            window,
            version,
            json.dumps(dict(each.labels), sort_keys=True),
            each.predictions,
            each.rebuilt,
            None if each.moves is None else encode(each.moves),
        )
        for window, each in sorted(movements.items())
    ]
    columns = ("window_us", "version", "labels", "predictions", "rebuilt", "moves")
    rows.insert(connection, schema.movement, columns, moved)
