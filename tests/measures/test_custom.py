"""Measures that users declare by expressions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from otel_ml_metrics.errors import ConfigurationError, ExpressionError
from otel_ml_metrics.expressions import col
from otel_ml_metrics.measures.custom import mean_measure, ratio_measure, sum_measure
from otel_ml_metrics.measures.measure import Measure, Undefined, totals_of

if TYPE_CHECKING:
    from otel_ml_metrics.expressions import Kind

KINDS: dict[str, Kind] = {"label": "boolean", "prediction": "boolean", "fare": "number"}
COLUMNS = {
    "label": np.array([True, True, False, False]),
    "prediction": np.array([True, False, True, False]),
    "fare": np.array([100.0, 250.5, np.nan, 50.0]),
}


def _value(measure: Measure) -> float | Undefined:
    return measure.value(totals_of([measure], COLUMNS, KINDS))


def test_a_sum_in_money() -> None:
    """Fares of the late flights that were not flagged."""
    measure = sum_measure("missed", unit="USD", expression="fare * (label & ~prediction)", description="Missed refunds")

    assert _value(measure) == 250.5


def test_a_mean_leaves_out_rows_without_a_value() -> None:
    """The row without a fare is neither in the sum nor in the count."""
    measure = mean_measure("fare", unit="USD", expression=col("fare"), description="Mean fare", direction="higher")

    assert _value(measure) == pytest.approx(400.5 / 3)
    assert totals_of([measure], COLUMNS, KINDS)[measure.support] == 3


def test_a_ratio_sums_both_over_the_same_rows() -> None:
    """A row that misses the denominator does not count in the numerator either."""
    measure = ratio_measure("r", unit="1", numerator="prediction", denominator="fare", description="Flags per dollar")

    assert _value(measure) == 1 / 400.5


def test_a_ratio_without_a_denominator_is_undefined() -> None:
    """0 / 0 is not 0."""
    measure = ratio_measure("r", unit="1", numerator="fare", denominator="fare - fare", description="Never defined")

    assert _value(measure) == Undefined("zero_denominator")


def test_counts_are_exact_integers() -> None:
    """The sum of a condition is a count, and needs no fixed point."""
    measure = sum_measure("hits", unit="{flight}", expression="label & prediction", description="Hits")

    assert _value(measure) == 1
    assert measure.sums[0].key == "sum[label & prediction]@0"


def test_a_constant_counts_rows() -> None:
    """`1` needs no column, and is the support of itself."""
    measure = sum_measure("rows", unit="{flight}", expression="1", description="Flights", rows="predictions")

    assert _value(measure) == 4
    assert measure.states == (measure.support,)


@pytest.mark.parametrize(
    ("name", "unit", "description", "direction", "place"),
    [
        ("missed refunds", "USD", "Text", "none", "name"),
        ("", "USD", "Text", "none", "name"),
        ("support", "USD", "Text", "none", "name"),
        ("accuracy.lower", "USD", "Text", "none", "name"),
        ("missed", "", "Text", "none", "unit"),
        ("missed", "US dollars", "Text", "none", "unit"),
        ("missed", "{flight", "Text", "none", "unit"),
        ("missed", "USD", "  ", "none", "description"),
        ("missed", "USD", "Text", "up", "direction"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, unit: str, description: str, direction: str, place: str) -> None:
    """Unit and description are required, and checked when the measure is declared."""
    with pytest.raises(ConfigurationError) as refused:
        sum_measure(name, unit=unit, expression="fare", description=description, direction=direction)  # type: ignore[arg-type]

    assert refused.value.where == place


def test_rows_are_labelled_or_predictions() -> None:
    """A typo is answered with the choices."""
    with pytest.raises(ConfigurationError, match="Did you mean 'predictions'"):
        sum_measure("n", unit="1", expression="1", description="Text", rows="prediction")  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", ["USD", "s", "1", "{flight}", "USD/{flight}", "m/s2", "%", "By"])
def test_units_are_ucum(unit: str) -> None:
    """Plain units, annotations and their combinations pass."""
    assert mean_measure("m", unit=unit, expression="fare", description="Text").unit == unit


def test_an_expression_that_cannot_be_read_is_refused() -> None:
    """The error is that of the grammar."""
    with pytest.raises(ExpressionError, match="Write & for and"):
        sum_measure("m", unit="1", expression="label and prediction", description="Text")
