"""Blocks of facts: each commit adds one to a date, and once there are many of about one size they become one.

So a row is written again once per sixteenfold growth of its date, a date has few blocks, and none outgrows a cell.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from math import ceil, log
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import sqlalchemy as sa

from otel_ml_metrics.ledger.schema import decode, encode, fact_block

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future

MOST_BLOCKS: Final = 16
"""Blocks of one level and one date before they are merged."""

SMALL_BYTES: Final = 64 * 1024
"""Blocks up to here are of level 0; each level is MOST_BLOCKS times larger than the one below."""

LARGE_BYTES: Final = 8 * 1024**2
"""Blocks from here on stay as they are: a cell holds 1 GB at most, and merging takes memory."""

_AHEAD: Final = 2
"""Blocks that are compressed while one is written."""


def encoded(facts: Mapping[str, pa.Table]) -> Iterator[tuple[str, bytes]]:
    """The block of each date, by date; the next ones are compressed while the caller writes one."""
    with ThreadPoolExecutor(_AHEAD) as pool:
        waiting: deque[tuple[str, Future[bytes]]] = deque()
        for date in sorted(facts):
            waiting.append((date, pool.submit(encode, facts[date])))
            if len(waiting) > _AHEAD:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)


def _next(waiting: deque[tuple[str, Future[bytes]]]) -> tuple[str, bytes]:
    date, block = waiting.popleft()
    return date, block.result()


def add_block(connection: sa.Connection, date: str, block: bytes, version: int) -> None:
    """Add labels that were applied to predictions of a date, as they were encoded."""
    table = fact_block
    size = sa.func.length(table.c.facts).label("size")
    query = sa.select(table.c.id, size).where(table.c.date == date).order_by(table.c.id.desc())
    earlier: Sequence[sa.Row[Any]] = connection.execute(query).all()
    while alike := _alike(earlier, len(block)):
        earlier = earlier[len(alike) :]
        some = table.c.id.in_(alike)
        stored = connection.scalars(sa.select(table.c.facts).where(some).order_by(table.c.id))
        block = encode(pa.concat_tables([decode(each, f"block of labels of {date}") for each in (*stored, block)]))
        connection.execute(sa.delete(table).where(some))
    connection.execute(sa.insert(table), [{"date": date, "version": version, "facts": block}])


def _alike(earlier: Sequence[sa.Row[Any]], size: int) -> list[int]:
    """Ids of the newest blocks that are to be merged with one of this size; empty while they are too few."""
    newest = takewhile(lambda row: row.size < LARGE_BYTES and _level(row.size) <= _level(size), earlier)
    ids = [row.id for row in newest]
    return ids if len(ids) + 1 >= MOST_BLOCKS else []


def _level(size: int) -> int:
    return max(0, ceil(log(size / SMALL_BYTES, MOST_BLOCKS)))
