"""The outbox: committed points that wait for the receiver, sent by one sender at a time, oldest version first."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from otel_ml_metrics.ledger.schema import outbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from otel_ml_metrics.ledger.store import Ledger

BATCH: Final = 5_000
"""Points that are read, sent and marked at a time."""

_SENDER_LOCK: Final = 0x6F746C6D
"""Key of the advisory lock on PostgreSQL."""


@dataclass(frozen=True)
class WaitingPoint:
    """One point of the outbox.

    Args:
        id: Its row.
        point: JSON.
    """

    id: int
    point: str


class Outbox:
    """The waiting points of a ledger.

    Args:
        ledger: Where they were committed.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @contextmanager
    def sole_sender(self) -> Iterator[bool]:
        """Hold the right to send; False where another process has it. The lock dies with its process."""
        path = self._ledger.path
        if path is None:
            with self._ledger.transaction() as connection:
                key = {"key": _SENDER_LOCK}
                yield bool(connection.scalar(sa.text("SELECT pg_try_advisory_xact_lock(:key)"), key))
            return
        with path.with_name(f"{path.name}.sender").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def supersede(self) -> int:
        """Drop waiting points for which a newer version of the same series and time waits; how many."""
        newest = (
            sa.select(sa.func.max(outbox.c.id).label("id"))
            .where(outbox.c.status == "waiting")
            .group_by(outbox.c.series, outbox.c.time_unix_nano)
        )
        old = sa.update(outbox).where(outbox.c.status == "waiting", outbox.c.id.not_in(newest))
        with self._ledger.transaction() as connection:
            return int(connection.execute(old.values(status="superseded")).rowcount)

    def waiting(self, *, after: int = 0, limit: int = BATCH) -> list[WaitingPoint]:
        """The oldest waiting points."""
        query = (
            sa.select(outbox.c.id, outbox.c.point)
            .where(outbox.c.status == "waiting", outbox.c.id > after)
            .order_by(outbox.c.id)
            .limit(limit)
        )
        with self._ledger.transaction() as connection:
            return [WaitingPoint(*row) for row in connection.execute(query)]

    def count(self, status: str = "waiting") -> int:
        """How many points are waiting, accepted, rejected, partial or superseded."""
        query = sa.select(sa.func.count()).select_from(outbox).where(outbox.c.status == status)
        with self._ledger.transaction() as connection:
            return int(connection.scalar(query) or 0)

    def mark(self, status: str, ids: Sequence[int], messages: Mapping[int, str] | None = None) -> None:
        """Note what became of points."""
        if not ids:
            return
        told = messages or {}
        rows = [{"row": each, "told": told.get(each)} for each in ids]
        statement = sa.update(outbox).where(outbox.c.id == sa.bindparam("row"))
        with self._ledger.transaction() as connection:
            connection.execute(statement.values(status=status, message=sa.bindparam("told")), rows)
