"""Calibration, from counts and sums of scores per score bin.

Neighbouring score bins are merged into at most 15 groups of about as many rows: fine bins of few rows would make every
model look bad. Inside a group, everything is exact.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from otel_ml_metrics.binning import LIMIT
from otel_ml_metrics.expressions import col
from otel_ml_metrics.measures.curves import BINARY, NEGATIVES, POSITIVES, SUPPORT, curve
from otel_ml_metrics.measures.intervals import around
from otel_ml_metrics.measures.measure import Interval, Measure, Undefined
from otel_ml_metrics.measures.sums import Binned, Sum

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from otel_ml_metrics.measures.totals import Totals

SCORES: Final = Binned(Sum(col("score"), wide=False))
CALIBRATION: Final = (POSITIVES, NEGATIVES, SCORES, SUPPORT)
"""The sums that a reliability table is made of."""

GROUPS: Final = 15
_ROUNDS: Final = 100
_CLOSE: Final = 1e-10
_MURPHY: Final = "Murphy, A New Vector Partition of the Probability Score (1973)"
_KUMAR: Final = "Kumar, Liang and Ma, Verified Uncertainty Calibration (2019)"


class Reliability(NamedTuple):
    """The reliability table: per group of rows with similar scores, each of shape (groups,).

    Args:
        rows: Number of rows, above 0.
        prevalence: Share of positives.
        score: Mean score.
    """

    rows: NDArray[np.float64]
    prevalence: NDArray[np.float64]
    score: NDArray[np.float64]

    @property
    def share(self) -> NDArray[np.float64]:
        """Of all rows."""
        return np.asarray(self.rows / self.rows.sum())

    @property
    def gap(self) -> NDArray[np.float64]:
        """Mean score minus prevalence."""
        return self.score - self.prevalence

    @property
    def overall(self) -> float:
        """Prevalence of all rows."""
        return float((self.share * self.prevalence).sum())


def reliability(totals: Totals) -> Reliability:
    """Merge score bins into groups of about as many rows; a bin is never split, so there may be fewer groups."""
    return totals.derived(_reliability)


def _reliability(totals: Totals) -> Reliability:
    counts, scores = curve(totals), totals[SCORES]
    rows = (counts.positives + counts.negatives).astype(np.float64)
    filled = np.flatnonzero(rows)
    middles = (np.cumsum(rows[filled]) - rows[filled] / 2) / rows.sum()
    _, group = np.unique(np.minimum((middles * GROUPS).astype(np.int64), GROUPS - 1), return_inverse=True)
    merged = [np.bincount(group, weights=each[filled]).astype(np.float64) for each in (rows, counts.positives, scores)]
    return Reliability(merged[0], merged[1] / merged[0], merged[2] / merged[0])


def columns_of(totals: Totals) -> dict[str, Any]:
    """The reliability table of some totals, which have a row, as plain columns."""
    table = reliability(totals)
    return {name: tuple(column.tolist()) for name, column in table._asdict().items()}


def _plug_in(table: Reliability) -> float:
    return float((table.share * np.abs(table.gap)).sum())


def _debiased(table: Reliability) -> float:
    """The error minus what chance alone would add: the mean of a folded normal, minus the gap it is around."""
    gap = np.abs(table.gap)
    deviation = np.sqrt(table.prevalence * (1 - table.prevalence) / table.rows)
    spread = np.where(deviation > 0, deviation, 1.0)
    tail = np.array([math.erfc(each) for each in gap / spread / math.sqrt(2)]) / 2
    folded = spread * math.sqrt(2 / math.pi) * np.exp(-((gap / spread) ** 2) / 2) + gap * (1 - 2 * tail)
    by_chance = np.where(deviation > 0, folded - gap, 0.0)
    return float((table.share * (gap - by_chance)).sum())


def _of_groups(
    name: str,
    description: str,
    formula: str,
    value: Callable[[Reliability], float],
    source: str,
    **facts: Any,  # noqa: ANN401  # further fields of a measure
) -> Measure:
    """A measure of the reliability table, between 0 and 1, lower being better unless said otherwise."""
    defaults: dict[str, Any] = {"unit": "{score}", "direction": "lower", "lowest": 0.0, "highest": 1.0}
    return Measure(
        name=name,
        description=description,
        formula=formula,
        source=source,
        tasks=BINARY,
        sums=(POSITIVES, NEGATIVES, SCORES),
        support=SUPPORT,
        value_from=lambda totals: value(reliability(totals)),
        **(defaults | facts),
    )


class _Line(NamedTuple):
    """A logistic regression of the label on the log-odds of the score."""

    slope: float
    variance: float


def _slope(totals: Totals) -> _Line | Undefined:
    """Fit by Newton's method, each bin's rows at the log-odds of their mean score, within ±16."""
    counts, scores = curve(totals), totals[SCORES]
    filled = np.flatnonzero(counts.positives + counts.negatives)
    hits, misses = (each[filled].astype(np.float64) for each in (counts.positives, counts.negatives))
    rows = hits + misses
    mean = np.clip(scores[filled] / rows, 0.0, 1.0)
    with np.errstate(divide="ignore"):
        odds = np.clip(np.log(mean) - np.log1p(-mean), -LIMIT, LIMIT)
    has, lacks = odds[hits > 0], odds[misses > 0]
    if not (len(has) and len(lacks)):
        return Undefined("one_class")
    if min(has) >= max(lacks) or min(lacks) >= max(has):
        return Undefined("separated")
    return _fit(odds, hits, rows)


def _fit(odds: NDArray[np.float64], hits: NDArray[np.float64], rows: NDArray[np.float64]) -> _Line | Undefined:
    centre = float((rows * odds).sum() / rows.sum())
    design = np.stack([np.ones_like(odds), odds - centre])
    at = np.array([math.log(hits.sum() / (rows - hits).sum()), 0.0])
    best = _likelihood(at @ design, hits, rows)
    for _ in range(_ROUNDS):
        chance = 1 / (1 + np.exp(-np.clip(at @ design, -700, 700)))
        information = (design * (rows * chance * (1 - chance))) @ design.T
        if not np.linalg.det(information) > 0:
            break
        step = np.linalg.solve(information, design @ (hits - rows * chance))
        reached, found = _ascend(at, step, best, lambda line: _likelihood(line @ design, hits, rows))
        if np.abs(reached - at).max() < _CLOSE * max(1.0, float(np.abs(at).max())):
            return _Line(float(reached[1]), float(np.linalg.inv(information)[1, 1]))
        at, best = reached, found
    return Undefined("no_convergence")


def _ascend(
    at: NDArray[Any], step: NDArray[Any], best: float, gain: Callable[[NDArray[Any]], float]
) -> tuple[NDArray[Any], float]:
    """Go the step, or as much of it as does not fall: far from the top Newton's steps are too long."""
    for _ in range(_ROUNDS):
        found = gain(at + step)
        if found >= best - _CLOSE * abs(best):
            return at + step, max(found, best)
        step = step / 2
    return at, best


