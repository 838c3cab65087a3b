"""Sums are whole numbers with a name that says everything, and stay exact at any size."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from otel_ml_metrics.errors import ExpressionError
from otel_ml_metrics.expressions import Kind, col, lit, parse
from otel_ml_metrics.measures.sums import Binned, Grid, Sum, count
from otel_ml_metrics.measures.totals import Totals, add_up

KINDS: dict[str, Kind] = {"amount": "number", "label": "boolean", "carrier": "string"}


def test_large_sums_stay_exact() -> None:
    """Amounts of 1e15 with digits behind the point: 64 bits overflow after eight rows, the sum does not."""
    amounts = np.full(1_000, 1e15 + 0.125)
    summed = Sum(col("amount"))

    ours = add_up([summed], {"amount": amounts}, {"amount": "number"})
    with duckdb.connect() as engine:
        engine.register("joined", {"amount": amounts})
        ((theirs,),) = engine.execute(f"SELECT sum({summed.to_sql(KINDS)}) FROM joined").fetchall()

    assert ours.whole[summed.key] == theirs == 1_000 * (1_000_000_000_000_000 * 2**30 + 2**27)
    assert ours[summed] == 1e18 + 125.0


@pytest.mark.parametrize(
    ("value", "contribution"), [(0.0, 0), (1.0, 8), (-1.0, -8), (0.0625, 1), (-0.0625, 0), (0.06, 0), (2.99, 24)]
)
def test_a_contribution_is_rounded_half_up(value: float, contribution: int) -> None:
    """floor(x * 2^k + 0.5), here with k = 3."""
    assert Sum(col("amount"), scale=3).to_numpy({"amount": np.array([value])}, KINDS).tolist() == [contribution]


def test_a_sum_is_known_by_its_content() -> None:
    """Two measures that ask for the same sum get the same one; anything that changes the value changes the key."""
    asked = [
        Sum(parse("amount * label")),
        Sum(col("amount") * col("label")),
        Sum(parse("amount * label"), parse("amount > 0")),
        Sum(parse("amount * label"), scale=20),
        Sum(parse("amount * label"), rows="predictions"),
    ]

    assert [summed.key for summed in dict.fromkeys(asked)] == [
        "sum[amount * label]@30",
        "sum[amount * label where amount > 0]@30",
        "sum[amount * label]@20",
        "sum[amount * label over predictions]@30",
    ]


@pytest.mark.parametrize(
    ("summed", "told"),
    [
        (Sum(col("carrier")), "gives strings, which cannot be summed"),
        (Sum(lit(1), col("amount")), "the condition of a sum is a boolean"),
        (Sum(col("amuont")), "Did you mean 'amount'"),
    ],
)
def test_a_sum_that_cannot_be_taken_is_refused_at_set_up(summed: Sum, told: str) -> None:
    """`check` finds it before a single row is read."""
    with pytest.raises(ExpressionError, match=told):
        summed.check(KINDS)


def test_rows_without_a_label_only_count_as_predictions() -> None:
    """`rows: predictions` sees what `labelled` does not."""
    columns = {"label": np.array([True, None, False], dtype=object), "amount": np.array([1.0, 2.0, 4.0])}
    labelled, predictions = Sum(col("amount")), Sum(col("amount"), rows="predictions")

    added = add_up([labelled, predictions], columns, KINDS)

    assert (added[labelled], added[predictions]) == (5.0, 7.0)


def test_strings_can_be_compared_and_counted() -> None:
    """Slices are columns like others, and a missing one takes no part."""
    columns = {"carrier": np.array(["UA", "AA", None], dtype=object)}
    counted = count("carrier", condition=col("carrier") != "AA")

    assert counted.to_numpy(columns, KINDS).tolist() == [1, 0, 0]


def test_counts_per_bin_leave_out_rows_without_a_bin_or_label() -> None:
    """A score outside [0, 1] has bin -1, and none of the counts."""
    columns = {
        "score_bin": np.array([0.0, 0.0, 3.0, -1.0, np.nan, 5.0]),
        "label": np.array([True, False, True, True, True, None], dtype=object),
    }
    grid = Grid("eighths", col("score_bin"), 8)
    kinds: dict[str, Kind] = {"score_bin": "number", "label": "boolean"}

    positives, negatives = (
        Binned(Sum(each, scale=0, wide=False), grid).to_numpy(columns, kinds) for each in (col("label"), ~col("label"))
    )

    assert positives.tolist() == [1, 0, 0, 1, 0, 0, 0, 0]
    assert negatives.tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_a_plain_sum_and_counts_per_bin_do_not_add() -> None:
    """Mixing them up is a fault of the program, and says so."""
    plain, binned = Totals({"x": 1}), Totals({"x": np.zeros(2)})

    with pytest.raises(TypeError, match="cannot be added"):
        plain + binned
