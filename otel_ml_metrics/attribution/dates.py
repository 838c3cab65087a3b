"""Which dates of the prediction log can hold the predictions of some labels.

An id of ours is a UUIDv7: its first 48 bits are `predicted_at` in milliseconds, so its date can be read from it.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX_LENGTH: Final = 8
"""Leading characters that are compared: of an id of ours the top 32 of 48 bits, which is a step of 65.536 seconds."""


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
