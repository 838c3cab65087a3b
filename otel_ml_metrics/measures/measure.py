"""What a measure is: the sums it needs, and functions from their totals to a value, an interval and an error bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from otel_ml_metrics.measures.totals import State, Totals, add_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_ml_metrics.expressions import Kinds
    from otel_ml_metrics.measures.sums import Sum
    from otel_ml_metrics.presence import Columns

Direction = Literal["higher", "lower", "none"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Undefined:
    """Why a measure has no value: neither 0 nor NaN. It is counted by reason, and nothing is emitted.

    Args:
        reason: Such as `no_rows`, `no_positives`, `one_class` or `zero_denominator`.
    """

    reason: str


class Found(NamedTuple):
    """What a measure says of some totals.

    Args:
        value: In its unit.
        interval: Of 95 %, where theory gives one.
        certificate: Bound of the error that binning makes; None where nothing is binned.
    """

    value: float
    interval: Interval | None
    certificate: float | None


@dataclass(frozen=True, kw_only=True, repr=False)
class Measure:
    """One measure, as data.

    Args:
        name: Without prefix, in scikit-learn's words.
        unit: UCUM; `1` only for true fractions.
        description: One sentence.
        formula: In words of the sums, for the catalogue.
        source: Where the formula is from.
        undefined: When there is no value, for the catalogue. Without rows there never is one.
        direction: Whether a higher or a lower value is better.
        lowest: Smallest possible value.
        highest: Largest possible value.
        tasks: Tasks that it fits.
        sums: What it is computed from.
        support: Counts the rows behind it.
        value_from: The value from totals with support; the other functions are only asked where there is one.
        interval_from: The 95 % interval; None where there is no theory for it. It may leave the range.
        error_from: Bound of the error that binning makes; None for measures that are exact.
        over: Slice whose groups the value compares, where it does; `Totals.groups` has their totals.
        extensive: Whether the value grows with the number of rows, as a sum does: of a sample it has to be scaled up.
    """

    name: str
    unit: str
    description: str
    formula: str
    source: str
    undefined: str = "no rows"
    direction: Direction = "none"
    lowest: float = -math.inf
    highest: float = math.inf
    tasks: frozenset[str]
    sums: tuple[State, ...]
    support: Sum
    value_from: Callable[[Totals], float | Undefined]
    interval_from: Callable[[Totals], Interval | None] | None = None
    error_from: Callable[[Totals], float | None] | None = None
    over: str | None = None
    extensive: bool = False

    def __repr__(self) -> str:
        return f"<Measure {self.name}: {self.formula}>"

    @property
    def states(self) -> tuple[State, ...]:
        """Everything that has to be added up: the sums and the support, each once."""
        return tuple(dict.fromkeys((*self.sums, self.support)))

    def columns(self) -> frozenset[str]:
        """Names of the columns that a row needs."""
        return frozenset[str]().union(*(state.columns() for state in self.states))

    def value(self, totals: Totals) -> float | Undefined:
        """The value, or why there is none; cut to the range, which rounding may leave by a hair."""
        if not totals[self.support]:
            return Undefined("no_rows")
        found = self.value_from(totals)
        return found if isinstance(found, Undefined) else min(max(found, self.lowest), self.highest)

    def found(self, totals: Totals) -> Found | Undefined:
        """The value with its interval and certificate, computed once for the three of them; or why there is none."""
        value = self.value(totals)
        if isinstance(value, Undefined):
            return value
        certificate = None if self.error_from is None else self.error_from(totals)
        return Found(value, self._interval(totals, value), certificate)

    def interval(self, totals: Totals) -> Interval | None:
        """The 95 % interval, cut to the measure's range; None where theory gives none or the measure is undefined."""
        value = self.value(totals)
        return None if isinstance(value, Undefined) else self._interval(totals, value)

    def certificate(self, totals: Totals) -> float | None:
        """Bound of |value - exact value|; None for measures that are exact, and where the measure is undefined."""
        found = self.found(totals)
        return None if isinstance(found, Undefined) else found.certificate

    def _interval(self, totals: Totals, value: float) -> Interval | None:
        found = None if self.interval_from is None else self.interval_from(totals)
        if found is None or not all(map(math.isfinite, found)):
            return None
        return max(self.lowest, min(found[0], value)), min(self.highest, max(found[1], value))


def states_of(measures: Iterable[Measure]) -> tuple[State, ...]:
    """The states of all measures, each once: measures that need the same sum share it."""
    return tuple(dict.fromkeys(state for measure in measures for state in measure.states))


def totals_of(measures: Iterable[Measure], columns: Columns, kinds: Kinds) -> Totals:
    """Add up what these measures need, with numpy, apart for groups that they compare. Arguments as for `add_up`."""
    listed = tuple(measures)
    compared = dict.fromkeys(measure.over for measure in listed if measure.over is not None)
    return add_up(states_of(listed), columns, kinds, over=tuple(compared))
