"""Which dates of the prediction log can hold the predictions of some labels.

An id of ours is a UUIDv7: its first 48 bits are `predicted_at` in milliseconds, so its date can be read from it.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX_LENGTH: Final = 8
"""Leading characters that are compared: of an id of ours the top 32 of 48 bits, which is a step of 65.536 seconds."""

OURS: Final = "^[0-9a-f]{8}-[0-9a-f]{4}-7"
"""Regular expression of ids that tell their instant."""


def id_range(day: str) -> tuple[str, str]:
    """First and last (not included) id prefix of a UTC date, as ids of ours sort as text.

    >>> id_range("2013-04-09")
    ('013dec17-9000', '013df13d-ec00')
    """
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return _id_prefix(start), _id_prefix(start + timedelta(days=1))


def _id_prefix(instant: datetime) -> str:
    digits = f"{max(int(instant.timestamp() * 1000), 0):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def count_earlier(ids: pa.ChunkedArray[Any], day: str) -> int:
    """How many ids of ours tell a UTC date before this one.

    >>> count_earlier(pa.chunked_array([["013dec17-8fff-7000-8000-000000000001", "a-1"]]), "2013-04-09")
    1
    """
    ours = pc.match_substring_regex(ids, OURS)
    earlier = pc.less(ids, pa.scalar(id_range(day)[0], ids.type))
    return int(pc.sum(pc.and_(ours, earlier).cast(pa.int64())).as_py() or 0)


def dates_among(prefixes: Iterable[str], dates: Iterable[str]) -> set[str]:
    """The dates among whose ids of ours some ids with these leading characters sort, whatever form they have."""
    ordered = sorted(prefixes)
    found = set()
    for day in dates:
        first, last = (each[:PREFIX_LENGTH] for each in id_range(day))
        place = bisect_left(ordered, first)
        if place < len(ordered) and ordered[place] <= last:
            found.add(day)
    return found
