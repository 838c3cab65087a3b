"""Precision, recall and f1 of each of several classes, and their averages.

As in scikit-learn, averages over classes run over those that occur as a label or as a decision, and a class that was
never decided (or never true) counts 0 there.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from otel_ml_metrics.errors import ConfigurationError, suggest
from otel_ml_metrics.measures.measure import Undefined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray


class PerClass(NamedTuple):
    """Counts per class, each of shape (classes,), of numbers that may be complex.

    Args:
        hits: Rows of the class that were decided to be of it.
        decided: Rows that were decided to be of it.
        true: Rows of it.
    """

    hits: NDArray[Any]
    decided: NDArray[Any]
    true: NDArray[Any]

    @property
    def occurs(self) -> NDArray[np.bool_]:
        """Classes that are a label or a decision of some row."""
        return np.asarray((np.real(self.decided) > 0) | (np.real(self.true) > 0))


def shares(hits: NDArray[Any], trials: NDArray[Any]) -> NDArray[Any]:
    """Hits over trials; 0 without trials."""
    return np.asarray(hits / np.where(trials != 0, trials, 1))


class Rate(NamedTuple):
    """One of precision, recall and f1.

    Args:
        parts: Its numerator and its denominator, per class.
        description: What it is, without an end.
        formula: Of one class.
    """

    parts: Callable[[PerClass], tuple[NDArray[Any], NDArray[Any]]]
    description: str
    formula: str

    def each(self, counts: PerClass) -> NDArray[Any]:
        """The value of each class, 0 where it has none."""
        return shares(*self.parts(counts))


RATES: Final[Mapping[str, Rate]] = MappingProxyType(
    {
        "precision": Rate(
            lambda c: (c.hits, c.decided),
            "Share of those decided to be of the class that were of it",
            "TP / (TP + FP)",
        ),
        "recall": Rate(
            lambda c: (c.hits, c.true),
            "Share of those of the class that were decided to be of it",
            "TP / (TP + FN)",
        ),
        "f1": Rate(
            lambda c: (2 * c.hits, c.decided + c.true),
            "Harmonic mean of precision and recall",
            "2 TP / (2 TP + FP + FN)",
        ),
    }
)


UNDEFINED_OF_CLASS: Final = "the class is neither decided nor true, whichever the denominator counts"


def of_class(rate: Rate, counts: PerClass, at: int) -> Any:  # noqa: ANN401  # a number, real or complex
    """The value of one class, or why it has none."""
    above, below = (part[at] for part in rate.parts(counts))
    return above / below if below else Undefined("zero_denominator")


def macro(rate: Rate, counts: PerClass) -> Any:  # noqa: ANN401  # a number, real or complex
    """The average in which every class counts the same."""
    return rate.each(counts)[counts.occurs].sum() / counts.occurs.sum()


def weighted(rate: Rate, counts: PerClass) -> Any:  # noqa: ANN401  # a number, real or complex
    """The average in which every class counts as often as it is true."""
    return (rate.each(counts) * counts.true).sum() / counts.true.sum()


def place_of(of: str, classes: Sequence[str]) -> int:
    """Which of the classes one is.

    Raises:
        ConfigurationError: There is no such class.
    """
    if of not in classes:
        message = f"{of!r} is no class. {suggest(str(of), classes)}"
        raise ConfigurationError(message, "of")
    return classes.index(of)
