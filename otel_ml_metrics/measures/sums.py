"""The sums that measures are made of: whole numbers, added in any order and taken back without a remainder.

A row's contribution is `floor(x * 2^scale + 0.5)`. numpy and SQL compute the same integer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from typing import Literal as OneOf

import numpy as np

from otel_ml_metrics.binning import BINS, SCHEME
from otel_ml_metrics.errors import ExpressionError
from otel_ml_metrics.expressions import (
    LARGEST,
    Columns,
    Expression,
    Kinds,
    Literal,
    Mask,
    col,
    columns_present_sql,
    evaluate,
    lit,
    number_sql,
    present,
)

if TYPE_CHECKING:
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
        value = self.expression.to_sql(kinds)
        conditions = columns_present_sql(self.columns(), kinds)
        if self.condition is not None:
            conditions.append(self.condition.to_sql(kinds))
        if self.expression.kind(kinds) == "boolean":
            conditions.append(value)
        elif self.wide:
            conditions.append(f"abs({value}) <= {number_sql(LARGEST)}")
        return f"CASE WHEN {' AND '.join(conditions) or 'TRUE'} THEN {self._contribution_sql(value, kinds)} ELSE 0 END"

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
class Binned:
    """Rows per score bin and label, from which curves and areas under them are computed.

    A row takes part if it has a label and a bin; scores outside [0, 1] have none.

    Args:
        scheme: Name of the bins, part of the identity: counts of two schemes are never added.
        bins: Number of bins.
    """

    scheme: str = SCHEME
    bins: int = BINS

    @property
    def key(self) -> str:
        """Name and definition in one."""
        return f"bins[{self.scheme}]"

    @property
    def condition(self) -> Expression:
        """Rows that take part."""
        return (col("score_bin") >= 0) & present(col("label"))

    @property
    def positives(self) -> Sum:
        """What one bin counts of the rows whose label is True."""
        return Sum(col("label"), self.condition, scale=0, wide=False)

    @property
    def negatives(self) -> Sum:
        """What one bin counts of the rows whose label is False."""
        return Sum(~col("label"), self.condition, scale=0, wide=False)

    @property
    def support(self) -> Sum:
        """Rows that take part, over all bins."""
        return Sum(lit(1), self.condition, scale=0, wide=False)

    def columns(self) -> frozenset[str]:
        """Names of the columns that a row needs."""
        return self.condition.columns()

    def to_numpy(self, columns: Columns, kinds: Kinds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positives and negatives per bin, each of shape (bins,)."""
        numbers, _ = evaluate(col("score_bin"), columns, kinds)
        counted = []
        for each in (self.positives, self.negatives):
            taken: Mask = each.to_numpy(columns, kinds) == 1
            counted.append(np.bincount(numbers[taken].astype(np.int64), minlength=self.bins))
        return counted[0], counted[1]
