"""The rows in which expressions have a value, and the values: over arrays, and as conditions in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from otel_ml_metrics.errors import ExpressionError
from otel_ml_metrics.expressions import Column, number_sql
from otel_ml_metrics.operations import Array, Mask, Operand, is_present, is_present_sql

if TYPE_CHECKING:
    from otel_ml_metrics.expressions import Expression, Kind, Kinds

Columns = Mapping[str, NDArray[Any]]


def evaluate(expression: Expression, columns: Columns, kinds: Kinds) -> tuple[NDArray[np.float64], Mask]:
    """Value per row, and where there is one.

    Args:
        expression: Of numbers or booleans; True counts as 1.
        columns: Arrays of shape (n,). Numbers as float64 with NaN for a gap; booleans as bool, or as float64 or object
            with gaps; strings with None for a gap.
        kinds: Kind of each column.

    Returns:
        Two arrays of shape (n,): values, which are arbitrary where the mask is False, and the mask.

    Raises:
        ExpressionError: The expression does not fit the columns, or gives strings.
    """
    if expression.kind(kinds) == "string":
        message = (
            f'`{expression}` gives strings, where numbers or booleans are needed. Compare it: {expression} == "...".'
        )
        raise ExpressionError(message)
    values, present = _evaluated(expression, columns, kinds)
    return values.astype(np.float64, copy=False), present


def present_in(column: NDArray[Any], kind: Kind) -> Mask:
    """Where a column has a value: numbers are finite, however large."""
    return _loaded(np.asarray(column), kind)[1]


def present_sql(expression: Expression, kinds: Kinds) -> str:
    """Condition under which a row has a value; NULL and false both mean no."""
    conditions = columns_present_sql(expression.columns(), kinds)
    kind = expression.kind(kinds)
    if kind == "number":
        conditions.append(is_present_sql(Operand(expression.to_sql(kinds), kind, None, may_miss=True)))
    elif expression.may_miss:
        conditions.append(f"{expression.to_sql(kinds)} IS NOT NULL")
    return " AND ".join(conditions) or "TRUE"


def columns_present_sql(names: frozenset[str], kinds: Kinds) -> list[str]:
    """Conditions under which a row has all these columns; to be joined by AND."""
    operands = [(Column(name), Column(name).kind(kinds)) for name in sorted(names)]
    largest = number_sql(float(np.finfo(np.float64).max))
    return [
        f"abs({column.to_sql(kinds)}) <= {largest}" if kind == "number" else f"{column.to_sql(kinds)} IS NOT NULL"
        for column, kind in operands
    ]


def _evaluated(expression: Expression, columns: Columns, kinds: Kinds) -> tuple[Array, Mask]:
    expression.kind(kinds)
    used = {name: _loaded(np.asarray(columns[name]), kinds[name]) for name in expression.columns()}
    rows = next(iter(used.values()))[0].shape if used else np.shape(next(iter(columns.values()), ()))
    with np.errstate(all="ignore"):
        values, defined = expression.evaluate({name: values for name, (values, _) in used.items()})
        present = np.broadcast_to(is_present(values, defined), rows)
    for _, column_present in used.values():
        present = present & column_present
    return np.broadcast_to(values, rows), present


def _loaded(array: NDArray[Any], kind: Kind) -> tuple[Array, Mask]:
    """A column in the type that its kind is computed in, and where it is present."""
    if kind == "number" or (kind == "boolean" and array.dtype != np.bool_):
        numbers = array.astype(np.float64, copy=False)
        return (numbers if kind == "number" else numbers == 1), np.isfinite(numbers)
    if kind == "boolean":
        return array, np.ones(array.shape, np.bool_)
    strings = array.astype(object)
    return strings, np.not_equal(strings, np.array(None)) & np.equal(strings, strings)
