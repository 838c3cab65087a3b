"""Random expression trees and random rows, for the laws."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import duckdb
import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from otel_ml_metrics import expressions
from otel_ml_metrics.expressions import Column, Expression, Kind, Literal, Operation, col, lit, where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

KINDS: Final[Mapping[str, Kind]] = {
    "amount": "number",
    "score": "number",
    "label": "boolean",
    "prediction": "boolean",
    "carrier": "string",
}
SPECIAL: Final = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-15, 5e-324, 1e15, -1e15, 1e28, 1e154, 1e308, -1e308)
NUMBERS: Final = st.one_of(
    st.sampled_from(SPECIAL), st.floats(-100, 100), st.floats(allow_nan=False, allow_infinity=False)
)

_number_leaves = st.one_of(
    st.sampled_from([col("amount"), col("score")]), NUMBERS.map(lit), st.sampled_from([col("label"), lit(True)])
)
_boolean_leaves = st.sampled_from([col("label"), col("prediction"), lit(True), lit(False), col("carrier") == "UA"])


def _grown(*, exact_only: bool) -> st.SearchStrategy[tuple[Expression, Expression]]:
    """Pairs of a tree of numbers and a tree of booleans, each grown from the pairs below it."""
    prefix: list[Callable[[Expression], Expression]] = [
        abs,
        expressions.floor,
        expressions.sqrt,
        lambda x: -x,
        lambda x: x**2,
    ]
    infix: list[Callable[[Expression, Expression], Expression]] = [
        lambda x, y: x + y,
        lambda x, y: x - y,
        lambda x, y: x * y,
        lambda x, y: x / y,
        expressions.minimum,
        expressions.maximum,
    ]
    compared: list[Callable[[Expression, Expression], Expression]] = [
        lambda x, y: x < y,
        lambda x, y: x <= y,
        lambda x, y: x > y,
        lambda x, y: x >= y,
        lambda x, y: x == y,
        lambda x, y: x != y,
    ]
    if not exact_only:
        prefix += [expressions.exp, expressions.ln, lambda x: x**0.5, lambda x: x**-1, lambda x: 2**x]
    joined: list[Callable[[Expression, Expression], Expression]] = [
        lambda p, q: p & q,
        lambda p, q: p | q,
        lambda p, q: p == q,
        lambda p, q: p != q,
    ]

    def extend(
        below: st.SearchStrategy[tuple[Expression, Expression]],
    ) -> st.SearchStrategy[tuple[Expression, Expression]]:
        numbers, booleans = below.map(lambda pair: pair[0]), below.map(lambda pair: pair[1])
        return st.tuples(
            st.one_of(
                st.builds(lambda f, x: f(x), st.sampled_from(prefix), numbers),
                st.builds(lambda f, x, y: f(x, y), st.sampled_from(infix), numbers, numbers),
                st.builds(where, booleans, numbers, numbers),
                st.builds(where, booleans, booleans, numbers),
            ),
            st.one_of(
                st.builds(lambda f, x, y: f(x, y), st.sampled_from(compared), numbers, numbers),
                st.builds(lambda f, p, q: f(p, q), st.sampled_from(joined), booleans, booleans),
                st.builds(lambda p: ~p, booleans),
                st.builds(expressions.present, numbers),
                st.builds(where, booleans, booleans, booleans),
            ),
        )

    return st.recursive(st.tuples(_number_leaves, _boolean_leaves), extend, max_leaves=8)


TREES: Final = _grown(exact_only=False).flatmap(st.sampled_from)
EXACT_TREES: Final = _grown(exact_only=True).flatmap(st.sampled_from)

_GAPS: Final = st.sampled_from([math.nan, math.inf, -math.inf, None])
ROWS: Final = st.lists(
    st.fixed_dictionaries(
        {
            "amount": st.one_of(NUMBERS, NUMBERS, _GAPS),
            "score": st.one_of(st.floats(0, 1), NUMBERS, _GAPS),
            "label": st.sampled_from([True, False, None]),
            "prediction": st.sampled_from([True, False, None]),
            "carrier": st.sampled_from(["UA", "AA", "", None]),
        }
    ),
    min_size=1,
    max_size=12,
)

_NUMPY: Final[Mapping[Kind, Any]] = {"number": np.float64, "boolean": object, "string": object}
_ARROW: Final[Mapping[Kind, pa.DataType]] = {"number": pa.float64(), "boolean": pa.bool_(), "string": pa.string()}


def shape(tree: Expression) -> object:
    """The tree as nested tuples, which compare by content."""
    match tree:
        case Operation(name=name, arguments=arguments):
            return (name, *map(shape, arguments))
        case Column(name=name):
            return ("column", name)
        case Literal(value=value):
            return ("literal", type(value), value)
    raise TypeError(tree)


def as_columns(rows: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """The rows as numpy columns; a gap is NaN or None."""
    return {name: np.array([row[name] for row in rows], dtype=_NUMPY[kind]) for name, kind in KINDS.items()}


def as_table(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows as an Arrow table; a gap is NULL, and NaN where it was NaN."""
    return pa.table({name: pa.array([row[name] for row in rows], type=_ARROW[kind]) for name, kind in KINDS.items()})


def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of one thread in memory."""
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def selected(connection: duckdb.DuckDBPyConnection, sql: str, rows: list[dict[str, Any]]) -> list[Any]:
    """What an SQL expression gives per row."""
    connection.register("joined", as_table(rows))
    return [value for (value,) in connection.execute(f"SELECT {sql} FROM joined").fetchall()]
