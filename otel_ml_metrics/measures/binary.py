"""Measures of binary models: of decisions on one confusion table, of probabilities, and of the whole curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from otel_ml_metrics.expressions import col, ln, maximum, where
from otel_ml_metrics.measures import intervals
from otel_ml_metrics.measures.measure import Direction, Interval, Measure, Undefined
from otel_ml_metrics.measures.sums import Binned, Sum, count

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_ml_metrics.measures.totals import Totals

BINARY: Final = frozenset({"binary"})
_LABEL, _PREDICTION, _SCORE = col("label"), col("prediction"), col("score")
_POWERS: Final = "Powers, Evaluation: From Precision, Recall and F-Measure to ROC (2011)"

ROWS: Final = count("label", "prediction")
TRUE_POSITIVES: Final = Sum(_LABEL & _PREDICTION, scale=0, wide=False)
FALSE_POSITIVES: Final = Sum(~_LABEL & _PREDICTION, scale=0, wide=False)
FALSE_NEGATIVES: Final = Sum(_LABEL & ~_PREDICTION, scale=0, wide=False)
CONFUSION: Final = (TRUE_POSITIVES, FALSE_POSITIVES, FALSE_NEGATIVES, ROWS)

# A row whose score is outside [0, 1] takes no part where probabilities are needed.
_PROBABILITY: Final = (_SCORE >= 0) & (_SCORE <= 1)
_OF_THE_LABEL: Final = maximum(where(_LABEL, _SCORE, 1 - _SCORE), 1e-15)
PROBABILITIES: Final = count("label", condition=_PROBABILITY)
LOG_LOSSES: Final = Sum(-ln(_OF_THE_LABEL), _PROBABILITY, wide=False)
SQUARED_GAPS: Final = Sum((_SCORE - _LABEL) ** 2, _PROBABILITY, wide=False)
CURVE: Final = Binned()


class Confusion(NamedTuple):
    """Counts of decisions: true and false positives, false and true negatives."""

    tp: float
    fp: float
    fn: float
    tn: float


def confusion(totals: Totals) -> Confusion:
    """The confusion table, completed from its four sums."""
    tp, fp, fn, rows = (totals[each] for each in CONFUSION)
    return Confusion(tp, fp, fn, rows - tp - fp - fn)


def _of_decisions(
    name: str,
    description: str,
    formula: str,
    value: Callable[[Confusion], float | Undefined],
    *,
    interval: Callable[[Confusion], Interval | None],
    undefined: str = "no rows",
    source: str = _POWERS,
) -> Measure:
    """A measure between 0 and 1 on the confusion table."""
    return Measure(
        name=name,
        unit="1",
        description=description,
        formula=formula,
        source=source,
        undefined=undefined,
        direction="higher",
        lowest=0.0,
        highest=1.0,
        tasks=BINARY,
        sums=CONFUSION,
        support=ROWS,
        value_from=lambda totals: value(confusion(totals)),
        interval_from=lambda totals: interval(confusion(totals)),
    )


def _share(
    name: str, description: str, formula: str, part: Callable[[Confusion], tuple[float, float]], reason: str
) -> Measure:
    """A proportion on the confusion table, `part` being its hits and its trials; undefined without trials."""

    def value(table: Confusion) -> float | Undefined:
        hits, trials = part(table)
        return hits / trials if trials else Undefined(reason)

    return _of_decisions(
        name,
        description,
        formula,
        value,
        interval=lambda table: intervals.wilson(*part(table)),
        undefined=reason.replace("_", " "),
    )


def _f1_interval(table: Confusion) -> Interval:
    # 2p / (1 + p) rises with p = TP / (TP + FP + FN), a proportion: so the ends of its interval can be carried over.
    low, high = intervals.wilson(table.tp, table.tp + table.fp + table.fn)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def _balanced_accuracy(table: Confusion) -> float | Undefined:
    positives, negatives = table.tp + table.fn, table.tn + table.fp
    if not (positives and negatives):
        return Undefined("one_class")
    return (table.tp / positives + table.tn / negatives) / 2


def _balanced_accuracy_interval(table: Confusion) -> Interval | None:
    positives, negatives = table.tp + table.fn, table.tn + table.fp
    value = (table.tp / positives + table.tn / negatives) / 2
    variance = (table.tp * table.fn / positives**3 + table.tn * table.fp / negatives**3) / 4
    return intervals.around(value, variance)


def _area(totals: Totals) -> float | Undefined:
    positives, negatives = totals[CURVE]
    if not (positives.any() and negatives.any()):
        return Undefined("one_class")
    return intervals.area_under_curve(positives, negatives)


def _of_probabilities(name: str, unit: str, description: str, formula: str, source: str, *, loss: Sum) -> Measure:
    """The mean loss of probabilities, lower being better."""
    direction: Direction = "lower"
    return Measure(
        name=name,
        unit=unit,
        description=description,
        formula=formula,
        source=source,
        direction=direction,
        lowest=0.0,
        highest=34.6 if loss is LOG_LOSSES else 1.0,
        tasks=BINARY,
        sums=(loss,),
        support=PROBABILITIES,
        value_from=lambda totals: totals[loss] / totals[PROBABILITIES],
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
        source="van Rijsbergen, Information Retrieval (1979)",
    ),
    _of_decisions(
        "balanced_accuracy",
        "Mean of recall and specificity.",
        "(TP / (TP + FN) + TN / (TN + FP)) / 2",
        _balanced_accuracy,
        interval=_balanced_accuracy_interval,
        undefined="one class",
        source="Brodersen et al., The Balanced Accuracy and Its Posterior Distribution (2010)",
    ),
    _of_probabilities(
        "log_loss",
        "{nat}",
        "Mean negative log-likelihood of the labels; probabilities are clipped at 1e-15.",
        "sum -ln p(label) / n",
        "Good, Rational Decisions (1952)",
        loss=LOG_LOSSES,
    ),
    _of_probabilities(
        "brier_score",
        "{score}",
        "Mean squared difference between score and label.",
        "sum (score - label)^2 / n",
        "Brier, Verification of Forecasts Expressed in Terms of Probability (1950)",
        loss=SQUARED_GAPS,
    ),
    Measure(
        name="roc_auc",
        unit="{score}",
        description="Probability that a positive has a higher score than a negative, from counts per score bin.",
        formula="sum over bins of P_b (N_below + N_b / 2) / (P N)",
        source="Mann and Whitney (1947); interval: DeLong, DeLong and Clarke-Pearson (1988)",
        undefined="one class",
        direction="higher",
        lowest=0.0,
        highest=1.0,
        tasks=BINARY,
        sums=(CURVE,),
        support=CURVE.support,
        value_from=_area,
        interval_from=lambda totals: intervals.delong(*totals[CURVE]),
        error_from=lambda totals: intervals.binning_error(*totals[CURVE]),
    ),
)
