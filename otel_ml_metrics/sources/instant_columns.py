"""How the instants of a database column compare there, whatever type they have.

Where a column has a zone, bounds are exact. Where it has none, or holds dates or ISO 8601 text, the database compares
days only, and the rows of a few days around a bound are looked at one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from otel_ml_metrics.instants import DAY_US, from_us, to_us

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

_FIRST_US: Final = to_us(datetime(2, 1, 1, tzinfo=UTC))
_LAST_US: Final = to_us(datetime(9998, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class InstantColumn:
    """A column of instants.

    Args:
        column: The column.
        example: One of its values, which tells the kind of all.
        zone: Of instants that name none.
    """

    column: ColumnElement[Any]
    example: object
    zone: tzinfo = UTC

    @property
    def is_exact(self) -> bool:
        """Whether the database compares exact instants."""
        return isinstance(self.example, datetime) and self.example.utcoffset() is not None

    @property
    def is_known(self) -> bool:
        """Whether values are instants, or may be as text."""
        return isinstance(self.example, (date, str))

    def after(self, instant_us: int) -> ColumnElement[bool]:
        """Later than an instant, or not clearly earlier."""
        if self.is_exact:
            return self.column > self._literal(instant_us)
        return self.column >= self._literal(instant_us - DAY_US)

    def clearly_until(self, instant_us: int) -> ColumnElement[bool]:
        """Every row that is not `after` an instant; all of them are earlier."""
        if self.is_exact:
            return self.column <= self._literal(instant_us)
        return self.column < self._literal(instant_us - DAY_US)

    def until(self, instant_us: int) -> ColumnElement[bool]:
        """Not later than an instant, or not clearly later."""
        if self.is_exact:
            return self.column <= self._literal(instant_us)
        return self.column < self._literal(instant_us + 2 * DAY_US)

    def us_of(self, value: object) -> int | None:
        """The instant that a value of the column names."""
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value.strip())
            except ValueError:
                return None
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if not isinstance(value, datetime):
            return None
        # Of an hour that a zone has twice, the later one: what comes in the second must not seem to be of the first.
        return to_us(value if value.utcoffset() is not None else value.replace(tzinfo=self.zone, fold=1))

    def _literal(self, instant_us: int) -> ColumnElement[Any]:
        instant = from_us(min(max(instant_us, _FIRST_US), _LAST_US))
        if isinstance(self.example, str):
            return sa.literal(instant.date().isoformat(), sa.String())
        if self.is_exact:
            return sa.literal(instant, sa.DateTime(timezone=True))
        local = instant.astimezone(self.zone)
        if isinstance(self.example, datetime):
            return sa.literal(local.replace(tzinfo=None), sa.DateTime())
        return sa.literal(local.date(), sa.Date())
