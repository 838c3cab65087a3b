"""Quantiles of numbers in any unit, from counts per bin.

Bins are even in the 16th root of the magnitude, so they are narrow everywhere: 4 % of the value at 1, less above, a
thousandth of a millionth at 0. Square roots are exact on every engine, logarithms are not, and counts have to agree.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.expressions import Expression, col, floor, lit, minimum, present, sqrt, where
from otel_ml_metrics.measures.intervals import Z
from otel_ml_metrics.measures.measure import Interval, Measure, Undefined
from otel_ml_metrics.measures.sums import Binned, Grid, Sum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from otel_ml_metrics.measures.totals import Totals

_ROOTS: Final = 4
_PER_UNIT: Final = 400
_LARGEST: Final = 2.0**40
_HALF: Final = math.floor(_LARGEST ** (1 / 2**_ROOTS) * _PER_UNIT) + 1


def magnitude_grid(expression: Expression) -> Grid:
    """Bins of an expression's value, the negative ones first; the outermost take what is beyond ±2^40."""
    root: Expression = minimum(abs(expression), _LARGEST)
    for _ in range(_ROOTS):
        root = sqrt(root)
    place = floor(where(expression < 0, -root, root) * _PER_UNIT) + _HALF
    return Grid(f"({expression}):root16_{_PER_UNIT}", place, 2 * _HALF)


def magnitude_edges() -> NDArray[np.float64]:
    """The values that bound the bins, one more than there are bins."""
    roots = np.arange(-_HALF, _HALF + 1) / _PER_UNIT
    return np.asarray(np.sign(roots) * roots ** (2**_ROOTS), dtype=np.float64)


def quantile_of(
    name: str,
    expression: Expression,
    q: float,
    **facts: Any,  # noqa: ANN401  # further fields of a measure
) -> Measure:
    """The smallest value that at least the share `q` of the rows does not exceed, as the middle of its bin.

    Raises:
        ConfigurationError: q is not between 0 and 1.
    """
    if not 0 < q < 1:
        message = f"q is {q!r}, expected a share between 0 and 1, such as 0.5 for the median."
        raise ConfigurationError(message, "q")
    counts = Binned(Sum(lit(1), present(expression), scale=0, wide=False), magnitude_grid(expression))

    def bounds(totals: Totals, share: float) -> tuple[float, float] | None:
        below = np.cumsum(totals[counts])
        at = int(np.searchsorted(below, share * below[-1] * (1 - 1e-12)))
        edges = magnitude_edges()
        return (float(edges[at]), float(edges[at + 1])) if 0 < at < len(below) - 1 else None

    def value(totals: Totals) -> float | Undefined:
        found = bounds(totals, q)
        return Undefined("out_of_range") if found is None else (found[0] + found[1]) / 2

    def error(totals: Totals) -> float | None:
        found = bounds(totals, q)
        return found and (found[1] - found[0]) / 2

    def interval(totals: Totals) -> Interval | None:
        rows = float(totals[counts].sum())
        half = Z * math.sqrt(q * (1 - q) / rows)
        if not 0 < q - half < q + half < 1:
            return None
        low, high = bounds(totals, q - half), bounds(totals, q + half)
        return (low[0], high[1]) if low and high else None

    defaults: dict[str, Any] = {
        "undefined": "no rows, or a quantile beyond 1.1e12",
        "source": "Hyndman and Fan, Sample Quantiles in Statistical Packages (1996), definition 1",
    }
    return Measure(
        name=name,
        sums=(counts,),
        support=counts.summed,
        value_from=value,
        interval_from=interval,
        error_from=error,
        **(defaults | facts),
    )


def error_quantile(*, q: float = 0.9) -> Measure:
    """A quantile of `prediction - label`."""
    return _of_errors("error_quantile", q, col("prediction") - col("label"), "error, prediction minus label", "none")


def absolute_error_quantile(*, q: float = 0.5) -> Measure:
    """A quantile of `|prediction - label|`; 0.5 is scikit-learn's `median_absolute_error`."""
    error = abs(col("prediction") - col("label"))
    return _of_errors("absolute_error_quantile", q, error, "absolute error", "lower", lowest=0.0)


def _of_errors(name: str, q: float, expression: Expression, what: str, direction: str, **facts: Any) -> Measure:  # noqa: ANN401  # further fields
    return quantile_of(
        name,
        expression,
        q,
        unit="{label_unit}",
        description=f"The {q:g} quantile of the {what}.",
        formula=f"smallest x with at least {q:g} n rows where {expression} <= x",
        direction=direction,
        tasks=frozenset({"regression"}),
        **facts,
    )


MEASURES: Final = (error_quantile(), absolute_error_quantile())
