"""Values are those of scikit-learn, or of a few naive lines where it has no word for them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from sklearn import metrics

from otel_ml_metrics.measures.measure import Undefined, states_of
from otel_ml_metrics.measures.table import MEASURES, measures_for
from tests.measures.material import BINARY_ROW, BINARY_ROW_WITH_GAPS, ERROR_ROW, Row, totals, value

BINARY_ROWS = st.lists(BINARY_ROW, min_size=1)
ROUNDING = 2.0**-30


def _column(rows: list[Row], name: str) -> list[Any]:
    return [row[name] for row in rows]


def _either(rows: list[Row], name: str, *, negated: bool = False) -> bool:
    return any(bool(row[name]) != negated for row in rows)


@settings(max_examples=40)
@given(rows=BINARY_ROWS)
def test_decisions_as_scikit_learn_judges_them(rows: list[Row]) -> None:
    """Counts are exact, so these values are equal and not only close."""
    truth, decided = _column(rows, "label"), _column(rows, "prediction")

    assert value("accuracy", rows) == metrics.accuracy_score(truth, decided)
    if _either(rows, "prediction"):
        assert value("precision", rows) == metrics.precision_score(truth, decided)
    if _either(rows, "label"):
        assert value("recall", rows) == metrics.recall_score(truth, decided)
    if _either(rows, "label", negated=True):
        assert value("specificity", rows) == metrics.recall_score(truth, decided, pos_label=False)
    if _either(rows, "label") or _either(rows, "prediction"):
        assert value("f1", rows) == pytest.approx(metrics.f1_score(truth, decided), rel=1e-15)
    if _either(rows, "label") and _either(rows, "label", negated=True):
        assert value("balanced_accuracy", rows) == pytest.approx(metrics.balanced_accuracy_score(truth, decided))


@settings(max_examples=40)
@given(rows=BINARY_ROWS)
def test_probabilities_as_scikit_learn_judges_them(rows: list[Row]) -> None:
    """Fixed point costs at most half a unit per row; scores at 0 and 1 are clipped at 1e-15."""
    truth, scores = np.array(_column(rows, "label"), dtype=float), np.array(_column(rows, "score"))
    clipped = np.clip(np.where(truth == 1, scores, 1 - scores), 1e-15, None)

    assert value("log_loss", rows) == pytest.approx(-np.log(clipped).mean(), rel=1e-13, abs=ROUNDING)
    assert value("brier_score", rows) == pytest.approx(metrics.brier_score_loss(truth, scores), abs=ROUNDING)
    if ((scores > 1e-14) & (scores < 1 - 1e-14)).all():
        expected = metrics.log_loss(truth, scores, labels=[0.0, 1.0])
        assert value("log_loss", rows) == pytest.approx(expected, rel=1e-12, abs=ROUNDING)


@settings(max_examples=80)
@given(rows=st.lists(BINARY_ROW, min_size=2, max_size=60))
@example(rows=[{"label": place % 2 == 0, "prediction": True, "score": 0.25, "fare": 0.0} for place in range(10)])
@example(rows=[{"label": place < 3, "prediction": True, "score": float(place % 2), "fare": 0.0} for place in range(10)])
@example(rows=[{"label": place > 4, "prediction": True, "score": place * 1e-9, "fare": 0.0} for place in range(10)])
def test_the_binned_area_keeps_its_certificate(rows: list[Row]) -> None:
    """|binned AUC - exact AUC| <= certificate, for ties, constant scores and mass at 0 and 1."""
    assume(_either(rows, "label") and _either(rows, "label", negated=True))
    measure = MEASURES["roc_auc"]
    added = totals([measure], rows, "binary")

    found, bound = measure.value(added), measure.certificate(added)

    assert isinstance(found, float)
    assert bound is not None
    assert abs(found - metrics.roc_auc_score(_column(rows, "label"), _column(rows, "score"))) <= bound + 1e-12


def test_bins_cost_little_on_ordinary_scores() -> None:
    """Rare events, skewed scores: the error is below 1e-3 and the certificate says so."""
    chance = np.random.default_rng(7)
    label = chance.random(20_000) < 0.02
    score = 1 / (1 + np.exp(-(chance.normal(size=20_000) - 5 + 1.5 * label)))
    rows = [
        {"label": bool(y), "prediction": False, "score": float(p), "fare": 0.0}
        for y, p in zip(label, score, strict=True)
    ]
    measure = MEASURES["roc_auc"]
    added = totals([measure], rows, "binary")

    found, bound = measure.value(added), measure.certificate(added)

    assert bound is not None
    assert bound < 3e-3
    assert found == pytest.approx(metrics.roc_auc_score(label, score), abs=min(bound, 1e-3))


@settings(max_examples=40)
@given(rows=st.lists(ERROR_ROW, min_size=1))
def test_errors_as_scikit_learn_judges_them(rows: list[Row]) -> None:
    """Sums and squares of errors in the unit of the label."""
    truth, predicted = np.array(_column(rows, "label")), np.array(_column(rows, "prediction"))
    squared = metrics.mean_squared_error(truth, predicted)

    assert value("mean_error", rows) == pytest.approx((predicted - truth).mean(), rel=1e-12, abs=1e-8)
    assert value("mean_absolute_error", rows) == pytest.approx(metrics.mean_absolute_error(truth, predicted), abs=1e-8)
    assert value("mean_squared_error", rows) == pytest.approx(squared, rel=1e-12, abs=2.0**-24)
    assert value("root_mean_squared_error", rows) == pytest.approx(math.sqrt(squared), rel=1e-6, abs=2.0**-12)


@pytest.mark.parametrize(
    ("name", "label", "prediction", "reason"),
    [
        ("precision", [True, False], [False, False], "no_predicted_positives"),
        ("recall", [False, False], [True, False], "no_positives"),
        ("specificity", [True, True], [True, False], "no_negatives"),
        ("f1", [False, False], [False, False], "zero_denominator"),
        ("balanced_accuracy", [True, True], [True, False], "one_class"),
        ("roc_auc", [True, True], [True, False], "one_class"),
        ("accuracy", [None, None], [True, False], "no_rows"),
        ("precision", [True, True], [None, None], "no_rows"),
    ],
)
def test_an_undefined_value_says_why(name: str, label: list[Any], prediction: list[Any], reason: str) -> None:
    """The reason is an attribute of `ml.evaluation.undefined`."""
    rows = [{"label": y, "prediction": p, "score": 0.5, "fare": 0.0} for y, p in zip(label, prediction, strict=True)]

    assert value(name, rows) == Undefined(reason)


def test_f1_of_only_false_positives_is_zero() -> None:
    """f1 is undefined only where 2 TP + FP + FN = 0."""
    assert value("f1", [{"label": False, "prediction": True, "score": 0.5, "fare": 0.0}]) == 0.0


@settings(max_examples=40)
@given(rows=st.lists(BINARY_ROW_WITH_GAPS))
def test_support_counts_the_rows_that_a_measure_used(rows: list[Row]) -> None:
    """A row without what a measure needs is left out of that measure alone."""
    added = totals(measures_for("binary").values(), rows, "binary")
    labelled = [row for row in rows if row["label"] is not None]
    scored = [row for row in labelled if 0 <= row["score"] <= 1]

    assert added[MEASURES["accuracy"].support] == sum(row["prediction"] is not None for row in labelled)
    assert added[MEASURES["log_loss"].support] == len(scored)
    assert added[MEASURES["roc_auc"].support] == len(scored)


def test_measures_on_one_confusion_table_share_it() -> None:
    """Accuracy, precision, recall, f1, specificity and balanced accuracy are one state of four counts."""
    names = ("accuracy", "precision", "recall", "f1", "specificity", "balanced_accuracy")

    states = states_of(MEASURES[name] for name in names)

    assert [state.key for state in states] == [
        "sum[label & prediction]@0",
        "sum[~label & prediction]@0",
        "sum[label & ~prediction]@0",
        "sum[1 where present(label) & present(prediction)]@0",
    ]


def test_predictions_in_squares_beyond_the_range_leave_every_error_measure() -> None:
    """One absurd error is left out of all four measures alike, so they speak about the same rows."""
    rows = [{"label": 0.0, "prediction": 1e20, "fare": 0.0}, {"label": 1.0, "prediction": 3.0, "fare": 0.0}]

    expected = {
        "mean_error": 2.0,
        "mean_absolute_error": 2.0,
        "mean_squared_error": 4.0,
        "root_mean_squared_error": 2.0,
    }

    assert {name: value(name, rows) for name in expected} == expected
