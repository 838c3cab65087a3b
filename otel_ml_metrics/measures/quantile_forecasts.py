"""Measures of models that predict several quantiles of a number: the score is the vector of them, in rising order."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.expressions import Expression, added, col, lit, present
from otel_ml_metrics.measures import intervals
from otel_ml_metrics.measures.measure import Measure
from otel_ml_metrics.measures.multiclass import score_column
from otel_ml_metrics.measures.regression import mean_of
from otel_ml_metrics.measures.sums import Sum

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

QUANTILE: Final = frozenset({"quantile"})
LEVELS_AT_MOST: Final = 30
EXAMPLE: Final = (0.1, 0.5, 0.9)
"""Levels of the measures that the catalogue shows."""

_LABEL: Final = col("label")
_KOENKER: Final = "Koenker and Bassett, Regression Quantiles (1978)"
_GNEITING: Final = "Gneiting and Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation (2007)"


class Forecasts:
    """The quantiles that a model predicts.

    Args:
        levels: At least two, strictly rising, above 0 and below 1.
    """

    def __init__(self, levels: Sequence[float]) -> None:
        self._scores = {level: col(score_column(at)) for at, level in enumerate(levels)}

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Every measure, of all levels or of the outermost."""
        return (
            self._mean_pinball(),
            self.interval_coverage(*self._outermost),
            self.interval_width(*self._outermost),
            self._crossing(),
        )

    @property
    def factories(self) -> Mapping[str, Callable[..., Measure]]:
        """What takes levels, by name."""
        lowest, highest = self._outermost

        def pinball_loss(*, level: float = lowest) -> Measure:
            return self.pinball_loss(level)

        def quantile_coverage(*, level: float = lowest) -> Measure:
            return self.quantile_coverage(level)

        def interval_coverage(*, lower: float = lowest, upper: float = highest) -> Measure:
            return self.interval_coverage(lower, upper)

        def interval_width(*, lower: float = lowest, upper: float = highest) -> Measure:
            return self.interval_width(lower, upper)

        made = (pinball_loss, quantile_coverage, interval_coverage, interval_width)
        return {factory.__name__: factory for factory in made}

    @property
    def _outermost(self) -> tuple[float, float]:
        return min(self._scores), max(self._scores)

    def _of(self, level: float, where: str) -> Expression:
        if level not in self._scores:
            message = f"{level!r} is none of the quantiles: {', '.join(map(repr, self._scores))}."
            raise ConfigurationError(message, where)
        return self._scores[level]

    def _pinball(self, level: float) -> Expression:
        # (y - q) level above, (q - y) (1 - level) below; without a branch, so that many levels fit into one expression
        error = self._of(level, "level") - _LABEL
        return abs(error) * 0.5 - error * (level - 0.5)

    def _mean_pinball(self) -> Measure:
        """The mean loss of all quantiles."""
        mean = added([self._pinball(level) for level in self._scores]) * (1 / len(self._scores))
        return _in_label_units(
            "pinball_loss",
            "Mean loss of the predicted quantiles, over all of them.",
            "mean over rows and levels a of (a - [label < q_a]) (label - q_a)",
            mean,
            source=_KOENKER,
        )

    def pinball_loss(self, level: float) -> Measure:
        """Loss of one quantile: a label above it costs `level` of the distance, one below it the rest."""
        return _in_label_units(
            "pinball_loss",
            f"Mean loss of the {level:g} quantile.",
            f"mean of ({level:g} - [label < q]) (label - q), q the {level:g} quantile",
            self._pinball(level),
            source=_KOENKER,
        )

    def quantile_coverage(self, level: float) -> Measure:
        """Share of the labels at or below a quantile, which should be its level."""
        return _share(
            "quantile_coverage",
            f"Share of the labels at or below the {level:g} quantile, which should be {level:g}.",
            f"rows with label <= q / n, q the {level:g} quantile",
            self._of(level, "level") >= _LABEL,
        )

    def interval_coverage(self, lower: float, upper: float) -> Measure:
        """Share of the labels between two quantiles, ends included."""
        low, high = self._of(lower, "lower"), self._of(upper, "upper")
        return _share(
            "interval_coverage",
            f"Share of the labels between the {lower:g} and {upper:g} quantiles, which should be {upper - lower:.4g}.",
            f"rows with q_{lower:g} <= label <= q_{upper:g} / n",
            (low <= _LABEL) & (high >= _LABEL),
        )

    def interval_width(self, lower: float, upper: float) -> Measure:
        """Mean distance of two quantiles, over the labelled rows: of two that cover as much, the narrower is better."""
        width = self._of(upper, "upper") - self._of(lower, "lower")
        return _in_label_units(
            "interval_width",
            f"Mean distance of the {lower:g} and {upper:g} quantiles.",
            f"mean of q_{upper:g} - q_{lower:g}",
            width,
            lowest=-math.inf,
            source=_GNEITING,
        )

    def _crossing(self) -> Measure:
        """Share of the rows whose quantiles do not rise."""
        scores = list(self._scores.values())
        falls = added([(low > high) * 1 for low, high in pairwise(scores)])
        return _share(
            "quantile_crossing_rate",
            "Share of the rows in which a quantile is below one of a lower level.",
            "rows with q_a > q_b for neighbouring levels a < b / n",
            falls > 0,
            direction="lower",
            source="Chernozhukov, Fernández-Val and Galichon, Quantile and Probability Curves without Crossing (2010)",
        )


def _in_label_units(name: str, description: str, formula: str, each: Expression, **facts: Any) -> Measure:  # noqa: ANN401  # further fields
    return replace(mean_of(name, description, formula, each, **facts), tasks=QUANTILE)


def _share(name: str, description: str, formula: str, condition: Expression, **facts: Any) -> Measure:  # noqa: ANN401  # further fields
    """The share of the rows, with a label and these quantiles, in which a condition holds."""
    hits = Sum(condition, scale=0, wide=False)
    rows = Sum(lit(1), present(condition) & present(_LABEL), scale=0, wide=False)
    defaults: dict[str, Any] = {"direction": "none", "source": _GNEITING}
    return Measure(
        name=name,
        unit="1",
        description=description,
        formula=formula,
        lowest=0.0,
        highest=1.0,
        tasks=QUANTILE,
        sums=(hits,),
        support=rows,
        value_from=lambda totals: totals[hits] / totals[rows],
        interval_from=lambda totals: intervals.wilson(totals[hits], totals[rows]),
        **(defaults | facts),
    )
