"""Which dates of the prediction log can hold the predictions of some labels.

An id of ours is a UUIDv7: its first 48 bits are `predicted_at` in milliseconds, so its date can be read from it.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX_LENGTH: Final = 8
"""Leading hexadecimal digits that are compared: the top 32 of 48 bits, which is a step of 65.536 seconds."""

_STEP_MS: Final = 1 << 16
_PREFIX: Final = re.compile(rf"[0-9a-f]{{{PREFIX_LENGTH}}}")


def id_range(day: str) -> tuple[str, str]:
    """First and last (not included) id prefix of a UTC date, as ids of ours sort as text.

    >>> id_range("2013-04-09")
    ('013dec30-3000', '013df156-8c00')
    """
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return _id_prefix(start), _id_prefix(start + timedelta(days=1))


def _id_prefix(instant: datetime) -> str:
    digits = f"{max(int(instant.timestamp() * 1000), 0):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def dates_of_prefixes(prefixes: Iterable[str]) -> set[str]:
    """UTC dates that ids with these leading digits can be of; what is no prefix of an id of ours is passed over."""
    dates: set[str] = set()
    for prefix in prefixes:
        if _PREFIX.fullmatch(prefix):
            start = int(prefix, 16) * _STEP_MS
            dates |= {_date_of_ms(start), _date_of_ms(start + _STEP_MS - 1)}
    return dates


def _date_of_ms(milliseconds: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=milliseconds // 86_400_000)).isoformat()
