"""What decisions are worth: by the decisions that were made, and along the curve of every threshold they could have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from otel_ml_metrics.expressions import Expression, as_expression, col, lit, maximum, present, where
from otel_ml_metrics.measures.custom import sum_measure
from otel_ml_metrics.measures.facts import Facts
from otel_ml_metrics.measures.measure import Direction, Measure, Undefined
from otel_ml_metrics.measures.sums import SCORE_BINS, Binned, Sum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from otel_ml_metrics.measures.totals import Totals

Worth = Expression | str | float
"""What a row is worth: a number, or an expression of its fields."""

_BINARY: Final = frozenset({"binary"})
_SOURCE: Final = "Verbraken, Verbeke and Baesens, A Novel Profit Maximizing Metric (2013)"


class Matrix(NamedTuple):
    """What a row is worth, by label and decision."""

    true_positive: Expression = lit(0)
    false_positive: Expression = lit(0)
    false_negative: Expression = lit(0)
    true_negative: Expression = lit(0)

    @classmethod
    def of(cls, **cells: Worth) -> Matrix:
        """From numbers, expressions or their texts."""
        return cls(**{name: as_expression(cell) for name, cell in cells.items()})

    def along(self, threshold: str) -> str:
        """The worth of a row that is decided by a threshold, in words of the catalogue."""
        return f"where(score >= {threshold}, {self.if_positive}, {self.if_negative})"

    @property
    def if_positive(self) -> Expression:
        """The worth of a row that is decided positive."""
        return where(col("label"), self.true_positive, self.false_positive)

    @property
    def if_negative(self) -> Expression:
        """The worth of a row that is decided negative."""
        return where(col("label"), self.false_negative, self.true_negative)


def value_measure(
    name: str,
    *,
    unit: str,
    description: str,
    true_positive: Worth = 0,
    false_positive: Worth = 0,
    false_negative: Worth = 0,
    true_negative: Worth = 0,
    direction: Direction = "higher",
) -> Measure:
    """What decisions were worth together: the sum of a value per row that depends on label and decision.

    Args:
        name: Name of the measure; the metric is `ml.evaluation.<name>`.
        unit: Unit of the values, such as `USD`.
        description: One sentence.
        true_positive: Value of a positive that was decided positive, a number or an expression; costs are negative.
        false_positive: Of a negative that was decided positive.
        false_negative: Of a positive that was decided negative.
        true_negative: Of a negative that was decided negative.
        direction: `higher` by default, since these are values; say `lower` if you write costs as positive numbers.

    >>> profit = value_measure("profit", unit="USD", description="Kept", true_positive="fare", false_positive=-40)
    >>> profit.formula
    'sum of where(label, where(prediction, fare, 0), where(prediction, -40, 0))'
    """
    cells = Matrix.of(
        true_positive=true_positive,
        false_positive=false_positive,
        false_negative=false_negative,
        true_negative=true_negative,
    )
    decided = col("prediction")
    value = where(
        col("label"),
        where(decided, cells.true_positive, cells.false_negative),
        where(decided, cells.false_positive, cells.true_negative),
    )
    made = sum_measure(name, unit=unit, expression=value, description=description, direction=direction)
    return replace(made, tasks=_BINARY)


class ProfitCurve(NamedTuple):
    """What deciding by `score >= threshold` would have been worth.

    Args:
        thresholds: Shape (bins + 1,), ascending: the lowest score of each bin, and above all scores.
        values: Shape (bins + 1,), the worth of all rows together.
        above: Shape (bins + 1,), bound of what a threshold between this and the one before adds to this one.
    """

    thresholds: NDArray[np.float64]
    values: NDArray[np.float64]
    above: NDArray[np.float64]


class Profit:
    """The sums of a profit curve: what deciding nobody is worth, and per bin what deciding its rows positive changes.

    Args:
        matrix: What rows are worth.
        direction: Whether to look for the highest value, or for the lowest cost.
    """

    def __init__(self, matrix: Matrix, direction: Direction) -> None:
        self.sign = -1.0 if direction == "lower" else 1.0
        gain = matrix.if_positive - matrix.if_negative
        taken = present(gain) & SCORE_BINS.condition
        self.nobody = Sum(matrix.if_negative, taken)
        self.gains = Binned(Sum(gain, taken))
        self.best_gains = Binned(Sum(maximum(-gain if direction == "lower" else gain, 0), taken))
        self.rows = Sum(lit(1), taken, scale=0, wide=False)

    def curve(self, totals: Totals) -> ProfitCurve:
        """The value at every edge of the bins."""
        from_the_top = np.cumsum(totals[self.gains].astype(np.float64)[::-1])[::-1]
        values = totals[self.nobody] + np.append(from_the_top, 0.0)
        above = np.append(0.0, totals[self.best_gains].astype(np.float64))
        return ProfitCurve(self._thresholds(totals), values, above)

    def _thresholds(self, totals: Totals) -> NDArray[np.float64]:
        """The edges of the bins that were summed, which may be others than those of the log."""
        state = totals.read(self.gains)
        lowest = state.grid.lowest if isinstance(state, Binned) else None
        return np.append(lowest() if lowest else [], np.inf)

    def best(self, totals: Totals) -> float:
        """The value at the best edge."""
        return float(self.sign * (self.sign * self.curve(totals).values).max())

    def error(self, totals: Totals) -> float:
        """Most that a threshold inside a bin can be better: it takes those rows of the bin alone that gain."""
        _, values, above = self.curve(totals)
        reached = self.sign * values + above
        return float(max(reached.max() - (self.sign * values).max(), 0.0))

    def threshold(self, totals: Totals) -> float | Undefined:
        """The highest of the best edges."""
        curve = self.curve(totals)
        found = curve.thresholds[::-1][np.argmax((self.sign * curve.values)[::-1])]
        if np.isinf(found):
            return Undefined("nobody_is_best" if found > 0 else "everybody_is_best")
        return float(found)

    def measure(self, facts: Facts, **more: Any) -> Measure:  # noqa: ANN401  # further fields of a measure
        """A measure of the curve."""
        return Measure(
            name=facts.name,
            unit=facts.unit,
            description=facts.description,
            direction=facts.direction,
            source=_SOURCE,
            tasks=_BINARY,
            sums=(self.nobody, self.gains, self.best_gains),
            support=self.rows,
            **more,
        )


def best_value_measure(
    name: str,
    *,
    unit: str,
    description: str,
    direction: Direction = "higher",
    **cells: Worth,
) -> Measure:
    """What deciding by `score >= threshold` would have been worth at the best threshold; arguments as `value_measure`.

    It is the best among the edges of the score bins; the certificate says how much better one between them can be.
    """
    facts = Facts(name=name, unit=unit, description=description, direction=direction)
    matrix = Matrix.of(**cells)
    profit = Profit(matrix, direction)
    return profit.measure(
        facts,
        formula=f"best over thresholds of the sum of {matrix.along('threshold')}",
        value_from=profit.best,
        error_from=profit.error,
        extensive=True,
    )


def best_threshold_measure(
    name: str,
    *,
    unit: str,
    description: str,
    direction: Direction = "higher",
    **cells: Worth,
) -> Measure:
    """The edge of the score bins at which deciding by `score >= threshold` would have been worth most.

    Arguments as for `value_measure`; the unit is that of the score. The highest one where several are as good.
    """
    facts = Facts(name=name, unit=unit, description=description, direction=direction)
    matrix = Matrix.of(**cells)
    profit = Profit(matrix, direction)
    return profit.measure(
        replace(facts, direction="none"),
        formula=f"best edge for the sum of {matrix.along('edge')}",
        undefined="deciding nobody positive is best, or everybody where scores have no lowest one",
        value_from=profit.threshold,
    )
