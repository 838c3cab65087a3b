"""The sums that measures are made of: whole numbers, added in any order and taken back without a remainder.

A row's contribution is `floor(x * 2^scale + 0.5)`. numpy and SQL compute the same integer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from typing import Literal as OneOf

import numpy as np

from otel_ml_metrics.binning import BINS, SCHEME, logit_edges
from otel_ml_metrics.errors import ExpressionError
from otel_ml_metrics.expressions import Expression, Kinds, Literal, col, lit, number_sql, present
from otel_ml_metrics.operations import LARGEST, Mask
from otel_ml_metrics.presence import Columns, columns_present_sql, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

Rows = OneOf["labelled", "predictions"]
_NARROW: Final = 2.0**62  # what fits into 64 bits, with room for a sign and a rounding
_CONSTANT: Final = frozenset[str]()


@dataclass(frozen=True, eq=False)
class Sum:
    """One additive sum over rows. Two of the same content are the same sum, whichever measures they belong to.

    A row takes part if it has every column that the expression and the condition use, if the condition holds, and if
    the expression has a finite value.

    Args:
        expression: Value per row; True counts as 1, and `lit(1)` counts rows.
        condition: Rows that take part; None for all.
        scale: Contributions are whole multiples of 2^-scale; 0 for counts.
        rows: `labelled`, or `predictions` for every logged prediction, labelled or not.
        wide: Whether a row may contribute more than 64 bits hold. False is a promise that the expression is bounded and
            finite wherever the condition holds (scores, counts); it makes the SQL twice as fast.

    >>> Sum(col("label") & col("prediction"), scale=0).key
    'sum[label & prediction]@0'
    """

    expression: Expression
    condition: Expression | None = None
    scale: int = 30
    rows: Rows = "labelled"
    wide: bool = True

    @cached_property
    def key(self) -> str:
        """Name and definition in one; it says everything that changes the value."""
        condition = "" if self.condition is None else f" where {self.condition}"
        rows = "" if self.rows == "labelled" else f" over {self.rows}"
        return f"sum[{self.expression}{condition}{rows}]@{self.scale}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sum) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def over(self, columns: Mapping[str, Expression]) -> Sum:
        """The same sum with expressions in the place of columns."""
        condition = None if self.condition is None else self.condition.replaced(columns)
        return replace(self, expression=self.expression.replaced(columns), condition=condition)

    def columns(self) -> frozenset[str]:
        """Names of the columns that a row needs."""
        return self.expression.columns() | (self.condition.columns() if self.condition is not None else _CONSTANT)

    def check(self, kinds: Kinds) -> None:
        """See at set-up whether the sum can be taken over columns of these kinds.

        Raises:
            ExpressionError: A column is unknown, or an expression does not fit.
        """
        if self.expression.kind(kinds) == "string":
            message = (
                f'`{self.expression}` gives strings, which cannot be summed. Compare it: {self.expression} == "...".'
            )
            raise ExpressionError(message)
        if self.condition is not None and self.condition.kind(kinds) != "boolean":
            message = f"`{self.condition}` gives a {self.condition.kind(kinds)}; the condition of a sum is a boolean."
            raise ExpressionError(message)

    def to_numpy(self, columns: Columns, kinds: Kinds) -> NDArray[Any]:
        """Contribution per row, 0 where it takes no part: int64, or Python integers where 64 bits do not suffice."""
        values, taken = evaluate(self.expression, columns, kinds)
        if self.condition is not None:
            holds, known = evaluate(self.condition, columns, kinds)
            taken = taken & known & (holds == 1)
        whole = np.floor(np.where(taken, values, 0.0) * 2.0**self.scale + 0.5)
        if np.abs(whole).max(initial=0.0) < _NARROW:
            return whole.astype(np.int64)
        return np.array([int(value) for value in whole.tolist()], dtype=object)

    def to_sql(self, kinds: Kinds) -> str:
        """Contribution per row as SQL: HUGEINT if the sum is wide, else BIGINT; 0 or NULL where it takes no part."""
        self.check(kinds)
        contribution = self._contribution_sql(self.expression.to_sql(kinds), kinds)
        return f"CASE WHEN {self._guard_sql(kinds) or 'TRUE'} THEN {contribution} ELSE 0 END"

    def shareable_sql(self, kinds: Kinds) -> tuple[str, ...]:
        """Parts of `to_sql` that other sums may have as well, and an engine would compute for each of them."""
        return self.expression.to_sql(kinds), self._guard_sql(kinds)

    def _guard_sql(self, kinds: Kinds) -> str:
        value = self.expression.to_sql(kinds)
        conditions = columns_present_sql(self.columns(), kinds)
        if self.condition is not None:
            conditions.append(self.condition.to_sql(kinds))
        if self.expression.kind(kinds) == "boolean":
            conditions.append(value)
        elif self.wide:
            conditions.append(f"abs({value}) <= {number_sql(LARGEST)}")
        return " AND ".join(conditions)

    def _contribution_sql(self, value: str, kinds: Kinds) -> str:
        integer = "HUGEINT" if self.wide else "BIGINT"
        if self.expression.kind(kinds) == "boolean":
            return f"CAST({1 << self.scale} AS {integer})"
        if isinstance(self.expression, Literal) and not self.wide:
            whole = math.floor(float(self.expression.value) * 2.0**self.scale + 0.5)
            return f"CAST({whole} AS {integer})"
        return f"CAST(floor({value} * {number_sql(2.0**self.scale)} + 5e-1) AS {integer})"


def count(*needs: str, condition: Expression | None = None, rows: Rows = "labelled") -> Sum:
    """Count the rows that have these columns and meet the condition.

    >>> count("label", "prediction").key
    'sum[1 where present(label) & present(prediction)]@0'
    """
    conditions = [present(col(name)) for name in needs] + ([] if condition is None else [condition])
    joined = conditions[0] if conditions else None
    for each in conditions[1:]:
        joined = each if joined is None else joined & each
    return Sum(lit(1), joined, scale=0, rows=rows, wide=False)


@dataclass(frozen=True)
class Grid:
    """Cells that tell rows apart by a whole number: the bins of a score, or the pairs of a confusion table.

    Args:
        name: Of the scheme, part of the identity: cells of two schemes are never added.
        place: Number of a row's cell, 0 to `cells` - 1; a row outside, or without one, takes no part.
        cells: Number of cells, at most 32,767.
        lowest: Where cells are ranges of one number: gives the lowest number of each, ascending.
    """

    name: str
    place: Expression
    cells: int
    lowest: Callable[[], NDArray[np.float64]] | None = field(default=None, compare=False)

    @property
    def condition(self) -> Expression:
        """Rows that have a cell."""
        return (self.place >= 0) & (self.place < self.cells)


SCORE_BINS: Final = Grid(f"score_bin:{SCHEME}", col("score_bin"), BINS, lambda: logit_edges()[:-1])


@dataclass(frozen=True)
class Binned:
    """One sum per cell of a grid. Sums over one grid are computed in one pass.

    Args:
        summed: What each cell sums, over labelled rows.
        grid: The cells.

    >>> Binned(Sum(col("label"), scale=0), SCORE_BINS).key
    'sum[label]@0 by score_bin:logit1024'
    """

    summed: Sum
    grid: Grid = SCORE_BINS

    @cached_property
    def key(self) -> str:
        """Name and definition in one."""
        return f"{self.summed.key} by {self.grid.name}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Binned) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def scale(self) -> int:
        """That of the sum."""
        return self.summed.scale

    def columns(self) -> frozenset[str]:
        """Names of the columns that a row needs."""
        return self.summed.columns() | self.grid.place.columns()

    def check(self, kinds: Kinds) -> None:
        """As for a sum."""
        self.summed.check(kinds)

    def zeros(self) -> NDArray[Any]:
        """The totals of no rows, of shape (cells,): int64, or Python integers where 64 bits may not suffice."""
        return np.zeros(self.grid.cells, dtype=object if self.summed.wide else np.int64)

    def to_numpy(self, columns: Columns, kinds: Kinds) -> NDArray[Any]:
        """Total per cell, of shape (cells,)."""
        places, known = evaluate(self.grid.place, columns, kinds)
        taken: Mask = known & (places >= 0) & (places < self.grid.cells)
        contributions = self.summed.to_numpy(columns, kinds)[taken]
        totals = self.zeros()
        np.add.at(totals, places[taken].astype(np.int64), contributions)
        return totals
