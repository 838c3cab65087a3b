"""Exact measures as users write them: functions of label and score that no sums can give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def ranked_gap(label: NDArray[Any], score: NDArray[np.float64]) -> float:
    """Mean distance of score and label, each row counting as often as its rank says."""
    ranks = np.arange(1, len(label) + 1)
    return float(np.mean(ranks * (score - label)))


def middle_gap(label: NDArray[Any], score: NDArray[np.float64]) -> float:
    """Median distance of score and label, of two rows or more."""
    if len(label) == 1:
        message = "one row has no middle"
        raise ValueError(message)
    return float(np.median(np.abs(score - label)))
