"""How values, windows, arms and instants are written for people, wherever they read them."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

Arm = tuple[str | None, str | None]  # version and variant

MISSING: Final = "-"
"""Stands where a measure is undefined, its window is not final yet, or an arm has no name."""


def arm_names(arms: Iterable[Arm]) -> dict[Arm, str]:
    """Order the arms, the champion first, and name each by what tells it from the others.

    >>> arm_names([("2", "challenger"), ("1", "champion")])
    {('1', 'champion'): 'champion', ('2', 'challenger'): 'challenger'}
    """
    known = sorted(arms, key=lambda arm: (arm[1] != "champion", str(arm[1]), str(arm[0])))
    for part in (1, 0):
        names = {arm: arm[part] or MISSING for arm in known}
        if len(set(names.values())) == len(known):
            return names
    return {arm: f"{arm[1] or MISSING} {arm[0] or MISSING}" for arm in known}


def measure_name(name: str, unit: str) -> str:
    """Name a measure, with its unit where it has one.

    >>> measure_name("log_loss", "nat"), measure_name("roc_auc", "1"), measure_name("positives", "{prediction}")
    ('log loss, nat', 'roc auc', 'positives')
    """
    spoken = name.replace("_", " ")
    return spoken if unit == "1" or unit.startswith("{") else f"{spoken}, {unit}"


def minute(instant: datetime) -> str:
    """Write an instant in UTC, to the minute."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M}Z"


def window_name(start: datetime, end: datetime) -> str:
    """Name a window by its date if it is one in UTC, else by its start and length."""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    if end - start == timedelta(days=1) and start.time() == end.time() == start.min.time():
        return f"{start:%Y-%m-%d}"
    return f"{minute(start)} +{end - start}"


def number(value: float) -> str:
    """Write a value with three decimals, large ones with none.

    >>> number(0.81234), number(18234.4), number(-3.0)
    ('0.812', '18,234', '-3.000')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"  # noqa: PLR2004 - a matter of taste
