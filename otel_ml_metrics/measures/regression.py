"""Measures of models that predict a number, in the unit of the label."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.expressions import Expression, col, lit, ln, present, where
from otel_ml_metrics.measures import intervals
from otel_ml_metrics.measures.measure import Interval, Measure, Undefined
from otel_ml_metrics.measures.sums import Sum

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_ml_metrics.measures.totals import Totals

REGRESSION: Final = frozenset({"regression"})
UNIT: Final = "{label_unit}"
_HYNDMAN: Final = "Hyndman and Koehler, Another Look at Measures of Forecast Accuracy (2006)"
_KVALSETH: Final = "Kvålseth, Cautionary Note about R² (1985)"

# Squares get fewer digits behind the point, because they need more before it. One condition for all: the same rows.
_SQUARES: Final = 24
_ROUNDED: Final = Fraction(1, 1 << 52)  # of a square in floating point
_LABEL, _PREDICTION = col("label"), col("prediction")
_ERROR: Final = _PREDICTION - _LABEL
_USABLE: Final = present(_ERROR**2)
ROWS: Final = Sum(lit(1), _USABLE, scale=0, wide=False)
ERRORS: Final = Sum(_ERROR, _USABLE)
ABSOLUTE_ERRORS: Final = Sum(abs(_ERROR), _USABLE)
SQUARED_ERRORS: Final = Sum(_ERROR**2, scale=_SQUARES)

_COMPARABLE: Final = _USABLE & present(_LABEL**2)
COMPARABLE_ROWS: Final = Sum(lit(1), _COMPARABLE, scale=0, wide=False)
COMPARABLE_ERRORS: Final = Sum(_ERROR, _COMPARABLE)
COMPARABLE_SQUARED_ERRORS: Final = Sum(_ERROR**2, _COMPARABLE, scale=_SQUARES)
LABELS: Final = Sum(_LABEL, _COMPARABLE)
SQUARED_LABELS: Final = Sum(_LABEL**2, _COMPARABLE, scale=_SQUARES)


def spread(totals: Totals, total: Sum, squares: Sum, rows: Sum) -> float:
    """Sum of the squared distances from the mean; 0 where the rounding of squares and sums could explain it."""
    count, whole = totals.exact(rows) or Fraction(1), totals.exact(total)
    squared = totals.exact(squares)
    found = squared - whole * whole / count
    rounding = count * Fraction(1, 2 << squares.scale) + 2 * abs(whole) * Fraction(1, 2 << total.scale)
    rounding += squared * _ROUNDED
    return float(found) if found > rounding else 0.0


def _of_errors(
    name: str,
    description: str,
    formula: str,
    value: Callable[[Totals], float | Undefined],
    *sums: Sum,
    **facts: Any,  # noqa: ANN401  # further fields of a measure
) -> Measure:
    """A measure of the errors `prediction - label`, not below 0 and better if lower unless said otherwise."""
    defaults: dict[str, Any] = {
        "unit": UNIT, "direction": "lower", "lowest": 0.0, "source": _HYNDMAN, "support": ROWS,
    }  # fmt: skip
    return Measure(
        name=name,
        description=description,
        formula=formula,
        tasks=REGRESSION,
        sums=sums,
        value_from=value,
        **(defaults | facts),
    )


def _mean(
    name: str,
    description: str,
    formula: str,
    total: Sum,
    *,
    squares: Sum | None = None,
    root: bool = False,
    **facts: Any,  # noqa: ANN401  # further fields of a measure
) -> Measure:
    """The mean of a sum over its rows, or the root of it; with an interval where the sum of squares is given."""
    rows = facts.get("support", ROWS)

    def value(totals: Totals) -> float:
        mean = totals[total] / totals[rows]
        return math.sqrt(max(mean, 0.0)) if root else mean

    def interval(totals: Totals) -> Interval | None:
        found = intervals.mean(totals[total], totals[squares], totals[rows]) if squares else None
        return (math.sqrt(max(found[0], 0.0)), math.sqrt(found[1])) if found and root else found

    facts = {"interval_from": interval if squares else None} | facts
    return _of_errors(name, description, formula, value, total, *([squares] if squares else []), **facts)


def mean_of(name: str, description: str, formula: str, each: Expression, **facts: Any) -> Measure:  # noqa: ANN401  # further fields
    """The mean of an expression over the rows that have it and its square."""
    usable = present(each**2)
    support = Sum(lit(1), usable, scale=0, wide=False)
    return _mean(
        name,
        description,
        formula,
        Sum(each, usable),
        squares=Sum(each**2, scale=_SQUARES),
        support=support,
        **facts,
    )


def _explained(
    errors: Callable[[Totals], float],
) -> Callable[[Totals], float | Undefined]:
    def value(totals: Totals) -> float | Undefined:
        around_mean = spread(totals, LABELS, SQUARED_LABELS, COMPARABLE_ROWS)
        return 1 - errors(totals) / around_mean if around_mean else Undefined("constant_label")

    return value


def _error_spread(totals: Totals) -> float:
    return spread(totals, COMPARABLE_ERRORS, COMPARABLE_SQUARED_ERRORS, COMPARABLE_ROWS)


def pinball_loss(*, alpha: float = 0.5) -> Measure:
    """Loss of a prediction that is meant as the `alpha` quantile, alpha between 0 and 1."""
    if not 0 < alpha < 1:
        message = f"alpha is {alpha!r}, expected a quantile between 0 and 1, such as 0.9."
        raise ConfigurationError(message, "alpha")
    return mean_of(
        "pinball_loss",
        f"Mean loss of the prediction as the {alpha:g} quantile: below costs {alpha:g}, above {1 - alpha:.4g}.",
        f"mean of where(e < 0, -{alpha:g} e, {1 - alpha:.4g} e)",
        where(_ERROR < 0, -alpha * _ERROR, (1 - alpha) * _ERROR),
        source="Koenker and Bassett, Regression Quantiles (1978)",
    )


def interval_coverage(*, lower: str = "lower", upper: str = "upper") -> Measure:
    """Share of the labels between two predicted quantiles, which are fields of the prediction."""
    inside = (col(lower) <= _LABEL) & (col(upper) >= _LABEL)
    hits = Sum(inside, scale=0, wide=False)
    rows = Sum(lit(1), present(inside), scale=0, wide=False)
    return _mean(
        "interval_coverage",
        f"Share of the labels between {lower} and {upper}, ends included.",
        f"rows with {lower} <= label <= {upper} / n",
        hits,
        support=rows,
        unit="1",
        highest=1.0,
        direction="none",
        source="Gneiting and Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation (2007)",
        interval_from=lambda totals: intervals.wilson(totals[hits], totals[rows]),
    )


_RELATIVE: Final = abs(_ERROR) / abs(_LABEL)
_SIZE: Final = abs(_PREDICTION) + abs(_LABEL)
_LOGARITHMS: Final = ln(1 + _PREDICTION) - ln(1 + _LABEL)
_LOG_USABLE: Final = present(_LOGARITHMS)
_LOG_ROWS: Final = Sum(lit(1), _LOG_USABLE, scale=0, wide=False)
SQUARED_LOG_ERRORS: Final = Sum(_LOGARITHMS**2, _LOG_USABLE, wide=False)
FOURTH_LOG_ERRORS: Final = Sum((_LOGARITHMS**2) ** 2, _LOG_USABLE, scale=_SQUARES, wide=False)

MEASURES: Final = (
    _mean(
        "mean_error",
        "Mean of prediction minus label: positive where the model predicts too much.",
        "sum e / n",
        ERRORS,
        squares=SQUARED_ERRORS,
        direction="none",
        lowest=-math.inf,
    ),
    _mean(
        "mean_absolute_error",
        "Mean absolute difference between prediction and label.",
        "sum |e| / n",
        ABSOLUTE_ERRORS,
        squares=SQUARED_ERRORS,
    ),
    _mean(
        "mean_squared_error",
        "Mean squared difference between prediction and label.",
        "sum e^2 / n",
        SQUARED_ERRORS,
        unit="{squared_label_unit}",
    ),
    _mean(
        "root_mean_squared_error",
        "Square root of the mean squared difference between prediction and label.",
        "sqrt(sum e^2 / n)",
        SQUARED_ERRORS,
        root=True,
    ),
    mean_of(
        "mean_absolute_percentage_error",
        "Mean absolute error relative to the label; rows whose label is 0 are left out.",
        "mean of |e| / |label|",
        _RELATIVE,
        unit="1",
        undefined="no rows with a label other than 0",
    ),
    mean_of(
        "smape",
        "Mean absolute error relative to the mean size of prediction and label; 0 where both are 0.",
        "mean of 2 |e| / (|prediction| + |label|)",
        where(_SIZE > 0, 2 * abs(_ERROR) / _SIZE, 0),
        unit="1",
        highest=2.0,
        source="Makridakis, Accuracy Measures: Theoretical and Practical Concerns (1993)",
    ),
    _mean(
        "rmsle",
        "Root mean squared difference of the logarithms of 1 + prediction and 1 + label; both have to be above -1.",
        "sqrt(mean of (ln(1 + prediction) - ln(1 + label))^2)",
        SQUARED_LOG_ERRORS,
        squares=FOURTH_LOG_ERRORS,
        root=True,
        unit="{nat}",
        support=_LOG_ROWS,
        undefined="no rows with prediction and label above -1",
    ),
    _of_errors(
        "r2",
        "Share of the squared distance from the mean label that the model explains; below 0 it is worse than the mean.",
        "1 - sum e^2 / sum (label - mean label)^2",
        _explained(lambda totals: totals[COMPARABLE_SQUARED_ERRORS]),
        COMPARABLE_SQUARED_ERRORS,
        LABELS,
        SQUARED_LABELS,
        support=COMPARABLE_ROWS,
        unit="{score}",
        direction="higher",
        lowest=-math.inf,
        highest=1.0,
        undefined="the label is constant",
        source=_KVALSETH,
    ),
    _of_errors(
        "explained_variance",
        "Like r2, but a constant error is forgiven.",
        "1 - variance of e / variance of the label",
        _explained(_error_spread),
        COMPARABLE_ERRORS,
        COMPARABLE_SQUARED_ERRORS,
        LABELS,
        SQUARED_LABELS,
        support=COMPARABLE_ROWS,
        unit="{score}",
        direction="higher",
        lowest=-math.inf,
        highest=1.0,
        undefined="the label is constant",
        source=_KVALSETH,
    ),
    pinball_loss(),
    interval_coverage(),
)
