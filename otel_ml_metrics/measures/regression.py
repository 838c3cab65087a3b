"""Measures of models that predict a number, in the unit of the label."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.expressions import col, lit, present
from otel_ml_metrics.measures import intervals
from otel_ml_metrics.measures.measure import Direction, Interval, Measure
from otel_ml_metrics.measures.sums import Sum

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_ml_metrics.measures.totals import Totals

REGRESSION: Final = frozenset({"regression"})
UNIT: Final = "{label_unit}"

# Squares get fewer digits behind the point, because they need more before it. One condition for all: the same rows.
_ERROR: Final = col("prediction") - col("label")
_USABLE: Final = present(_ERROR**2)
ROWS: Final = Sum(lit(1), _USABLE, scale=0, wide=False)
ERRORS: Final = Sum(_ERROR, _USABLE)
ABSOLUTE_ERRORS: Final = Sum(abs(_ERROR), _USABLE)
SQUARED_ERRORS: Final = Sum(_ERROR**2, scale=24)


def _mean_interval(total: Sum) -> Callable[[Totals], Interval | None]:
    return lambda totals: intervals.mean(totals[total], totals[SQUARED_ERRORS], totals[ROWS])


def _of_errors(
    name: str,
    description: str,
    formula: str,
    value: Callable[[Totals], float],
    *sums: Sum,
    unit: str = UNIT,
    direction: Direction = "lower",
    interval: Callable[[Totals], Interval | None] | None = None,
) -> Measure:
    """A measure of the errors `prediction - label`."""
    return Measure(
        name=name,
        unit=unit,
        description=description,
        formula=formula,
        source="Hyndman and Koehler, Another Look at Measures of Forecast Accuracy (2006)",
        direction=direction,
        lowest=0.0 if direction == "lower" else -math.inf,
        tasks=REGRESSION,
        sums=sums,
        support=ROWS,
        value_from=value,
        interval_from=interval,
    )


MEASURES: Final = (
    _of_errors(
        "mean_error",
        "Mean of prediction minus label: positive where the model predicts too much.",
        "sum e / n",
        lambda totals: totals[ERRORS] / totals[ROWS],
        ERRORS,
        SQUARED_ERRORS,
        direction="none",
        interval=_mean_interval(ERRORS),
    ),
    _of_errors(
        "mean_absolute_error",
        "Mean absolute difference between prediction and label.",
        "sum |e| / n",
        lambda totals: totals[ABSOLUTE_ERRORS] / totals[ROWS],
        ABSOLUTE_ERRORS,
        SQUARED_ERRORS,
        interval=_mean_interval(ABSOLUTE_ERRORS),
    ),
    _of_errors(
        "mean_squared_error",
        "Mean squared difference between prediction and label.",
        "sum e^2 / n",
        lambda totals: totals[SQUARED_ERRORS] / totals[ROWS],
        SQUARED_ERRORS,
        unit="{squared_label_unit}",
    ),
    _of_errors(
        "root_mean_squared_error",
        "Square root of the mean squared difference between prediction and label.",
        "sqrt(sum e^2 / n)",
        lambda totals: math.sqrt(totals[SQUARED_ERRORS] / totals[ROWS]),
        SQUARED_ERRORS,
    ),
)
