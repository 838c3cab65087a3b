"""Labels in a table or query of a database that grows by new rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.attribution.inputs import LABEL, Input, LabelPart, Survey
from otel_ml_metrics.errors import LabelSourceError
from otel_ml_metrics.instants import from_us, iso
from otel_ml_metrics.sources.past import Past
from otel_ml_metrics.sources.table_reading import Reader
from otel_ml_metrics.sources.values import as_one, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from otel_ml_metrics.declared_labels import LabelTable
    from otel_ml_metrics.sources.table_reading import TableReading

NAME: Final = "table"
"""Of the only input that there is; another table or query goes on where the one before was left."""

GLANCE: Final = 1_000
"""Rows that a check looks at."""


class LabelsInTable:
    """The rows of a database.

    Args:
        labels: Where they are.
        horizon_us: The longest label delay that is used: so far back rows are counted, to see if they stay.
    """

    def __init__(self, labels: LabelTable, *, horizon_us: int) -> None:
        self._shown = labels.shown
        self._received_at = labels.received_at
        self._horizon_us = horizon_us
        self._reader = Reader(
            labels, labels.columns, labels.received_at, labels.zone, where="labels", refusal=LabelSourceError
        )

    def survey(self, known: Mapping[str, Input], *, as_of_us: int) -> Survey:
        """The rows received since those that were taken."""
        past = _past(known)
        after_us = None if past is None else past.until_us
        with self._reader.look() as reading:
            rewritten = None if past is None else past.seen_again(reading).rewritten_us
            warnings = [] if rewritten is None else [self._rewritten(*rewritten)]
            rows = self._rows(reading, after_us, as_of_us)
            if not len(rows):
                return Survey(warnings=warnings)
            begins_us = reading.first_us() if past is None else past.begins_us
            now = replace(self._counted(reading, as_of_us), begins_us=begins_us, rewritten_us=rewritten)
        return Survey([LabelPart(_input(now), self._shown, "table", after_us, rows)], warnings)

    def again(self, known: Mapping[str, Input], *, since_us: int, until_us: int) -> Survey:
        """The rows of a stretch of time as they are now; what was received before the source begins may be gone."""
        past = _past(known)
        if past is None:
            return Survey()
        with self._reader.look() as reading:
            rows = self._rows(reading, since_us - 1, until_us)
            rewritten = past.seen_again(reading).rewritten_us
            now = replace(self._counted(reading, past.until_us), begins_us=past.begins_us)
            begins_us = reading.first_us()
        parts = [LabelPart(_input(now), self._shown, "table", table=rows, rewritten_us=rewritten)]
        if begins_us is None or past.begins_us is None or begins_us <= max(past.begins_us, since_us):
            return Survey(parts)
        warning = f"The {self._shown} begins at {iso(from_us(begins_us))} now; what it said of earlier labels stays."
        return Survey(parts, [warning], gone_before_us=begins_us)

    def glance(self, *, now_us: int) -> Survey:
        """A few rows, whichever come first."""
        del now_us
        with self._reader.look() as reading:
            rows = as_one([reading.some(GLANCE)])
        return Survey([LabelPart(Input(LABEL, NAME), self._shown, "table", table=rows)] if len(rows) else [])

    def _rows(self, reading: TableReading, after_us: int | None, until_us: int) -> pa.Table:
        return as_one([table_of([], self._reader.columns), *reading.tables(after_us, until_us)])

    def _counted(self, reading: TableReading, until_us: int) -> Past:
        return Past.counted(reading, since_us=until_us - self._horizon_us, until_us=until_us)

    def _rewritten(self, since_us: int, until_us: int) -> str:
        first, since, until = (iso(from_us(each)) for each in (since_us - self._horizon_us, since_us, until_us))
        return (
            f"The {self._shown} changed after it was read: its rows received between {since} and {until} are others"
            f" than those that were taken. What changed is not used. Run `otel-ml-metrics backfill` from {first} to"
            f" {until}. If rows are committed later than their {self._received_at!r} says, give runs an --as-of that"
            " lies that long in the past."
        )


def _past(known: Mapping[str, Input]) -> Past | None:
    return Past.of(known[NAME].stat) if NAME in known else None


def _input(past: Past) -> Input:
    """An input that remembers how the source looked."""
    fingerprint = "" if past.tally is None else f"{past.tally.rows}:{past.tally.digest}"
    return Input(LABEL, NAME, stat=past.to_text(), fingerprint=fingerprint)
