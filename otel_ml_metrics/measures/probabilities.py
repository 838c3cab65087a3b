"""Measures of probabilities, from sums over rows: losses, and how far they are off on the whole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.expressions import col, ln, maximum, where
from otel_ml_metrics.measures import intervals
from otel_ml_metrics.measures.measure import Measure, Undefined
from otel_ml_metrics.measures.sums import Sum, count

if TYPE_CHECKING:
    from otel_ml_metrics.measures.totals import Totals

BINARY: Final = frozenset({"binary"})
_LABEL, _SCORE = col("label"), col("score")

# A row whose score is outside [0, 1] takes no part where probabilities are needed.
_PROBABILITY: Final = (_SCORE >= 0) & (_SCORE <= 1)
_LOSS: Final = -ln(maximum(where(_LABEL, _SCORE, 1 - _SCORE), 1e-15))
_GAP: Final = _SCORE - _LABEL
PROBABILITIES: Final = count("label", condition=_PROBABILITY)


def _bounded(expression: Any) -> Sum:  # noqa: ANN401  # an expression; operators of it are untyped
    """The sum of something that is small for every probability."""
    return Sum(expression, _PROBABILITY, wide=False)


LOG_LOSSES: Final = _bounded(_LOSS)
SQUARED_LOG_LOSSES: Final = _bounded(_LOSS**2)
GAPS: Final = _bounded(_GAP)
SQUARED_GAPS: Final = _bounded(_GAP**2)
FOURTH_GAPS: Final = _bounded((_GAP**2) ** 2)
LEANING: Final = _bounded((_LABEL - _SCORE) * (1 - 2 * _SCORE))
LEANING_VARIANCE: Final = _bounded((1 - 2 * _SCORE) ** 2 * (_SCORE * (1 - _SCORE)))


def _spiegelhalter(totals: Totals) -> float | Undefined:
    variance = totals[LEANING_VARIANCE]
    return totals[LEANING] / math.sqrt(variance) if variance > 0 else Undefined("zero_denominator")


def _mean(name: str, description: str, formula: str, total: Sum, squares: Sum, **facts: Any) -> Measure:  # noqa: ANN401  # further fields
    """The mean of something over the rows that have a probability."""
    defaults: dict[str, Any] = {"unit": "{score}", "direction": "lower", "lowest": 0.0}
    return Measure(
        name=name,
        description=description,
        formula=formula,
        tasks=BINARY,
        sums=(total, squares),
        support=PROBABILITIES,
        value_from=lambda totals: totals[total] / totals[PROBABILITIES],
        interval_from=lambda totals: intervals.mean(totals[total], totals[squares], totals[PROBABILITIES]),
        **(defaults | facts),
    )


MEASURES: Final = (
    _mean(
        "log_loss",
        "Mean negative log-likelihood of the labels; probabilities are clipped at 1e-15.",
        "sum -ln p(label) / n",
        LOG_LOSSES,
        SQUARED_LOG_LOSSES,
        unit="{nat}",
        highest=34.6,
        source="Good, Rational Decisions (1952)",
    ),
    _mean(
        "brier_score",
        "Mean squared difference between score and label.",
        "sum (score - label)^2 / n",
        SQUARED_GAPS,
        FOURTH_GAPS,
        highest=1.0,
        source="Brier, Verification of Forecasts Expressed in Terms of Probability (1950)",
    ),
    _mean(
        "calibration_in_the_large",
        "Mean score minus prevalence: positive where the model promises too much.",
        "sum (score - label) / n",
        GAPS,
        SQUARED_GAPS,
        direction="none",
        lowest=-1.0,
        highest=1.0,
        source="Steyerberg, Clinical Prediction Models (2009), chapter 15",
    ),
    Measure(
        name="spiegelhalter_z",
        unit="{score}",
        description="Standard normal if the scores are calibrated; beyond -2 or 2 they are not.",
        formula="sum (label - score) (1 - 2 score) / sqrt(sum (1 - 2 score)^2 score (1 - score))",
        source="Spiegelhalter, Probabilistic Prediction in Patient Management (1986)",
        undefined="only scores of 0, 0.5 and 1",
        tasks=BINARY,
        sums=(LEANING, LEANING_VARIANCE),
        support=PROBABILITIES,
        value_from=_spiegelhalter,
    ),
)
