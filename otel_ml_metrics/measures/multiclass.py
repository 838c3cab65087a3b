"""Measures of models that choose one of several classes: from one table of label and decision, and from the scores."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.expressions import Expression, added, col, lit, ln, maximum, where
from otel_ml_metrics.measures import intervals
from otel_ml_metrics.measures.measure import Interval, Measure, Undefined
from otel_ml_metrics.measures.per_class import RATES, UNDEFINED_OF_CLASS, PerClass, macro, place_of, weighted
from otel_ml_metrics.measures.per_class import of_class as class_rate
from otel_ml_metrics.measures.sums import Binned, Grid, Sum

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from otel_ml_metrics.measures.per_class import Rate
    from otel_ml_metrics.measures.totals import Totals

MULTICLASS: Final = frozenset({"multiclass"})
CLASSES_AT_MOST: Final = 150
EXAMPLE: Final = ("cat", "dog", "owl")
"""Classes of the measures that the catalogue shows."""

_SMOOTH_AT_MOST: Final = 20
_TOP_AT_MOST: Final = 16
_SOKOLOVA: Final = "Sokolova and Lapalme, A Systematic Analysis of Performance Measures (2009)"


def score_column(place: int) -> str:
    """Column of the score of one class, by its place among the classes. No declared field can have this name."""
    return f"score[{place}]"


def _number(column: str, classes: Sequence[str]) -> Expression:
    """Place of a class among the classes, from 1; 0 for any other text."""
    return added([(col(column) == name) * (at + 1) for at, name in enumerate(classes)])


class _Counts:
    """The counts per label and decision."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        label, decided, n = _number("label", classes), _number("prediction", classes), len(classes)
        known = (label > 0) & (decided > 0)
        place = where(known, (label - 1) * n + decided - 1, -1)
        self.rows = Sum(lit(1), known, scale=0, wide=False)
        self.cells = Binned(
            Sum(lit(1), scale=0, wide=False), Grid(f"label_and_prediction:{list(classes)!r}", place, n * n)
        )

    def table(self, counts: NDArray[Any]) -> NDArray[Any]:
        """Shape (classes, classes): labels down, decisions across."""
        return counts.reshape(len(self.classes), len(self.classes))

    def measure(
        self,
        name: str,
        description: str,
        formula: str,
        value: Callable[[NDArray[Any]], Any],
        **facts: Any,  # noqa: ANN401  # further fields of a measure
    ) -> Measure:
        """A measure of the table, between 0 and 1 and better if higher unless said otherwise."""

        def found(totals: Totals) -> float | Undefined:
            value_ = value(self.table(totals[self.cells].astype(np.float64)))
            return value_ if isinstance(value_, Undefined) else float(value_)

        def interval(totals: Totals) -> Interval | None:
            if len(self.classes) > _SMOOTH_AT_MOST:
                return None
            return intervals.smooth(lambda counts: value(self.table(counts)), totals[self.cells].astype(np.float64))

        defaults: dict[str, Any] = {
            "unit": "1", "direction": "higher", "lowest": 0.0, "highest": 1.0, "source": _SOKOLOVA,
            "interval_from": interval,
        }  # fmt: skip
        return Measure(
            name=name,
            description=description,
            formula=formula,
            tasks=MULTICLASS,
            sums=(self.cells,),
            support=self.rows,
            value_from=found,
            **(defaults | facts),
        )


def _per_class(table: NDArray[Any]) -> PerClass:
    return PerClass(np.diagonal(table), table.sum(axis=0), table.sum(axis=1))


def _over_classes(average: Callable[[Rate, PerClass], Any]) -> Callable[[Rate, NDArray[Any]], Any]:
    return lambda rate, table: average(rate, _per_class(table))


def _accuracy(table: NDArray[Any]) -> Any:  # noqa: ANN401  # a number, real or complex
    return np.trace(table) / table.sum()


def _balanced(table: NDArray[Any]) -> Any:  # noqa: ANN401  # a number, real or complex
    occurs = np.real(table.sum(axis=1)) > 0
    return RATES["recall"].each(_per_class(table))[occurs].sum() / occurs.sum()


def _matthews(table: NDArray[Any]) -> Any:  # noqa: ANN401  # a number, real or complex
    decided, true, rows = table.sum(axis=0), table.sum(axis=1), table.sum()
    left, right = rows**2 - (decided**2).sum(), rows**2 - (true**2).sum()
    if not (left and right):
        return Undefined("zero_denominator")
    return (np.trace(table) * rows - (decided * true).sum()) / left**0.5 / right**0.5


def _kappa(table: NDArray[Any]) -> Any:  # noqa: ANN401  # a number, real or complex
    by_chance, rows = (table.sum(axis=0) * table.sum(axis=1)).sum(), table.sum()
    if rows**2 == by_chance:
        return Undefined("zero_denominator")
    return (np.trace(table) * rows - by_chance) / (rows**2 - by_chance)


def of_class(name: str, of: str, classes: Sequence[str]) -> Measure:
    """`precision`, `recall` or `f1` of one class against all others.

    Raises:
        ConfigurationError: There is no such class.
    """
    at, rate = place_of(of, classes), RATES[name]
    return _Counts(classes).measure(
        name,
        f"{rate.description}: {of}.",
        f"{rate.formula} of {of}",
        lambda table: class_rate(rate, _per_class(table), at),
        undefined=UNDEFINED_OF_CLASS,
    )


