"""Which new labels may wait for company: reading a date of the log for a handful of labels costs as much as for many.

A label is held back only as long as no final value could differ by it, so the law of final values stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_ml_metrics.instants import DAY_US

if TYPE_CHECKING:
    from otel_ml_metrics.attribution.calendar import Calendar
    from otel_ml_metrics.declared import HoldBack


@dataclass(frozen=True)
class DatedLabels:
    """Labels that are not applied yet, of the predictions of a UTC date.

    Args:
        day: The date, in days since 1970-01-01.
        labels: How many.
        first_us: When the first of them was received.
    """

    day: int
    labels: int
    first_us: int


def may_wait(found: DatedLabels, hold_back: HoldBack, calendar: Calendar, *, as_of_us: int) -> bool:
    """Whether the labels of a date can be left for a later run: few, recent, and of no value that is final.

    A label that was received d after the end of its prediction's date has a delay of more than d, so it belongs to no
    maturity up to d; and nothing of the date is final at a maturity before its earliest window is.
    """
    if found.labels >= hold_back.below or as_of_us - found.first_us >= hold_back.at_most.us:
        return False
    start_us = found.day * DAY_US
    delay_us = found.first_us - (start_us + DAY_US)
    final_for_us = as_of_us - calendar.end_of(calendar.window_of(start_us))
    return not any(delay_us < maturity.us <= final_for_us for maturity in calendar.maturities)
