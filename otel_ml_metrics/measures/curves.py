"""Measures over the whole curve, from counts per score bin: areas, distances, and what lies in the top share.

Rows that share a bin are tied. What that can change at most, whatever the scores were, is the certificate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.expressions import col
from otel_ml_metrics.measures import intervals
from otel_ml_metrics.measures.measure import Interval, Measure, Undefined
from otel_ml_metrics.measures.sums import Binned, Sum, count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from otel_ml_metrics.measures.totals import State, Totals

BINARY: Final = frozenset({"binary"})
POSITIVES: Final = Binned(Sum(col("label"), scale=0, wide=False))
NEGATIVES: Final = Binned(Sum(~col("label"), scale=0, wide=False))
SUPPORT: Final = count("label", condition=POSITIVES.grid.condition)


@dataclass(frozen=True, eq=False)
class Curve:
    """Positives and negatives per score bin; what several measures or their intervals need of them, computed once.

    Args:
        positives: Shape (bins,), scores ascending.
        negatives: The same.
    """

    positives: NDArray[Any]
    negatives: NDArray[Any]

    @cached_property
    def has_both(self) -> bool:
        """Whether there is a row of either class."""
        return bool(self.positives.any() and self.negatives.any())

    @cached_property
    def from_the_top(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Positives and negatives of each bin that has rows, and those above it; the highest scores first."""
        filled = np.flatnonzero(self.positives + self.negatives)[::-1]
        p, q = self.positives[filled].astype(np.float64), self.negatives[filled].astype(np.float64)
        return p, q, np.cumsum(p) - p, np.cumsum(q) - q

    @cached_property
    def area(self) -> float:
        """Area under the ROC curve."""
        return intervals.area_under_curve(self.positives, self.negatives)

    @cached_property
    def area_interval(self) -> Interval | None:
        """Its interval."""
        return intervals.delong(self.positives, self.negatives)

    @cached_property
    def area_error(self) -> float:
        """Most that binning can change it."""
        return intervals.binning_error(self.positives, self.negatives)

    @cached_property
    def average_precision(self) -> float:
        """Mean precision at the threshold of each positive, rows of a bin sharing theirs."""
        p, q, above, false = self.from_the_top
        return float((p * (above + p) / (above + p + false + q)).sum() / p.sum())

    @cached_property
    def kolmogorov_smirnov(self) -> float:
        """Largest distance between the distributions of the scores of the two classes."""
        gaps = np.cumsum(self.positives / self.positives.sum() - self.negatives / self.negatives.sum())
        return float(np.abs(gaps).max())


def curve(totals: Totals) -> Curve:
    """The counts of the two classes."""
    return totals.derived(_curve)


def _curve(totals: Totals) -> Curve:
    return Curve(totals[POSITIVES], totals[NEGATIVES])


def score_counts(states: Iterable[State]) -> tuple[Binned, Binned] | None:
    """Which of these sums count positives and negatives per score bin, each row once; None where none do."""
    binned = [state for state in states if isinstance(state, Binned) and state.grid.lowest is not None]
    for positives in binned:
        negatives = Binned(NEGATIVES.summed, positives.grid)
        if positives.summed == POSITIVES.summed and negatives in binned:
            return positives, negatives
    return None


def lowest_of(state: Binned) -> NDArray[np.float64]:
    """The lowest score of each bin, shape (bins,), for bins that are ranges of scores."""
    if state.grid.lowest is None:
        message = f"the cells of {state.grid.name} are no ranges of scores."
        raise ConfigurationError(message)
    return state.grid.lowest()


def _of_curve(
    name: str,
    description: str,
    formula: str,
    value: Callable[[Curve], float],
    *,
    error: Callable[[Curve], float],
    interval: Callable[[Curve], Interval | None] = lambda _: None,
    **facts: Any,  # noqa: ANN401  # further fields of a measure
) -> Measure:
    """A measure of the curve; undefined where there is one class only."""
    defaults: dict[str, Any] = {
        "unit": "{score}",
        "direction": "higher",
        "lowest": 0.0,
        "highest": 1.0,
        "undefined": "one class",
    }
    return Measure(
        name=name,
        description=description,
        formula=formula,
        tasks=BINARY,
        sums=(POSITIVES, NEGATIVES),
        support=SUPPORT,
        value_from=lambda totals: value(curve(totals)) if curve(totals).has_both else Undefined("one_class"),
        interval_from=lambda totals: interval(curve(totals)),
        error_from=lambda totals: error(curve(totals)),
        **(defaults | facts),
    )


def average_precision_error(counts: Curve) -> float:
    """Most that the order inside the bins can change the average precision.

    At best all positives of a bin come before its negatives, tied; at worst after them, one by one, and the sum of
    their precisions is then at least what the integral says (1/x is convex).
    """
    p, q, above, false = counts.from_the_top
    before = above + false + q
    taken = above + p + false
    best = p * (above + p) / np.where(taken > 0, taken, 1.0)
    worst = p - (false + q) * np.log1p(p / (before + 0.5))
    value = counts.average_precision
    return float(max(best.sum() / p.sum() - value, value - worst.sum() / p.sum()))


def _ks_error(counts: Curve) -> float:
    """Most that the distance can grow inside a bin: if one class comes first."""
    p, q = counts.positives / counts.positives.sum(), counts.negatives / counts.negatives.sum()
    before = np.cumsum(p - q) - (p - q)
    return float(max(np.abs(before + p).max(), np.abs(before - q).max()) - counts.kolmogorov_smirnov)


