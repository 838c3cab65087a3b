"""A ledger in a SQLite file on a local disk: durable at every commit, read while somebody writes."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from otel_ml_metrics.errors import LedgerError
from otel_ml_metrics.ledger.database import Database
from otel_ml_metrics.storage.locks import file_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOK_AGAIN: Final = 0.01


class SQLite(Database):
    """One file, and its folder, which are made where they are missing.

    Args:
        url: SQLAlchemy's.
        busy_seconds: How long a transaction waits for another one.

    Raises:
        LedgerError: The folder cannot be made.
    """

    begin_reading = ("BEGIN",)
    begin_writing = ("BEGIN IMMEDIATE",)  # a lock that is taken later, after reading, is refused without waiting

    def __init__(self, url: sa.URL, *, busy_seconds: float) -> None:
        self.path = self._file = Path(str(url.database))
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            message = f"The folder of the ledger {url.database} cannot be made: {problem.strerror}."
            raise LedgerError(message) from problem
        engine = sa.create_engine(url, connect_args={"timeout": busy_seconds}, hide_parameters=True)

        @sa.event.listens_for(engine, "connect")
        def _durable(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
            connection.isolation_level = None  # the driver would begin where it likes; transactions say BEGIN here
            _write_ahead(connection, busy_seconds)
            connection.execute("PRAGMA synchronous = FULL")

        super().__init__(url, engine)

    @staticmethod
    def exists(url: sa.URL) -> bool:
        """Whether there is a file; connecting would make one."""
        return Path(str(url.database)).is_file()

    def _error(self, error: BaseException, *, is_lost: bool) -> Exception:
        del is_lost  # a file has no connection to lose
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            return self._busy()
        return self._unusable(error, "See that it is a ledger, and that its disk has room.")

    @contextmanager
    def sole(self, purpose: str) -> Iterator[bool]:
        """Hold a lock on a file beside the database; False where another process has it."""
        with file_lock(self._file.with_name(f"{self._file.name}.{purpose}")) as is_sole:
            yield is_sole

    def lock(self, connection: sa.Connection, purpose: str) -> None:
        """Nothing is left to do: whoever writes, writes alone."""

    def problems(self) -> list[str]:
        """What SQLite finds wrong in the file."""
        with self.reading() as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
        return [] if found == ["ok"] else [f"SQLite says: {line}" for line in found]

    def vacuum(self) -> None:
        """Write the file anew without the room of what was deleted."""
        with self.told(), closing(self._engine.connect()) as connection:
            connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _write_ahead(connection: sa.engine.interfaces.DBAPIConnection, busy_seconds: float) -> None:
    """Ask for the write-ahead log; where another process asks for it in a new file, SQLite refuses without waiting."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_AGAIN)
        else:
            return
