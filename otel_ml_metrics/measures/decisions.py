"""Measures of yes-or-no decisions: functions of one confusion table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.expressions import col
from otel_ml_metrics.measures import intervals
from otel_ml_metrics.measures.measure import Interval, Measure, Undefined
from otel_ml_metrics.measures.sums import Sum, count

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_ml_metrics.measures.totals import Totals

BINARY: Final = frozenset({"binary"})
_LABEL, _PREDICTION = col("label"), col("prediction")
_POWERS: Final = "Powers, Evaluation: From Precision, Recall and F-Measure to ROC (2011)"
_RIJSBERGEN: Final = "van Rijsbergen, Information Retrieval (1979)"

ROWS: Final = count("label", "prediction")
TRUE_POSITIVES: Final = Sum(_LABEL & _PREDICTION, scale=0, wide=False)
FALSE_POSITIVES: Final = Sum(~_LABEL & _PREDICTION, scale=0, wide=False)
FALSE_NEGATIVES: Final = Sum(_LABEL & ~_PREDICTION, scale=0, wide=False)
CONFUSION: Final = (TRUE_POSITIVES, FALSE_POSITIVES, FALSE_NEGATIVES, ROWS)

LABELLED: Final = count("label")
POSITIVES: Final = Sum(_LABEL, scale=0, wide=False)


class Confusion(NamedTuple):
    """Counts of decisions: true and false positives, false and true negatives."""

    tp: float
    fp: float
    fn: float
    tn: float


def confusion(totals: Totals) -> Confusion:
    """The confusion table, completed from its four sums without rounding: what is 0 has to stay 0."""
    return totals.derived(_confusion)


def _confusion(totals: Totals) -> Confusion:
    tp, fp, fn, rows = (totals.exact(each) for each in CONFUSION)
    return Confusion(*map(float, (tp, fp, fn, rows - tp - fp - fn)))


def share(hits: float, trials: float, reason: str) -> float | Undefined:
    """A proportion; undefined without trials."""
    return hits / trials if trials else Undefined(reason)


def _of_decisions(
    name: str,
    description: str,
    formula: str,
    value: Callable[[Confusion], float | Undefined],
    *,
    undefined: str = "no rows",
    source: str = _POWERS,
    interval: Callable[[Confusion], Interval | None] | None = None,
    **facts: Any,  # noqa: ANN401  # further fields of a measure
) -> Measure:
    """A measure on the confusion table, between 0 and 1 unless said otherwise; its interval by the delta method."""

    def smooth(table: Confusion) -> Interval | None:
        return intervals.smooth(lambda counts: value(Confusion(*counts)), np.array(table))

    chosen = interval or smooth
    defaults: dict[str, Any] = {"unit": "1", "direction": "higher", "lowest": 0.0, "highest": 1.0}
    return Measure(
        name=name,
        description=description,
        formula=formula,
        source=source,
        undefined=undefined,
        tasks=BINARY,
        sums=CONFUSION,
        support=ROWS,
        value_from=lambda totals: value(confusion(totals)),
        interval_from=lambda totals: chosen(confusion(totals)),
        **(defaults | facts),
    )


def _share(
    name: str,
    description: str,
    formula: str,
    part: Callable[[Confusion], tuple[float, float]],
    reason: str,
    **facts: Any,  # noqa: ANN401  # further fields of a measure
) -> Measure:
    """A proportion on the confusion table, `part` being its hits and its trials; undefined without trials."""
    return _of_decisions(
        name,
        description,
        formula,
        lambda table: share(*part(table), reason),
        interval=lambda table: intervals.wilson(*part(table)),
        undefined=reason.replace("_", " "),
        **facts,
    )


def _f1_interval(table: Confusion) -> Interval:
    # 2p / (1 + p) rises with p = TP / (TP + FP + FN), a proportion: so the ends of its interval can be carried over.
    low, high = intervals.wilson(table.tp, table.tp + table.fp + table.fn)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def _balanced_accuracy(c: Confusion) -> float | Undefined:
    positives, negatives = c.tp + c.fn, c.tn + c.fp
    if not (positives and negatives):
        return Undefined("one_class")
    return (c.tp / positives + c.tn / negatives) / 2


def _matthews_corrcoef(c: Confusion) -> float | Undefined:
    margins = (c.tp + c.fp, c.tp + c.fn, c.tn + c.fp, c.tn + c.fn)
    if not all(margins):
        return Undefined("zero_denominator")
    scaled: float = (c.tp * c.tn - c.fp * c.fn) / (margins[0] * margins[1]) ** 0.5
    value: float = scaled / (margins[2] * margins[3]) ** 0.5
    return value


def _cohen_kappa(c: Confusion) -> float | Undefined:
    by_chance = (c.tp + c.fp) * (c.fp + c.tn) + (c.tp + c.fn) * (c.fn + c.tn)
    return 2 * (c.tp * c.tn - c.fp * c.fn) / by_chance if by_chance else Undefined("zero_denominator")


def fbeta(*, beta: float = 2.0) -> Measure:
    """Mean of precision and recall in which recall weighs `beta` times as much, beta above 0."""
    if not 0 < beta < 1e3:  # noqa: PLR2004  beyond it is recall
        message = f"beta is {beta!r}, expected a number above 0 and below 1,000. Larger ones are recall."
        raise ConfigurationError(message, "beta")
    more = beta * beta

    def value(c: Confusion) -> float | Undefined:
        below = (1 + more) * c.tp + more * c.fn + c.fp
        return (1 + more) * c.tp / below if below else Undefined("zero_denominator")

    return _of_decisions(
        "fbeta",
        f"Harmonic mean of precision and recall, recall weighing {beta:g} times as much.",
        f"(1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP), b = {beta:g}",
        value,
        undefined="neither a positive nor a predicted positive",
        source=_RIJSBERGEN,
    )


MEASURES: Final = (
    _share(
        "accuracy",
        "Share of the decisions that were right.",
        "(TP + TN) / n",
        lambda c: (c.tp + c.tn, sum(c)),
        "no_rows",
    ),
    _share(
        "precision",
        "Share of the predicted positives that were positive.",
        "TP / (TP + FP)",
        lambda c: (c.tp, c.tp + c.fp),
        "no_predicted_positives",
    ),
    _share(
        "recall",
        "Share of the positives that were predicted.",
        "TP / (TP + FN)",
        lambda c: (c.tp, c.tp + c.fn),
        "no_positives",
    ),
    _share(
        "specificity",
        "Share of the negatives that were predicted negative.",
        "TN / (TN + FP)",
        lambda c: (c.tn, c.tn + c.fp),
        "no_negatives",
    ),
    _of_decisions(
        "f1",
        "Harmonic mean of precision and recall.",
        "2 TP / (2 TP + FP + FN)",
        lambda c: 2 * c.tp / (2 * c.tp + c.fp + c.fn) if c.tp + c.fp + c.fn else Undefined("zero_denominator"),
        interval=_f1_interval,
        undefined="neither a positive nor a predicted positive",
        source=_RIJSBERGEN,
    ),
    fbeta(),
    _of_decisions(
        "balanced_accuracy",
        "Mean of recall and specificity.",
        "(TP / (TP + FN) + TN / (TN + FP)) / 2",
        _balanced_accuracy,
        undefined="one class",
        source="Brodersen et al., The Balanced Accuracy and Its Posterior Distribution (2010)",
    ),
    _of_decisions(
        "matthews_corrcoef",
        "Correlation of label and decision.",
        "(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))",
        _matthews_corrcoef,
        undefined="one class, or one decision for all rows",
        source="Matthews, Comparison of the Predicted and Observed Secondary Structure (1975)",
        unit="{score}",
        lowest=-1.0,
    ),
    _of_decisions(
        "cohen_kappa",
        "Agreement of label and decision beyond chance.",
        "2 (TP TN - FP FN) / ((TP + FP) (FP + TN) + (TP + FN) (FN + TN))",
        _cohen_kappa,
        undefined="one class that is also the only decision",
        source="Cohen, A Coefficient of Agreement for Nominal Scales (1960)",
        unit="{score}",
        lowest=-1.0,
    ),
    Measure(
        name="prevalence",
        unit="1",
        description="Share of the labelled rows that are positive.",
        formula="(TP + FN) / n",
        source=_POWERS,
        lowest=0.0,
        highest=1.0,
        tasks=BINARY,
        sums=(POSITIVES,),
        support=LABELLED,
        value_from=lambda totals: totals[POSITIVES] / totals[LABELLED],
        interval_from=lambda totals: intervals.wilson(totals[POSITIVES], totals[LABELLED]),
    ),
    _share(
        "predicted_prevalence",
        "Share of the rows that were predicted positive.",
        "(TP + FP) / n",
        lambda c: (c.tp + c.fp, sum(c)),
        "no_rows",
        direction="none",
    ),
)
