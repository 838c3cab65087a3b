"""The outbox: committed points that wait for the receiver, sent by one sender at a time, oldest version first."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import sqlalchemy as sa

from otel_ml_metrics.ledger.schema import outbox, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from otel_ml_metrics.ledger.store import Ledger

BATCH: Final = 5_000
"""Points that are read, sent and marked at a time."""

_CHUNK: Final = 500
"""Runs of rows that one statement names; SQLite takes a thousand alternatives."""

REFUSED: Final = ("rejected", "partial")
"""What became of points that the receiver refused for good, or that came with others that it did."""

_DONE: Final = ("accepted", "superseded")


class WaitingPoint(NamedTuple):
    """One point of the outbox.

    Args:
        id: Its row.
        point: JSON.
    """

    id: int
    point: str


@dataclass(frozen=True)
class Refusal:
    """Points that a receiver refused for the same reason.

    Args:
        status: `rejected`; or `partial`, where the receiver did not say which ones of a request it refused.
        message: What it said.
        points: How many.
    """

    status: str
    message: str
    points: int


class Outbox:
    """The waiting points of a ledger.

    Args:
        ledger: Where they were committed.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._database = ledger.database

    def sole_sender(self) -> AbstractContextManager[bool]:
        """Hold the right to send; False where another process has it. The lock dies with its process."""
        return self._database.sole("sender")

    def supersede(self) -> int:
        """Drop waiting points for which a newer version of the same series and time waits; how many."""
        newest_first = (
            sa.func.row_number()
            .over(partition_by=(outbox.c.series, outbox.c.time_unix_nano), order_by=outbox.c.id.desc())
            .label("age")
        )
        aged = sa.select(outbox.c.id, newest_first).where(outbox.c.status == "waiting").subquery()
        old = sa.update(outbox).where(outbox.c.id.in_(sa.select(aged.c.id).where(aged.c.age > 1)))
        with self._database.writing() as connection:
            return connection.execute(old.values(status="superseded")).rowcount

    def waiting(self, *, after: int = 0, limit: int = BATCH) -> list[WaitingPoint]:
        """The oldest waiting points."""
        query = (
            sa.select(outbox.c.id, outbox.c.point)
            .where(outbox.c.status == "waiting", outbox.c.id > after)
            .order_by(outbox.c.id)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [WaitingPoint(*row) for row in connection.execute(query)]

    def current(self) -> list[str]:
        """What is now, as the newest run with points had it: those that it stamped with its own time, as JSON.

        They outlast `prune`, since there is always a newest run.
        """
        newest = sa.select(outbox.c.version).order_by(outbox.c.id.desc()).limit(1).scalar_subquery()
        query = (
            sa.select(outbox.c.point)
            .join(run, run.c.version == outbox.c.version)
            .where(outbox.c.version == newest, outbox.c.time_unix_nano == run.c.committed_us * 1_000)
            .order_by(outbox.c.id)
        )
        with self._database.reading() as connection:
            return list(connection.scalars(query))

    def count(self, status: str = "waiting") -> int:
        """How many points are waiting, accepted, rejected, partial or superseded."""
        query = sa.select(sa.func.count()).select_from(outbox).where(outbox.c.status == status)
        with self._database.reading() as connection:
            return connection.scalar(query) or 0

    def counts(self) -> dict[str, int]:
        """How many points there are, by status."""
        query = sa.select(outbox.c.status, sa.func.count()).group_by(outbox.c.status).order_by(outbox.c.status)
        with self._database.reading() as connection:
            return dict(connection.execute(query).tuples().all())

    def refusals(self) -> list[Refusal]:
        """The points that a receiver refused, by what it said, the most frequent first."""
        how_many, message = sa.func.count(), sa.func.coalesce(outbox.c.message, sa.literal_column("''"))
        query = (
            sa.select(outbox.c.status, message, how_many)
            .where(outbox.c.status.in_(REFUSED))
            .group_by(outbox.c.status, message)
            .order_by(how_many.desc(), outbox.c.status.desc(), message)
        )
        with self._database.reading() as connection:
            return [Refusal(*row) for row in connection.execute(query)]

    def mark(self, status: str, ids: Sequence[int], messages: Mapping[int, str] | None = None) -> None:
        """Note what became of points."""
        if not ids:
            return
        alike: dict[str | None, list[int]] = {}
        for each in ids:
            alike.setdefault((messages or {}).get(each), []).append(each)
        with self._database.writing() as connection:
            for message, rows in alike.items():
                runs = [outbox.c.id.between(*run) for run in _runs(rows)]
                for start in range(0, len(runs), _CHUNK):
                    some = sa.update(outbox).where(sa.or_(*runs[start : start + _CHUNK]))
                    connection.execute(some.values(status=status, message=message))

    def requeue(self) -> int:
        """Let the points that a receiver refused wait again; how many. Sending some twice does no harm."""
        refused = sa.update(outbox).where(outbox.c.status.in_(REFUSED))
        with self._database.writing() as connection:
            return connection.execute(refused.values(status="waiting", message=None)).rowcount

    def prune(self, *, before_us: int) -> int:
        """Delete points that were accepted or superseded and belong to runs before an instant; how many.

        What was sent once stays known (`Ledger.emitted`). Points that wait or were refused stay, however old.
        """
        kept = sa.select(sa.func.min(run.c.version)).where(run.c.committed_us >= before_us).scalar_subquery()
        first_kept = sa.select(outbox.c.id).where(outbox.c.version >= kept).order_by(outbox.c.id).limit(1)
        with self._database.writing() as connection:
            done = sa.delete(outbox).where(outbox.c.status.in_(_DONE))
            first = connection.scalar(first_kept)
            if first is not None:
                done = done.where(outbox.c.id < first)
            return connection.execute(done).rowcount


def _runs(ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of the ids that follow one another without a gap."""
    for _, each in itertools.groupby(enumerate(sorted(set(ids))), key=lambda placed: placed[1] - placed[0]):
        run = [number for _, number in each]
        yield run[0], run[-1]
