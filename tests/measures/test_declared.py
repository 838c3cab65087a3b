"""Measures as monitoring.yaml writes them: built-in ones with parameters, and custom ones on three levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from otel_ml_metrics.declared_measures import measures
from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.expressions import Kind, col
from otel_ml_metrics.measures.exact import Exact
from otel_ml_metrics.measures.measure import Measure, totals_of
from otel_ml_metrics.measures.sums import Sum, count
from otel_ml_metrics.measures.table import MEASURES

KINDS: dict[str, Kind] = {
    "label": "boolean", "prediction": "boolean", "score": "number", "score_bin": "number", "fare": "number",
    "weight": "number", "id%64": "number",
}  # fmt: skip
COLUMNS = {
    "label": np.array([True, True, False, False, True]),
    "prediction": np.array([True, False, True, False, True]),
    "score": np.array([0.9, 0.4, 0.7, 0.1, 0.6]),
    "score_bin": np.array([600.0, 500.0, 550.0, 400.0, 530.0]),
    "fare": np.array([100.0, 250.0, 50.0, 30.0, 70.0]),
    "weight": np.array([1.0, 2.0, 1.0, 1.0, 1.0]),
    "id%64": np.array([0.0, 1.0, 2.0, 3.0, 4.0]),
}
FACTS = {"name": "mine", "unit": "USD", "description": "Text"}
ADDITIVE = Measure(
    name="squared_fare",
    unit="USD2",
    description="Mean squared fare.",
    formula="sum fare^2 / n",
    source="a test",
    tasks=frozenset({"binary"}),
    sums=(Sum(col("fare") ** 2),),
    support=count("fare"),
    value_from=lambda totals: totals[Sum(col("fare") ** 2)] / totals[count("fare")],
)


def _value(declared: Any, **given: Any) -> Any:
    (measure,), _ = measures([declared], "binary", **given)
    return measure.value(totals_of([measure], COLUMNS, KINDS))


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("recall", 2 / 3),
        ({"measure": "recall"}, 2 / 3),
        ({"measure": "recall", "threshold": 0.4}, 1.0),
        ({"measure": "recall", "weighted": True}, 2 / 4),
        ({"measure": "fbeta", "beta": 1}, 2 / 3),
        ({"measure": "precision_at_top", "top": 0.4}, 1 / 2),
        (FACTS | {"sum": "fare * (label & ~prediction)"}, 250.0),
        (FACTS | {"mean": "fare"}, 100.0),
        (FACTS | {"rate": "score > 0.5"}, 3 / 5),
        (FACTS | {"ratio": {"numerator": "fare * label", "denominator": "fare"}}, 420 / 500),
        (FACTS | {"weighted_mean": {"expression": "fare", "weight": "weight"}}, 750 / 6),
        (FACTS | {"value": {"true_positive": "fare", "false_positive": -40}}, 130.0),
        (FACTS | {"sum": "1", "weighted": True}, 6.0),
        ({"additive": "tests.measures.test_declared:ADDITIVE"}, (10_000 + 62_500 + 2_500 + 900 + 4_900) / 5),
        (ADDITIVE, (10_000 + 62_500 + 2_500 + 900 + 4_900) / 5),
    ],
)
def test_what_is_declared_is_measured(declared: Any, expected: float) -> None:
    """Each form gives the number that one works out by hand."""
    assert _value(declared) == pytest.approx(expected)


def test_a_quantile_is_within_its_bound() -> None:
    """The value is the middle of a bin, and the bound says how wide that is."""
    (measure,), _ = measures([FACTS | {"quantile": {"expression": "fare", "q": 0.5}}], "binary")
    totals = totals_of([measure], COLUMNS, KINDS)

    value, bound = measure.value(totals), measure.certificate(totals)

    assert isinstance(value, float)
    assert bound is not None
    assert abs(value - 70.0) <= bound <= 1.5


def test_one_switch_weighs_every_measure() -> None:
    """`weighted` of the evaluation holds for all measures that do not say otherwise."""
    assert _value("recall", weighted=True) == 2 / 4
    assert _value({"measure": "recall", "weighted": False}, weighted=True) == 2 / 3


def test_the_bootstrap_is_asked_for_by_measure() -> None:
    """The interval comes from sums that are kept apart by groups of ids."""
    (measure,), _ = measures([{"measure": "recall", "interval": "bootstrap"}], "binary")

    assert any("id_group:md5_64" in state.key for state in measure.states)


@pytest.mark.parametrize(
    ("declared", "name"),
    [
        ({"measure": "fbeta", "beta": 0.5}, "fbeta_0.5"),
        ({"measure": "precision", "threshold": 0.8}, "precision_at_0.8"),
        ({"measure": "fbeta", "beta": 2, "name": "f2"}, "f2"),
    ],
)
def test_a_name_is_told_from_the_parameters(declared: Any, name: str) -> None:
    """Two thresholds of one measure are two measures."""
    (measure,), _ = measures([declared], "binary")

    assert measure.name == name


def test_exact_measures_stand_apart() -> None:
    """They are no functions of sums."""
    sums, exact = measures([FACTS | {"exact": "sklearn.metrics:log_loss"}, "accuracy"], "binary")

    assert [each.name for each in sums] == ["accuracy"]
    assert [type(each) for each in exact] == [Exact]


@pytest.mark.parametrize(
    ("declared", "where", "told"),
    [
        ("r2", "measures[0]", "no measure of a binary task. Known are: accuracy, average_precision"),
        ("precision_macro", "measures[0]", "no measure of a binary task. Known are: accuracy, average_precision"),
        ({"measure": "r2"}, "measures[0].measure", "no measure of a binary task. Known are: accuracy"),
        (MEASURES["r2"], "measures[0]", "it is for regression. Fit for it: accuracy"),
        ({"measure": "recall", "beta": 2}, "measures[0].beta", "does not take 'beta'"),
        ({"measure": "fbeta", "beta": "2"}, "measures[0].beta", "expected a number"),
        ({"measure": "fbeta", "beta": -1}, "measures[0].beta", "above 0"),
        ({"measure": "lift", "top": 10}, "measures[0].top", "such as 0.05 for 5 %"),
        ({"measure": "roc_auc", "threshold": 0.5}, "measures[0].threshold", "no threshold"),
        ({"measure": "roc_auc", "interval": "bootstrap"}, "measures[0].interval", "plain sums"),
        ({"measure": "recall", "interval": "exact"}, "measures[0].interval", "expected bootstrap"),
        ({"measure": "recall", "weighted": "yes"}, "measures[0].weighted", "true or false"),
        (FACTS | {"rate": "fare"}, "measures[0].rate", "is no condition"),
        (FACTS | {"quantile": {"expression": "fare", "q": 2}}, "measures[0].q", "between 0 and 1"),
        (FACTS | {"quantile": {"expression": "fare"}}, "measures[0].quantile", "expression and q"),
        (FACTS | {"value": {"hit": 3}}, "measures[0].value", "true_negative"),
        (FACTS | {"mean": "fare", "of": "score"}, "measures[0].of", "not known"),
        ({"additive": "tests.measures.test_declared:COLUMNS"}, "measures[0].additive", "not of a dict"),
        ({"additive": "no.such:thing"}, "measures[0]", "cannot be imported"),
        ({"name": "mine", "unit": "1", "exact": "log_loss"}, "measures[0]", "'description' is missing"),
        ({"name": "mine", "description": "Text", "exact": "log_loss"}, "measures[0]", "'unit' is missing"),
        (FACTS | {"exact": "log_los"}, "measures[0].exact", "Did you mean 'log_loss'"),
        (FACTS | {"exact": "math:tau"}, "measures[0].exact", "neither a function"),
        (FACTS | {"exact": "log_loss", "interval": "bootstrap"}, "measures[0].interval", "not known"),
        (FACTS | {"exact": "max_error", "weighted": True}, "measures[0].weighted", "no parameter sample_weight"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(declared: Any, where: str, told: str) -> None:
    """At set-up, with the place and what to write instead."""
    with pytest.raises(ConfigurationError, match=told) as refused:
        measures([declared], "binary")

    assert refused.value.where == where
