"""Whether a text is a cron, as Prefect reads them: five fields, sometimes six, or a name such as @daily."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Field:
    """One field of a cron.

    Args:
        name: For messages.
        least: Smallest number.
        most: Largest number.
        names: Words for numbers, from the smallest on.
        others: What else may stand there, as a pattern.
    """

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()
    others: str = r"(?!)"

    def number(self, text: str) -> int | None:
        """What a text says, None if it is no number or name of this field."""
        if text.lower() in self.names:
            return self.least + self.names.index(text.lower())
        return int(text) if text.isascii() and text.isdigit() and self.least <= int(text) <= self.most else None


_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

FIELDS: Final = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of the month", 1, 31, others=r"[?lL]"),
    Field("month", 1, 12, _MONTHS),
    Field("day of the week", 0, 7, _DAYS, others=r"\?|\w+#[1-5]|[lL]\w+"),
    Field("second", 0, 59),
)
"""The last one may be left out, and is as a rule."""

NAMES: Final = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")

_PART: Final = re.compile(r"(?P<from>\w+)(-(?P<to>\w+))?(/(?P<step>\d+))?|\*(/(?P<each>\d+))?")
_EXAMPLE: Final = "such as 7 * * * * for seven minutes after every hour"


def trouble_of(cron: str) -> str | None:
    """Say what is wrong with a cron.

    >>> trouble_of("*/15 6-18 * * mon-fri")
    >>> trouble_of("60 * * * *")
    "its minute is '60', expected 0 to 59, ranges such as 1-5, lists such as 1,5 and steps such as */10"

    Returns:
        What was found and what was expected; None where it is right.
    """
    parts = cron.split()
    if cron.strip() in NAMES:
        return None
    if len(parts) not in (len(FIELDS) - 1, len(FIELDS)):
        return f"it has {len(parts)} fields, expected minute, hour, day, month and weekday, {_EXAMPLE}"
    for field, text in zip(FIELDS, parts, strict=False):
        if not all(_fits(field, part) for part in text.split(",")):
            return (
                f"its {field.name} is {text!r}, expected {field.least} to {field.most}, ranges such as 1-5, lists such"
                " as 1,5 and steps such as */10"
            )
    return None


def _fits(field: Field, part: str) -> bool:
    if re.fullmatch(field.others, part):
        return True
    match = _PART.fullmatch(part)
    if match is None or "0" in (match["step"], match["each"]):
        return False
    if match["from"] is None:
        return True
    first, last = field.number(match["from"]), field.number(match["to"] or match["from"])
    return first is not None and last is not None
