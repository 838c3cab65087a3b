"""Which dates of the prediction log can hold the predictions of some labels.

An id of ours is a UUIDv7: its first 48 bits are `predicted_at` in milliseconds, so its date can be read from it.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import date
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from otel_ml_metrics.instants import DAY_US

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX_LENGTH: Final = 8
"""Leading characters that ids are grouped by: of ours the top 32 of 48 bits, which is a step of 65.536 seconds."""

OURS: Final = "^[0-9a-f]{8}-[0-9a-f]{4}-7"
"""Regular expression of ids that tell their instant."""


_DAY_MS: Final = DAY_US // 1_000
_EPOCH: Final = date(1970, 1, 1).toordinal()


def id_range(day: str) -> tuple[str, str]:
    """First and last (not included) id prefix of a UTC date, as ids of ours sort as text.

    >>> id_range("2013-04-09")
    ('013dec17-9000', '013df13d-ec00')
    """
    start_ms = (date.fromisoformat(day).toordinal() - _EPOCH) * _DAY_MS
    return _id_prefix(start_ms), _id_prefix(start_ms + _DAY_MS)


def _id_prefix(instant_ms: int) -> str:
    digits = f"{max(instant_ms, 0):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def count_earlier(ids: pa.ChunkedArray[Any], day: str) -> int:
    """How many ids of ours tell a UTC date before this one.

    >>> count_earlier(pa.chunked_array([["013dec17-8fff-7000-8000-000000000001", "a-1"]]), "2013-04-09")
    1
    """
    ours = pc.match_substring_regex(ids, OURS)
    earlier = pc.less(ids, pa.scalar(id_range(day)[0], ids.type))
    return int(pc.sum(pc.and_(ours, earlier).cast(pa.int64())).as_py() or 0)


def dates_among(spans: Iterable[tuple[str, str]], dates: Iterable[str]) -> set[str]:
    """The dates among whose ids of ours some ids sort, whatever form they have.

    Args:
        spans: The smallest and the largest of the ids with the same leading characters, for each of these. Both count:
            a step of 65 seconds may reach over midnight, and one date more is as much again to read.
        dates: UTC dates.

    >>> sorted(dates_among([("013dec17-9001-7", "013dec18-0000-7")], ["2013-04-08", "2013-04-09", "2013-04-10"]))
    ['2013-04-09']
    """
    ordered = sorted(spans)
    found = set()
    for day in dates:
        first, end = id_range(day)
        place = bisect_left(ordered, first, key=itemgetter(1))
        if place < len(ordered) and ordered[place][0] < end:
            found.add(day)
    return found
