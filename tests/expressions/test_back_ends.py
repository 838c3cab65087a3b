"""numpy and SQL give the same integers for every expression and every row."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings

from otel_ml_metrics.errors import ExpressionError
from otel_ml_metrics.expressions import (
    Expression,
    Kind,
    col,
    exp,
    lit,
    ln,
    maximum,
    parse,
    where,
)
from otel_ml_metrics.measures.sums import Sum
from otel_ml_metrics.presence import evaluate, present_sql
from tests.expressions.material import EXACT_TREES, KINDS, ROWS, SPECIAL, TREES, as_columns, database, selected

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """One database for all examples."""
    yield from database()


@settings(max_examples=200)
@given(tree=EXACT_TREES, rows=ROWS)
def test_both_back_ends_give_the_same_integers(
    engine: duckdb.DuckDBPyConnection, tree: Expression, rows: list[dict[str, Any]]
) -> None:
    """Whatever the tree and the row (gaps, infinities, overflow), a contribution is the same integer in both."""
    summed = Sum(tree)

    contributions = summed.to_numpy(as_columns(rows), KINDS).tolist()

    assert contributions == [value or 0 for value in selected(engine, summed.to_sql(KINDS), rows)]


@pytest.mark.parametrize(
    "text",
    [
        "minimum(1 / amount, sqrt(score))",
        "maximum(sqrt(score), 1 / amount)",
        "where(1 / amount > 0, 1, 2)",
        "(1 / amount > 0) | (score > 0)",
        "(1 / amount > 0) & (score > 0)",
        "present(1 / amount) & ~present(amount * 1e308)",
        "amount * 1e308 - amount * 1e308 > score",
        "amount * 1e308 == score * 1e308",
        "score ** 3 + amount ** 0",
        "where(carrier == 'UA', label, prediction) != (carrier != 'AA')",
        "where(label, carrier, 'none') == 'UA'",
        "sqrt(-1) + score",
        "1 / 0 + score",
        "1e28 + 0 * score",
        "floor(score) - abs(-amount) / 3",
    ],
)
def test_back_ends_agree_at_every_special_value(engine: duckdb.DuckDBPyConnection, text: str) -> None:
    """All pairs of special values, gaps included, on expressions that leave their domain or overflow."""
    numbers = (*SPECIAL, np.nan, np.inf, -np.inf, None)
    flags = itertools.cycle([(True, False, "UA"), (None, True, "AA"), (False, None, None), (True, True, "")])
    rows = [
        dict(zip(KINDS, (x, y, *texts), strict=True))
        for (x, y), texts in zip(itertools.product(numbers, repeat=2), flags, strict=False)
    ]
    summed = Sum(parse(text))

    contributions = summed.to_numpy(as_columns(rows), KINDS).tolist()

    assert contributions == [value or 0 for value in selected(engine, summed.to_sql(KINDS), rows)]
    _, mask = evaluate(summed.expression, as_columns(rows), KINDS)
    assert mask.tolist() == [bool(value) for value in selected(engine, present_sql(summed.expression, KINDS), rows)]


@settings(max_examples=100)
@given(condition=EXACT_TREES, rows=ROWS)
def test_both_back_ends_agree_where_a_condition_holds(
    engine: duckdb.DuckDBPyConnection, condition: Expression, rows: list[dict[str, Any]]
) -> None:
    """A condition that is undefined in a row does not hold there, in either back end."""
    counted = Sum(lit(1), where(col("prediction"), condition > 0, condition <= 0), scale=0, wide=False)

    contributions = counted.to_numpy(as_columns(rows), KINDS).tolist()

    assert contributions == [value or 0 for value in selected(engine, counted.to_sql(KINDS), rows)]


@settings(max_examples=200)
@given(tree=EXACT_TREES, rows=ROWS)
def test_both_back_ends_agree_where_a_row_has_a_value(
    engine: duckdb.DuckDBPyConnection, tree: Expression, rows: list[dict[str, Any]]
) -> None:
    """The mask of `evaluate` and the condition of `present_sql` name the same rows."""
    _, mask = evaluate(tree, as_columns(rows), KINDS)

    assert mask.tolist() == [bool(value) for value in selected(engine, present_sql(tree, KINDS), rows)]


@settings(max_examples=100)
@given(tree=TREES, rows=ROWS)
def test_every_tree_runs_in_the_engine(
    engine: duckdb.DuckDBPyConnection, tree: Expression, rows: list[dict[str, Any]]
) -> None:
    """No value makes the engine stop, logarithms and powers outside their domain included."""
    assert len(selected(engine, Sum(tree).to_sql(KINDS), rows)) == len(rows)


@pytest.mark.parametrize(
    "text",
    [
        "-ln(maximum(score, 1e-15))",
        "ln(maximum(score, 0))",
        "ln(maximum(score - 0.5, -1))",
        "exp(-score)",
        "score ** 0.3",
        "pow(1 + score, -2)",
    ],
)
def test_transcendental_functions_agree_within_one_unit(engine: duckdb.DuckDBPyConnection, text: str) -> None:
    """The last bit of ln, exp and ** is the library's own, so contributions may differ by one unit."""
    kinds: dict[str, Kind] = {"score": "number"}
    scores = np.linspace(0.0, 1.0, 20_001)
    engine.register("scored", {"score": scores})
    summed = Sum(parse(text), wide=False)

    found = engine.execute(f"SELECT {summed.to_sql(kinds)} AS it FROM scored").fetchnumpy()["it"]

    assert np.abs(found - summed.to_numpy({"score": scores}, kinds)).max() <= 1


def test_a_branch_that_is_not_taken_may_be_undefined() -> None:
    """`where` guards its branches: rows with x <= 0 have a value though ln(x) has none there."""
    rows = {"x": np.array([-1.0, 0.0, 1.0])}

    values, mask = evaluate(where(col("x") > 0, ln(maximum(col("x"), 0)), -1), rows, {"x": "number"})

    assert mask.all()
    assert values.tolist() == [-1.0, -1.0, 0.0]


def test_a_row_that_misses_a_column_has_no_value() -> None:
    """A gap in any column used leaves the row out, even where `where` would not look at it."""
    rows = {"x": np.array([1.0, np.nan, np.inf]), "y": np.array([1.0, 1.0, 1.0])}

    _, mask = evaluate(where(lit(True), col("y"), col("x")), rows, {"x": "number", "y": "number"})

    assert mask.tolist() == [True, False, False]


def test_values_beyond_a_128_bit_sum_count_as_not_finite() -> None:
    """One absurd row (2e27) is left out, so that it cannot break the sum of the others."""
    rows = {"x": np.array([1e27, 2e27, -2e27])}

    _, mask = evaluate(col("x"), rows, {"x": "number"})

    assert mask.tolist() == [True, False, False]


def test_strings_have_no_numeric_value() -> None:
    """An expression of strings cannot be summed or recorded, and the message says what could."""
    with pytest.raises(ExpressionError, match="Compare it"):
        evaluate(col("carrier"), {"carrier": np.array(["UA"])}, {"carrier": "string"})


def test_integer_and_narrow_columns_are_read_as_doubles() -> None:
    """Column types of the caller (int8, float32) change nothing about the arithmetic."""
    rows = {"x": np.array([7, -7], dtype=np.int8)}

    values, _ = evaluate(col("x") / 2, rows, {"x": "number"})

    assert values.tolist() == [3.5, -3.5]


def test_no_rows_give_no_values() -> None:
    """An empty batch is no error."""
    values, mask = evaluate(exp(col("x")), {"x": np.empty(0)}, {"x": "number"})

    assert (len(values), len(mask)) == (0, 0)
