"""Intervals of 95 % that follow from the sums alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Z: Final = 1.959963984540054
"""97.5 % quantile of the normal distribution."""

_STEP: Final = 1e-30


class Moments(NamedTuple):
    """Sum of some values, and of their squares."""

    total: float
    squares: float


def wilson(hits: float, trials: float) -> tuple[float, float]:
    """Interval of a proportion (Wilson 1927): honest at 0 and 1, and never outside.

    >>> low, high = wilson(0, 10)
    >>> round(low, 3), round(high, 3)
    (0.0, 0.278)
    """
    share = hits / trials
    shrink = 1 + Z * Z / trials
    centre = (share + Z * Z / (2 * trials)) / shrink
    half = Z / shrink * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def around(value: float, variance: float) -> tuple[float, float] | None:
    """Normal interval of an estimate with this variance; None where the rows show no spread, which says nothing."""
    half = Z * math.sqrt(max(variance, 0.0))
    return (value - half, value + half) if half > 0 else None


def difference(first: tuple[float, float, float], second: tuple[float, float, float]) -> tuple[float, float, float]:
    """Second minus first, with its interval, of two values with theirs (Zou and Donner 2008); as if independent.

    Args:
        first: Value, lower and upper end.
        second: The same.

    >>> [round(each, 3) for each in difference((0.5, 0.4, 0.6), (0.8, 0.7, 0.9))]
    [0.3, 0.159, 0.441]
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    return b - a, b - a - math.hypot(b - b_low, a_high - a), b - a + math.hypot(b_high - b, a - a_low)


def mean(total: float, squares: float, rows: float) -> tuple[float, float] | None:
    """Interval of a mean, from the sum of the values, the sum of their squares and the number of rows."""
    if rows < 2:  # noqa: PLR2004  one row shows no spread
        return None
    variance = (squares - total * total / rows) / (rows - 1)
    return around(total / rows, variance / rows)


def ratio(above: Moments, below: Moments, product: float, rows: float) -> tuple[float, float] | None:
    """Interval of the ratio of two sums by the delta method (Cochran, Sampling Techniques, 1977, section 6.4).

    Args:
        above: Sum of the numerator and of its squares.
        below: The same of the denominator, whose sum is not 0.
        product: Sum of numerator times denominator.
        rows: Number of rows.
    """
    if rows < 2:  # noqa: PLR2004  one row shows no spread
        return None
    value = above.total / below.total
    residuals = above.squares - 2 * value * product + value * value * below.squares
    return around(value, residuals * rows / (rows - 1) / below.total**2)


def smooth(value_from: Callable[[Any], Any], counts: NDArray[Any]) -> tuple[float, float] | None:
    """Interval of a smooth function of the shares of some cells, by the delta method for multinomial counts.

    The derivatives are exact: a step along the imaginary axis has no rounding error (Squire and Trapp, Using Complex
    Variables to Estimate Derivatives of Real Functions, 1998).

    Args:
        value_from: From counts, scaled as one likes, to the value; made of + - * / and powers only.
        counts: Shape (cells,).
    """
    points = counts + 1j * _STEP * np.eye(len(counts))
    slopes = np.array([complex(value_from(point)).imag / _STEP for point in points])
    return around(float(np.real(value_from(counts.astype(np.float64)))), float((counts * slopes**2).sum()))


def average_precision(value: float, positives: float) -> tuple[float, float] | None:
    """Interval of an average precision on the logit scale (Boyd, Eng and Page 2013); None at 0 and 1."""
    if not 0 < value < 1:
        return None
    centre, half = math.log(value / (1 - value)), Z / math.sqrt(positives * value * (1 - value))
    low, high = centre - half, centre + half
    return _expit(low), _expit(high)


def _expit(odds: float) -> float:
    return 1 / (1 + math.exp(-odds)) if odds >= 0 else 1 - 1 / (1 + math.exp(odds))


def supremum(value: float, positives: float, negatives: float) -> tuple[float, float]:
    """Interval of the largest distance of two distributions: each is as close to its own as Massart (1990) says.

    It holds for every number of rows, and is wide for few.
    """
    half = math.sqrt(math.log(4 / 0.05) / 2) * (1 / math.sqrt(positives) + 1 / math.sqrt(negatives))
    return value - half, value + half


def area_under_curve(positives: NDArray[Any], negatives: NDArray[Any]) -> float:
    """Area under the ROC curve from counts per score bin, ties within a bin counted half (Mann and Whitney 1947)."""
    beaten, _ = _placements(positives, negatives)
    return _area(positives, beaten)


def _area(positives: NDArray[Any], beaten: NDArray[np.float64]) -> float:
    return float((positives * beaten).sum() / positives.sum())


def _placements(positives: NDArray[Any], negatives: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of the negatives that a positive of each bin beats, and of the positives that beat a negative of it."""
    below = np.cumsum(negatives) - negatives / 2
    above = positives.sum() - np.cumsum(positives) + positives / 2
    return below / negatives.sum(), above / positives.sum()


def delong(positives: NDArray[Any], negatives: NDArray[Any]) -> tuple[float, float] | None:
    """Interval of the area under the ROC curve (DeLong, DeLong and Clarke-Pearson 1988), from counts per score bin."""
    placements = _placements(positives, negatives)
    area = _area(positives, placements[0])
    variance = 0.0
    for counts, placement in zip((positives, negatives), placements, strict=True):
        rows = counts.sum()
        if rows < 2:  # noqa: PLR2004  one row shows no spread
            return None
        variance += float((counts * (placement - area) ** 2).sum() / (rows - 1) / rows)
    return around(area, variance)


def binning_error(positives: NDArray[Any], negatives: NDArray[Any]) -> float:
    """Most that binning can change the area under the ROC curve: half of the pairs that share a bin (DESIGN §4)."""
    return float((positives / positives.sum() * (negatives / negatives.sum())).sum() / 2)
