"""Measures of models that choose any number of several classes.

A set of classes is one whole number: the class at place k among the classes is worth 2^k, so that sets are compared,
stored and revised like any other label.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otel_ml_metrics.expressions import Expression, col, floor
from otel_ml_metrics.measures import intervals
from otel_ml_metrics.measures.measure import Measure, Undefined
from otel_ml_metrics.measures.per_class import RATES, UNDEFINED_OF_CLASS, PerClass, macro, of_class, place_of, weighted
from otel_ml_metrics.measures.sums import Sum, count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_ml_metrics.measures.per_class import Rate
    from otel_ml_metrics.measures.totals import Totals

MULTILABEL: Final = frozenset({"multilabel"})
CLASSES_AT_MOST: Final = 50
"""A double holds 53 bits."""

_TSOUMAKAS: Final = "Tsoumakas and Katakis, Multi-Label Classification: An Overview (2007)"
_ROWS: Final = count("label", "prediction")


def _has(column: str, at: int) -> Expression:
    """Whether the class at a place is in the set: whole numbers are halved without rounding."""
    return floor(col(column) / 2.0**at) - 2 * floor(col(column) / 2.0 ** (at + 1)) > 0


class SetCounts:
    """The counts of each class.

    Args:
        classes: Their names.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        pairs = [(_has("label", at), _has("prediction", at)) for at in range(len(classes))]
        self._hits, self._decided, self._true = (
            tuple(Sum(each, scale=0, wide=False) for each in column)
            for column in zip(*((true & decided, decided, true) for true, decided in pairs), strict=True)
        )

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """Every measure of the classes together."""
        averages = (
            ("micro", "every decision about a class counting the same", _micro),
            ("macro", "every class counting the same", macro),
            ("weighted", "every class counting as often as it is true", weighted),
        )
        return (
            self._subset_accuracy(),
            self._hamming_loss(),
            *(
                self._average(f"{name}_{how}", f"{rate.description}, {told}.", rate, average)
                for name, rate in RATES.items()
                for how, told, average in averages
            ),
        )

    def of_class(self, name: str, *, of: str) -> Measure:
        """`precision`, `recall` or `f1` of one class."""
        at, rate = place_of(of, self._classes), RATES[name]

        def interval(totals: Totals) -> tuple[float, float] | None:
            above, below = (float(part[0]) for part in rate.parts(self._counts(totals, at)))
            return intervals.wilson(above, below)

        return _measure(
            name,
            f"{rate.description}: {of}.",
            f"{rate.formula} of {of}",
            sums=(self._hits[at], self._decided[at], self._true[at]),
            value_from=lambda totals: of_class(rate, self._counts(totals, at), 0),
            interval_from=None if name == "f1" else interval,
            undefined=UNDEFINED_OF_CLASS,
        )

    def _average(
        self, name: str, description: str, rate: Rate, average: Callable[[Rate, PerClass], float | Undefined]
    ) -> Measure:
        def value(totals: Totals) -> float | Undefined:
            counts = self._counts(totals)
            needed = counts.true if average is weighted else counts.true + counts.decided
            return average(rate, counts) if needed.any() else Undefined("no_positives")

        return _measure(
            name,
            description,
            f"{name.partition('_')[2]} average over classes of {rate.formula}",
            sums=(*self._hits, *self._decided, *self._true),
            value_from=value,
            undefined="no class is true, nor decided where that counts as well",
        )

    def _counts(self, totals: Totals, at: int | None = None) -> PerClass:
        """The counts of all classes, or of one."""
        chosen = slice(None) if at is None else slice(at, at + 1)
        return PerClass(
            *(np.array([totals[each] for each in sums[chosen]], dtype=np.float64) for sums in self._sums)
        )  # fmt: skip

    @property
    def _sums(self) -> tuple[tuple[Sum, ...], ...]:
        return self._hits, self._decided, self._true

    def _subset_accuracy(self) -> Measure:
        same = Sum(col("label") == col("prediction"), scale=0, wide=False)
        return _measure(
            "subset_accuracy",
            "Share of the rows whose set of classes was decided exactly.",
            "rows with label = decision / n",
            sums=(same,),
            value_from=lambda totals: totals[same] / totals[_ROWS],
            interval_from=lambda totals: intervals.wilson(totals[same], totals[_ROWS]),
        )

    def _hamming_loss(self) -> Measure:
        def value(totals: Totals) -> float:
            hits, decided, true = (each.sum() for each in self._counts(totals))
            return float((decided + true - 2 * hits) / totals[_ROWS] / len(self._classes))

        return _measure(
            "hamming_loss",
            "Share of the decisions about a class, over rows and classes, that were wrong.",
            "sum over classes of (FP + FN) / (n classes)",
            sums=(*self._hits, *self._decided, *self._true),
            value_from=value,
            direction="lower",
        )


def _micro(rate: Rate, counts: PerClass) -> float | Undefined:
    found: float | Undefined = of_class(rate, PerClass(*(each.sum(keepdims=True) for each in counts)), 0)
    return found


def _measure(name: str, description: str, formula: str, **facts: Any) -> Measure:  # noqa: ANN401  # further fields
    """A measure of sets of classes, between 0 and 1 and better if higher unless said otherwise."""
    defaults: dict[str, Any] = {"direction": "higher", "source": _TSOUMAKAS}
    return Measure(
        name=name,
        unit="1",
        description=description,
        formula=formula,
        lowest=0.0,
        highest=1.0,
        tasks=MULTILABEL,
        support=_ROWS,
        **(defaults | facts),
    )