def _doubled(found: Interval | None) -> Interval | None:
    return found and (2 * found[0] - 1, 2 * found[1] - 1)


class _Top(NamedTuple):
    """The rows with the highest scores: their number, the positives among them, and how far off those may be."""

    rows: float
    hits: float
    error: float


@lru_cache(maxsize=1)
def _top(counts: Curve, share: float) -> _Top:
    """The share of the rows with the highest scores; of the bin where it ends, positives by their share of it.

    Values, intervals and bounds of several measures ask for the same one after the other.
    """
    p, q, above, false = counts.from_the_top
    wanted = share * float((p + q).sum())
    at = int(np.searchsorted(np.cumsum(p + q), wanted))
    at = min(at, len(p) - 1)
    taken = wanted - above[at] - false[at]
    split = taken * p[at] / (p[at] + q[at])
    error = max(min(p[at], taken) - split, split - max(0.0, taken - q[at]))
    return _Top(wanted, float(above[at] + split), float(error))


def _check_top(top: float) -> None:
    if not 0 < top <= 1:
        message = f"top is {top!r}, expected a share of the rows above 0 and at most 1, such as 0.05 for 5 %."
        raise ConfigurationError(message, "top")


def precision_at_top(*, top: float = 0.1) -> Measure:
    """Share of positives among the `top` share of the rows with the highest scores."""
    _check_top(top)

    def part(counts: Curve) -> tuple[float, float]:
        found = _top(counts, top)
        return found.hits, found.rows

    made = _of_curve(
        "precision_at_top",
        f"Share of positives among the {top:.4g} of the rows with the highest scores.",
        f"positives in the top {top:.4g} / ({top:.4g} n), ties shared",
        lambda counts: part(counts)[0] / part(counts)[1],
        error=lambda counts: _top(counts, top).error / part(counts)[1],
        interval=lambda counts: intervals.wilson(*part(counts)),
        unit="1",
        undefined="no rows",
        source="Manning, Raghavan and Schütze, Introduction to Information Retrieval (2008), chapter 8",
    )
    return replace(made, value_from=lambda totals: part(curve(totals))[0] / part(curve(totals))[1])


def lift(*, top: float = 0.1) -> Measure:
    """How many times as many positives the `top` share of the rows has as a random share of that size."""
    _check_top(top)

    def recall(counts: Curve) -> tuple[float, float]:
        return _top(counts, top).hits, float(counts.positives.sum())

    def interval(counts: Curve) -> Interval:
        low, high = intervals.wilson(*recall(counts))
        return low / top, high / top

    def value(totals: Totals) -> float | Undefined:
        hits, positives = recall(curve(totals))
        return hits / positives / top if positives else Undefined("no_positives")

    made = _of_curve(
        "lift",
        f"Positives among the {top:.4g} of the rows with the highest scores, as a multiple of the prevalence.",
        f"positives in the top {top:.4g} / ({top:.4g} P), ties shared",
        lambda counts: recall(counts)[0] / recall(counts)[1] / top,
        error=lambda counts: _top(counts, top).error / recall(counts)[1] / top,
        interval=interval,
        highest=1 / top,
        undefined="no positives",
        source="Ling and Li, Data Mining for Direct Marketing (1998)",
    )
    return replace(made, value_from=value)


MEASURES: Final = (
    _of_curve(
        "roc_auc",
        "Probability that a positive has a higher score than a negative, from counts per score bin.",
        "sum over bins of P_b (N_below + N_b / 2) / (P N)",
        lambda counts: counts.area,
        interval=lambda counts: counts.area_interval,
        error=lambda counts: counts.area_error,
        source="Mann and Whitney (1947); interval: DeLong, DeLong and Clarke-Pearson (1988)",
    ),
    _of_curve(
        "gini",
        "Twice the area under the ROC curve, minus 1: 0 for a random order.",
        "2 roc_auc - 1",
        lambda counts: 2 * counts.area - 1,
        interval=lambda counts: _doubled(counts.area_interval),
        error=lambda counts: 2 * counts.area_error,
        lowest=-1.0,
        source="Hand and Till, A Simple Generalisation of the Area Under the ROC Curve (2001)",
    ),
    _of_curve(
        "average_precision",
        "Mean precision at the threshold of each positive, from counts per score bin.",
        "sum over bins of (R_b - R_above) TP_b / (TP_b + FP_b)",
        lambda counts: counts.average_precision,
        interval=lambda counts: intervals.average_precision(counts.average_precision, float(counts.positives.sum())),
        error=average_precision_error,
        source="Boyd, Eng and Page, Area under the Precision-Recall Curve (2013)",
    ),
    _of_curve(
        "ks",
        "Largest distance between the distributions of the scores of positives and negatives.",
        "max over scores of |share of positives below - share of negatives below|",
        lambda counts: counts.kolmogorov_smirnov,
        interval=lambda counts: intervals.supremum(
            counts.kolmogorov_smirnov, float(counts.positives.sum()), float(counts.negatives.sum())
        ),
        error=_ks_error,
        source="Smirnov (1948); interval: Massart, The Tight Constant in the DKW Inequality (1990)",
    ),
    precision_at_top(),
    lift(),
)
