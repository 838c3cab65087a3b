"""Which series have which times: what is sent once is never sent with another value, however long ago it was.

Per time the ledger keeps a digest of each series, 16 bytes, side by side in ascending order. It stays when the points
themselves have left the outbox.
"""

from __future__ import annotations

import hashlib
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from otel_ml_metrics.ledger.rows import chosen, replace
from otel_ml_metrics.ledger.schema import emitted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH: Final = 16
"""Bytes of a digest; two series of one time share one in 2^128 cases."""


def digest(series: str) -> bytes:
    """What is kept of a series."""
    return hashlib.blake2b(series.encode(), digest_size=WIDTH).digest()


def pack(digests: Iterable[bytes]) -> bytes:
    """Digests side by side, each once, ascending."""
    return b"".join(sorted(set(digests)))


def unpack(packed: bytes) -> set[bytes]:
    """The digests that were packed."""
    return {packed[at : at + WIDTH] for at in range(0, len(packed), WIDTH)}


def among(connection: sa.Connection, pairs: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
    """Those pairs of series and time that the ledger knows."""
    wanted = set(pairs)
    known = _digests(connection, sorted({time for _, time in wanted}))
    return {(series, time) for series, time in wanted if digest(series) in known.get(time, ())}


def note(connection: sa.Connection, pairs: Iterable[tuple[str, int]]) -> None:
    """Keep pairs of series and time."""
    ordered = sorted(pairs, key=itemgetter(1))
    times = {time: {digest(series) for series, _ in group} for time, group in groupby(ordered, key=itemgetter(1))}
    known = _digests(connection, sorted(times))
    packed = [(time, pack(found | known.get(time, set()))) for time, found in times.items()]
    replace(connection, emitted, ("time_unix_nano", "series"), packed)


def _digests(connection: sa.Connection, times: Sequence[int]) -> dict[int, set[bytes]]:
    found: dict[int, set[bytes]] = {}
    for some in chosen(connection, emitted.c.time_unix_nano, times):
        rows = connection.execute(sa.select(emitted).where(some))
        found |= {row.time_unix_nano: unpack(row.series) for row in rows}
    return found
