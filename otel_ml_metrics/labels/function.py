"""Labels that a Python function gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics.attribution.inputs import LABEL, Input, LabelPart, Survey
from otel_ml_metrics.errors import LabelSourceError
from otel_ml_metrics.instants import DAY_US, from_us, iso
from otel_ml_metrics.sources.tabular import tables_of
from otel_ml_metrics.sources.values import as_one

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.declared_labels import LabelFunction

NAME: Final = "function"
"""Of the only input that there is."""


class LabelsOfFunction:
    """What a function gives. It says of itself what it has for a stretch of time; nobody can see if that changes.

    Args:
        labels: The function, and the columns of what it gives.
    """

    def __init__(self, labels: LabelFunction) -> None:
        self._shown = labels.shown
        self._call = labels.call

    def survey(self, known: Mapping[str, Input], *, as_of_us: int) -> Survey:
        """What was received since it was asked."""
        after_us = known[NAME].taken_until_us if NAME in known else None
        return self._survey(after_us, as_of_us, taken_us=after_us)

    def again(self, known: Mapping[str, Input], *, since_us: int, until_us: int) -> Survey:
        """What was received in a stretch of time, as the function has it now."""
        return self._survey(since_us - 1, until_us) if NAME in known else Survey()

    def glance(self, *, now_us: int) -> Survey:
        """What was received within the last day."""
        return self._survey(now_us - DAY_US, now_us)

    def _survey(self, after_us: int | None, until_us: int, *, taken_us: int | None = None) -> Survey:
        after = None if after_us is None else from_us(after_us)
        try:
            tables = list(tables_of(self._call(after, from_us(until_us))))
            table = as_one(tables) if tables else None
        except Exception as error:
            asked = f"labels received until {iso(from_us(until_us))}" + (f", after {iso(after)}" if after else "")
            message = (
                f"The {self._shown} failed when it was asked for {asked}: {type(error).__name__}: {error}. Nothing was"
                " changed; mend it and run again."
            )
            raise LabelSourceError(message) from error
        if table is None:
            return Survey()
        return Survey([LabelPart(Input(LABEL, NAME), self._shown, "table", taken_us, table)])
