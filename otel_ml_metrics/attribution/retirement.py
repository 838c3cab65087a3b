"""Which part of the past is closed for good: its predictions and labels are gone, and its windows keep their sums."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from otel_ml_metrics.attribution.tables import RETIRED
from otel_ml_metrics.instants import date_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.attribution.calendar import Calendar


@dataclass(frozen=True)
class Era:
    """Windows that were retired under one definition.

    Args:
        before_us: The first instant that is not retired, a midnight UTC; windows that start before it are.
        definition: What their sums mean.
    """

    before_us: int
    definition: Mapping[str, Any]


@dataclass(frozen=True)
class Retirement:
    """What a ledger has retired.

    Args:
        eras: The oldest first; each goes on where the one before ends.
    """

    eras: tuple[Era, ...] = ()

    @property
    def before_us(self) -> int | None:
        """The first instant that is not retired; None where nothing is."""
        return self.eras[-1].before_us if self.eras else None

    @property
    def before(self) -> str | None:
        """The first UTC date that is not retired; None where nothing is."""
        return None if self.before_us is None else date_of(self.before_us)

    def is_retired(self, date: str | None) -> bool:
        """Whether the predictions of a UTC date are."""
        return self.before is not None and date is not None and date < self.before

    def first_window(self, calendar: Calendar) -> int | None:
        """Start of the first window of which everything is left; None where nothing was retired."""
        if self.before_us is None:
            return None
        window = calendar.window_of(self.before_us)
        return window if window == self.before_us else calendar.end_of(window)

    def era_of(self, window_us: int) -> Era | None:
        """The era in which a window was retired; None for one that was not."""
        return next((era for era in self.eras if window_us < era.before_us), None)

    def up_to(self, before_us: int, definition: Mapping[str, Any]) -> Retirement:
        """The same, and everything up to an instant under a definition."""
        before = self.eras[:-1] if self.eras and self.eras[-1].definition == definition else self.eras
        return Retirement((*before, Era(before_us, definition)))

    def to_table(self) -> pa.Table:
        """As the ledger keeps it."""
        rows = [
            {"before_us": era.before_us, "definition": json.dumps(dict(era.definition), sort_keys=True)}
            for era in self.eras
        ]
        return pa.Table.from_pylist(rows, RETIRED)

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """As the ledger kept it."""
        return cls(tuple(Era(row["before_us"], json.loads(row["definition"])) for row in table.to_pylist()))
