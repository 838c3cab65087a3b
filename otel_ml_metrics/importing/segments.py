"""The rows of a stretch on their way into segments: kept apart by date, written some at a time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from otel_ml_metrics.importing.progress import hidden_name, shown_name
from otel_ml_metrics.instants import DAY_US, date_of
from otel_ml_metrics.prediction_log import arrow

if TYPE_CHECKING:
    from otel_ml_metrics.importing.progress import ImportFolder

MOST_ROWS: Final = 500_000
"""Rows that are kept in memory before they are written."""


class SegmentWriter:
    """Writes the segments of one stretch, hidden until it is committed.

    Args:
        folder: Where.
        stretch: Number of the stretch.
    """

    def __init__(self, folder: ImportFolder, stretch: int) -> None:
        self._folder = folder
        self._stretch = stretch
        self._parts: dict[str, int] = {}
        self._kept: dict[str, list[pa.Table]] = {}
        self._rows_kept = 0
        self.rows = 0
        self.names: dict[str, str] = {}

    def add(self, table: pa.Table) -> None:
        """Take rows in."""
        days = table.column("predicted_at").cast(pa.int64()).to_numpy() // DAY_US
        for day in np.unique(days).tolist():
            of_day = arrow.chosen(table, days == day)
            self._kept.setdefault(date_of(day * DAY_US), []).append(of_day)
        self.rows += len(table)
        self._rows_kept += len(table)
        if self._rows_kept >= MOST_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        for date, tables in sorted(self._kept.items()):
            part = self._parts.get(date, 0)
            self._parts[date] = part + 1
            hidden = hidden_name(self._stretch, date, part)
            self._folder.write(hidden, partial(arrow.write, arrow.joined(tables)))
            self.names[hidden] = shown_name(self._stretch, date, part)
        self._kept = {}
        self._rows_kept = 0