def _likelihood(linear: NDArray[np.float64], hits: NDArray[np.float64], rows: NDArray[np.float64]) -> float:
    return float((hits * linear - rows * np.logaddexp(0, linear)).sum())


def _slope_value(totals: Totals) -> float | Undefined:
    found = _slope(totals)
    return found if isinstance(found, Undefined) else found.slope


def _slope_interval(totals: Totals) -> Interval | None:
    found = _slope(totals)
    return None if isinstance(found, Undefined) else around(found.slope, found.variance)


MEASURES: Final = (
    _of_groups(
        "expected_calibration_error",
        "Mean distance of score and prevalence over 15 groups of rows with similar scores.",
        "sum over groups of n_g / n |mean score - prevalence|",
        _plug_in,
        "Naeini, Cooper and Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian Binning (2015)",
    ),
    _of_groups(
        "expected_calibration_error_debiased",
        "Expected calibration error, less what chance adds to it where groups are small.",
        "sum over groups of n_g / n (2 |gap| - E |gap + noise|)",
        _debiased,
        _KUMAR,
    ),
    _of_groups(
        "maximum_calibration_error",
        "Largest distance of score and prevalence among 15 groups of rows with similar scores.",
        "max over groups of |mean score - prevalence|",
        lambda table: float(np.abs(table.gap).max()),
        "Naeini, Cooper and Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian Binning (2015)",
    ),
    _of_groups(
        "brier_reliability",
        "Part of the Brier score that calibration would remove.",
        "sum over groups of n_g / n (mean score - prevalence)^2",
        lambda table: float((table.share * table.gap**2).sum()),
        _MURPHY,
    ),
    _of_groups(
        "brier_resolution",
        "Part of the Brier score that telling rows apart has removed.",
        "sum over groups of n_g / n (prevalence of the group - prevalence)^2",
        lambda table: float((table.share * (table.prevalence - table.overall) ** 2).sum()),
        _MURPHY,
        direction="higher",
        highest=0.25,
    ),
    _of_groups(
        "brier_uncertainty",
        "Brier score of always saying the prevalence.",
        "prevalence (1 - prevalence)",
        lambda table: table.overall * (1 - table.overall),
        _MURPHY,
        direction="none",
        highest=0.25,
    ),
    Measure(
        name="calibration_slope",
        unit="{score}",
        description="1 if scores spread as they should; below it they are too extreme, above it too timid.",
        formula="slope of the logistic regression of the label on the log-odds of the mean score of its bin",
        source="Cox, Two Further Applications of a Model for Binary Regression (1958)",
        undefined="one class, or classes that the score separates",
        tasks=BINARY,
        sums=(POSITIVES, NEGATIVES, SCORES),
        support=SUPPORT,
        value_from=_slope_value,
        interval_from=_slope_interval,
    ),
)
