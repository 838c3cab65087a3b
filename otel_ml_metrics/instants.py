"""Instants and durations: aware datetimes at the edge, whole microseconds of Unix time inside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from otel_ml_metrics.errors import InstantError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_US: Final = 1_000_000
DAY_US: Final = 86_400 * SECOND_US

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "min": 60, "s": 1}
_DURATION: Final = re.compile(r"\s*(\d+)\s*(w|d|h|min|m|s)\s*")


class Duration(timedelta):
    """A positive whole number of seconds that is shown as it was declared.

    >>> Duration("6h"), Duration("6h").total_seconds(), str(Duration(timedelta(days=3)))
    (Duration('6h'), 21600.0, '3d')

    Args:
        declared: Text such as `90s`, `15m`, `6h`, `1d`, `2w`, or a timedelta, which is shown in its largest whole unit.

    Raises:
        ValueError: The text is no duration, or it is not a whole number of seconds above 0.
    """

    text: str

    def __new__(cls, declared: str | timedelta) -> Self:
        """Read the text, or take the timedelta over."""
        if isinstance(declared, Duration):
            seconds, text = declared.seconds_whole, declared.text
        elif isinstance(declared, timedelta):
            seconds, text = _seconds_of(declared)
        else:
            seconds, text = _seconds_in(declared)
        self = super().__new__(cls, seconds=seconds)
        self.text = text
        return self

    @property
    def seconds_whole(self) -> int:
        """The duration in seconds."""
        return self // timedelta(seconds=1)

    @property
    def us(self) -> int:
        """The duration in microseconds."""
        return self.seconds_whole * SECOND_US

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Duration({self.text!r})"

    def __reduce__(self) -> tuple[type[Duration], tuple[str]]:
        return (Duration, (self.text,))


def _seconds_in(text: str) -> tuple[int, str]:
    parts = _DURATION.fullmatch(str(text))
    if parts is None or int(parts[1]) == 0:
        message = f"{text!r} is no duration. Write a whole number above 0 and a unit: 90s, 15m, 6h, 1d or 2w."
        raise ValueError(message)
    return int(parts[1]) * _UNITS[parts[2]], str(text).strip()


def _seconds_of(duration: timedelta) -> tuple[int, str]:
    seconds = duration // timedelta(seconds=1)
    if seconds <= 0 or timedelta(seconds=seconds) != duration:
        message = f"{duration!r} is no duration that can be used here. Give a whole number of seconds above 0."
        raise ValueError(message)
    unit = next(name for name in ("d", "h", "m", "s") if seconds % _UNITS[name] == 0)
    return seconds, f"{seconds // _UNITS[unit]}{unit}"


def to_us(instant: datetime) -> int:
    """Microseconds of Unix time of an aware instant.

    Raises:
        InstantError: The instant has no zone, so it names no moment.
    """
    if instant.tzinfo is None or instant.utcoffset() is None:
        told = instant.isoformat()
        message = f"{told} has no time zone. Instants are UTC here: give one with its zone, such as {told}Z."
        raise InstantError(message)
    return (instant - EPOCH) // timedelta(microseconds=1)


def from_us(microseconds: int) -> datetime:
    """The UTC instant of microseconds of Unix time."""
    return EPOCH + timedelta(microseconds=microseconds)


def iso(instant: datetime) -> str:
    """ISO 8601 in UTC, as in `2013-04-09T00:00:00Z`."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def floor_us(instant_us: int, *, step_us: int, offset_us: int = 0) -> int:
    """Start of the aligned step that holds an instant; steps are aligned to the epoch plus the offset."""
    return (instant_us - offset_us) // step_us * step_us + offset_us


def date_of(instant_us: int) -> str:
    """UTC date of an instant, as the prediction log names its partitions."""
    return from_us(instant_us).date().isoformat()
