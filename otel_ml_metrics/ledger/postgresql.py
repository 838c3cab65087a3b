"""A ledger in a PostgreSQL database, or in one schema of it: for runs from more than one machine."""

from __future__ import annotations

import hashlib
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from otel_ml_metrics.errors import LedgerError, LedgerLostError, MissingExtraError
from otel_ml_metrics.ledger import schema
from otel_ml_metrics.ledger.database import Database, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_BUSY: Final = {
    "40001",  # serialization failure
    "40P01",  # deadlock detected
    "55P03",  # lock not available
    "57014",  # query cancelled, as by a statement timeout
}
_LOST: Final = ("08", "57P0")  # connection exceptions; the server shuts down, crashed or starts

# Found by libpq itself: a silent network must not keep a run for ever, nor a dead client its locks.
_CONNECTION: Final = {
    "application_name": "otel-ml-metrics",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
_SESSION: Final = ("SET tcp_keepalives_idle = 30", "SET tcp_keepalives_interval = 10", "SET tcp_keepalives_count = 3")


class PostgreSQL(Database):
    """The database, or the schema that comes first in the search path.

    Args:
        url: SQLAlchemy's; `postgresql://` alone means psycopg.
        busy_seconds: How long a transaction waits for another one.

    Raises:
        LedgerError: The driver is not installed.
    """

    def __init__(self, url: sa.URL, *, busy_seconds: float) -> None:
        url = url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url
        wait = f"SET LOCAL lock_timeout = {round(busy_seconds * 1000)}"  # LOCAL: poolers share sessions
        self.begin_reading = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY", wait)
        self.begin_writing = (wait,)
        super().__init__(url, _engine(url))

    def _error(self, error: sa.exc.DBAPIError) -> Exception:
        state = str(getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or "")
        if state in _BUSY:
            return self._busy()
        if error.connection_invalidated or state.startswith(_LOST):
            message = (
                f"The connection to the ledger {self.shown} was lost. What was being committed stands there whole or"
                " not at all, and running again makes up for it."
            )
            return LedgerLostError(message)
        return self._unusable(error, "See that the server runs, and that the URL names a database of your own there.")

    @contextmanager
    def sole(self, purpose: str) -> Iterator[bool]:
        """Hold an advisory lock in a session of its own, outside any transaction: an idle one would hold up vacuums."""
        with self.told(), self._session() as session:
            key = {"key": _key(session, purpose)}
            is_sole = bool(session.scalar(sa.text("SELECT pg_try_advisory_lock(:key)"), key))
            try:
                yield is_sole
            finally:
                if is_sole:
                    with suppress(sa.exc.DBAPIError):  # a lost session has lost the lock, too
                        session.execute(sa.text("SELECT pg_advisory_unlock(:key)"), key)

    @contextmanager
    def _session(self) -> Iterator[sa.Connection]:
        """A session without transactions: each statement is its own."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as session:
            session.detach()  # not given to others afterwards: closing it ends it, with all its locks
            yield session

    def lock(self, connection: sa.Connection, purpose: str) -> None:
        """Wait for an advisory lock, which the transaction keeps to its end."""
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _key(connection, purpose)})

    def problems(self) -> list[str]:
        """Nothing: checking pages is for `pg_amcheck`, which needs rights that a ledger does not."""
        return []

    def vacuum(self) -> None:
        """Let PostgreSQL use the room of what was deleted again, and count rows anew for its plans."""
        with self.told(), self._session() as session:
            for table in schema.metadata.sorted_tables:
                session.exec_driver_sql(f'VACUUM (ANALYZE) "{table.name}"')


def _engine(url: sa.URL) -> sa.Engine:
    settings: dict[str, Any] = {}
    if url.get_driver_name() in {"psycopg", "psycopg2"}:
        settings = {name: value for name, value in _CONNECTION.items() if name not in url.query}
    try:
        engine = sa.create_engine(url, connect_args=settings, pool_pre_ping=True, hide_parameters=True)
    except ModuleNotFoundError as missing:
        if missing.name == "psycopg":
            raise MissingExtraError(missing.name, "postgresql", "A ledger in PostgreSQL") from missing
        message = (
            f"The driver {missing.name} of the ledger {shown(url)} is not installed. Run: pip install {missing.name},"
            " or name another driver, as in postgresql+psycopg://."
        )
        raise LedgerError(message) from missing

    @sa.event.listens_for(engine, "connect")
    def _mortal(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
        with closing(connection.cursor()) as cursor:
            for statement in _SESSION:
                cursor.execute(statement)
        connection.commit()

    return engine


def _key(connection: sa.Connection, purpose: str) -> int:
    """Number of an advisory lock; they are the database's, so the schema tells ledgers in one database apart."""
    name = f"otel-ml-metrics {purpose} {connection.scalar(sa.text('SELECT current_schema()'))}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
