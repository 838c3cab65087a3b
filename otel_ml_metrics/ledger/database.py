"""The database under a ledger: transactions with bounded waits, locks that die with their process, plain errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from otel_ml_metrics.errors import LedgerBusyError, LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

BUSY_SECONDS: Final = 60.0
"""How long a transaction waits for another one."""

_SECRETS: Final = ("password", "sslpassword")


class Database(ABC):
    """A database, reached through SQLAlchemy.

    Args:
        url: Where it is.
        engine: Connects to it.
    """

    begin_reading: Sequence[str]
    """Statements that begin a transaction which sees one state of the database, whatever others commit meanwhile."""

    begin_writing: Sequence[str]
    """Statements that begin a transaction which may write."""

    path: Path | None = None
    """The file of a SQLite database."""

    def __init__(self, url: sa.URL, engine: sa.Engine) -> None:
        self._url = url
        self._engine = engine

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return shown(self._url)

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """One transaction that sees one state of the database, and changes nothing."""
        return self._transaction(self.begin_reading)

    def writing(self) -> AbstractContextManager[sa.Connection]:
        """One transaction: all of it is committed at the end, or nothing."""
        return self._transaction(self.begin_writing)

    @contextmanager
    def _transaction(self, begin: Sequence[str]) -> Iterator[sa.Connection]:
        with self.told(), self._engine.begin() as connection:
            for statement in begin:
                connection.exec_driver_sql(statement)
            yield connection

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn errors of the database into errors of the ledger.

        Raises:
            LedgerBusyError: Another transaction was in the way for too long.
            LedgerLostError: The connection was lost.
            LedgerError: Anything else.
        """
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise self._error(error) from error

    def _busy(self) -> LedgerBusyError:
        return LedgerBusyError(f"Another run holds the ledger {self.shown}; nothing was changed. Run again later.")

    def _unusable(self, error: sa.exc.DBAPIError, advice: str) -> LedgerError:
        found = " ".join(str(error.orig).split())
        return LedgerError(f"The ledger {self.shown} cannot be used: {found}. {advice}")

    @abstractmethod
    def _error(self, error: sa.exc.DBAPIError) -> Exception:
        """The error of the ledger that an error of the driver stands for."""

    @abstractmethod
    def sole(self, purpose: str) -> AbstractContextManager[bool]:
        """Hold the right to do something alone; False where another process has it. It dies with its process."""

    @abstractmethod
    def lock(self, connection: sa.Connection, purpose: str) -> None:
        """Wait until nobody else does something in a transaction of theirs, and keep them out until this one ends."""

    @abstractmethod
    def problems(self) -> list[str]:
        """What the database says about its own integrity; empty where it has nothing to say."""

    @abstractmethod
    def vacuum(self) -> None:
        """Give back the room of what was deleted."""

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def shown(url: sa.URL) -> str:
    """A URL without its password, wherever it stands."""
    kept = {name: "***" if name in _SECRETS else value for name, value in url.query.items()}
    return url.set(query=kept).render_as_string(hide_password=True)