class _Scores:
    """Sums over the scores of all classes; rows whose scores are no distribution take no part."""

    def __init__(self, classes: Sequence[str]) -> None:
        scores = [col(score_column(at)) for at in range(len(classes))]
        sound = added([(each >= 0) * 1 for each in scores])
        self.scores = scores
        self.usable = (sound >= len(classes)) & (abs(added(scores) - 1) <= 0.01) & (_number("label", classes) > 0)  # noqa: PLR2004  # a rounding error per class
        self.of_label = added([(col("label") == name) * score for name, score in zip(classes, scores, strict=True)])
        self.rows = Sum(lit(1), self.usable, scale=0, wide=False)

    def mean(self, name: str, description: str, formula: str, each: Expression, **facts: Any) -> Measure:  # noqa: ANN401  # further fields
        """The mean of an expression that is small for every distribution."""
        total = Sum(each, self.usable, wide=False)
        squares = Sum(each**2, self.usable, wide=False)
        defaults: dict[str, Any] = {"unit": "{score}", "direction": "lower", "lowest": 0.0}
        return Measure(
            name=name,
            description=description,
            formula=formula,
            tasks=MULTICLASS,
            sums=(total, squares),
            support=self.rows,
            value_from=lambda totals: totals[total] / totals[self.rows],
            interval_from=lambda totals: intervals.mean(totals[total], totals[squares], totals[self.rows]),
            **(defaults | facts),
        )


def top_k_accuracy(classes: Sequence[str], *, k: int = 2) -> Measure:
    """Share of the rows whose class is among the `k` with the highest scores, ties in its favour."""
    if len(classes) > _TOP_AT_MOST:
        message = f"top_k_accuracy works for up to {_TOP_AT_MOST} classes, and here are {len(classes)}. Leave it out."
        raise ConfigurationError(message, "measures")
    if type(k) is not int or not 0 < k < len(classes):
        message = f"k is {k!r}, expected a whole number from 1 to {len(classes) - 1}."
        raise ConfigurationError(message, "k")
    scores = _Scores(classes)
    above = added([(each > scores.of_label) * 1 for each in scores.scores])
    hits = Sum((above < k) & scores.usable, scale=0, wide=False)
    return Measure(
        name="top_k_accuracy",
        unit="1",
        description=f"Share of the rows whose class is among the {k} with the highest scores.",
        formula=f"rows with fewer than {k} scores above that of the label / n",
        source="Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge (2015)",
        direction="higher",
        lowest=0.0,
        highest=1.0,
        tasks=MULTICLASS,
        sums=(hits,),
        support=scores.rows,
        value_from=lambda totals: totals[hits] / totals[scores.rows],
        interval_from=lambda totals: intervals.wilson(totals[hits], totals[scores.rows]),
    )


def multiclass_measures(classes: Sequence[str]) -> tuple[Measure, ...]:
    """Every measure of these classes that needs no parameter."""
    counts, scores = _Counts(classes), _Scores(classes)
    squared = added([(score - (col("label") == name)) ** 2 for name, score in zip(classes, scores.scores, strict=True)])
    averages = [
        counts.measure(
            f"{name}_{how}",
            f"{rate.description}, {told}.",
            f"{how} average of {name} over classes",
            partial(form, rate),
        )
        for name, rate in RATES.items()
        for how, told, form in (
            ("macro", "every class counting the same", _over_classes(macro)),
            ("weighted", "every class counting as often as it occurs", _over_classes(weighted)),
            ("micro", "every row counting the same: the accuracy", lambda _, table: _accuracy(table)),
        )
    ]
    return (
        counts.measure("accuracy", "Share of the decisions that were right.", "sum of the diagonal / n", _accuracy),
        *averages,
        counts.measure("balanced_accuracy", "Mean recall of the classes that occur.", "mean of recall", _balanced),
        counts.measure(
            "matthews_corrcoef",
            "Correlation of label and decision.",
            "(c s - sum p_k t_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2))",
            _matthews,
            unit="{score}",
            lowest=-1.0,
            source="Gorodkin, Comparing Two K-Category Assignments by a K-Category Correlation Coefficient (2004)",
            undefined="one class, or one decision for all rows",
        ),
        counts.measure(
            "cohen_kappa",
            "Agreement of label and decision beyond chance.",
            "(p_o - p_e) / (1 - p_e)",
            _kappa,
            unit="{score}",
            lowest=-1.0,
            source="Cohen, A Coefficient of Agreement for Nominal Scales (1960)",
            undefined="one class that is also the only decision",
        ),
        scores.mean(
            "log_loss",
            "Mean negative log-likelihood of the labels; scores are clipped at 1e-15.",
            "sum -ln score(label) / n",
            -ln(maximum(scores.of_label, 1e-15)),
            unit="{nat}",
            highest=34.6,
            source="Good, Rational Decisions (1952)",
        ),
        scores.mean(
            "brier_score",
            "Mean squared distance between the scores and the label, over all classes.",
            "sum over rows and classes of (score_k - [label = k])^2 / n",
            squared,
            highest=2.05,
            source="Brier, Verification of Forecasts Expressed in Terms of Probability (1950)",
        ),
        *([top_k_accuracy(classes)] if 2 < len(classes) <= _TOP_AT_MOST else []),  # noqa: PLR2004  # of two, both are the top
    )


def decided_rows(classes: Sequence[str]) -> Sum:
    """Count the rows whose decision is one of the classes."""
    return _Counts(classes).rows


def scored_rows(classes: Sequence[str]) -> Sum:
    """Count the rows whose scores are a distribution over the classes."""
    return _Scores(classes).rows
