"""Exact measures: whatever callable or metric a user has, taken as it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn import metrics

from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.measures.exact import exact_measure
from otel_ml_metrics.measures.measure import Undefined
from tests.measures.material import value

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABEL = np.array([True, False, True, True, False])
SCORE = np.array([0.9, 0.2, 0.6, 0.3, 0.4])


class RootMeanSquaredError:
    """A metric as Keras writes them: it keeps a sum of squares and a count."""

    def __init__(self) -> None:
        self.reset_state()

    def reset_state(self) -> None:
        """Forget everything."""
        self.squared_sum = 0.0
        self.total_count = 0

    def update_state(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> None:
        """Add a batch."""
        self.squared_sum += float(((y_true - y_pred) ** 2).sum())
        self.total_count += len(y_true)

    def result(self) -> float:
        """The root of the mean."""
        return float(np.sqrt(self.squared_sum / self.total_count))


class MeanDistance:
    """A metric as TorchMetrics has them, of numpy arrays."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.total, self.count = 0.0, 0.0

    def update(
        self, preds: NDArray[Any], target: NDArray[Any], sample_weight: NDArray[np.float64] | None = None
    ) -> None:
        """Add a batch."""
        weight = np.ones(len(preds)) if sample_weight is None else sample_weight
        self.total += float((weight * (preds - target)).sum())
        self.count += float(weight.sum())

    def compute(self) -> float:
        """The mean."""
        return self.total / self.count


class ScaledError(RootMeanSquaredError):
    """A metric that cannot be made without knowing something."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale


def _exact(given: Any, **facts: Any) -> Any:
    return exact_measure("mine", unit="1", exact=given, description="Text", **facts)


@pytest.mark.parametrize("given", [metrics.log_loss, "sklearn.metrics:log_loss", "log_loss"])
def test_a_function_gives_the_number_of_the_built_in_measure(given: Any) -> None:
    """scikit-learn's `log_loss`, as it is, is our `log_loss`."""
    rows = [{"label": bool(y), "prediction": False, "score": p} for y, p in zip(LABEL, SCORE, strict=True)]

    assert _exact(given).value(LABEL, SCORE) == pytest.approx(value("log_loss", rows))


@pytest.mark.parametrize(
    "given", [RootMeanSquaredError, RootMeanSquaredError(), "tests.measures.test_exact:RootMeanSquaredError"]
)
def test_a_keras_metric_gives_the_number_of_the_built_in_measure(given: Any) -> None:
    """A class or an object with `update_state` and `result`, used for several windows."""
    truth, predicted = np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.0, 1.0])
    rows = [{"label": y, "prediction": p} for y, p in zip(truth, predicted, strict=True)]
    measure = _exact(given, of="prediction")

    twice = [measure.value(truth, predicted) for _ in range(2)]

    assert twice == pytest.approx([value("root_mean_squared_error", rows)] * 2)


def test_a_scorer_has_its_sign_and_reads_what_it_needs() -> None:
    """`neg_log_loss` is higher for better models; `accuracy` looks at decisions."""
    assert _exact("neg_log_loss").value(LABEL, SCORE) == pytest.approx(-metrics.log_loss(LABEL, SCORE))
    assert (_exact("accuracy").of, _exact("roc_auc").of) == ("prediction", "score")
    assert (_exact("sklearn.metrics:accuracy_score").of, _exact(metrics.roc_auc_score).of) == ("prediction", "score")


def test_what_raises_or_is_not_finite_is_undefined() -> None:
    """One bad window stops nothing."""
    one_class = np.array([True, True])

    assert _exact(lambda _label, _score: 1 / 0).value(one_class, one_class) == Undefined("raised_ZeroDivisionError")
    assert _exact(lambda _label, _score: np.nan).value(one_class, one_class) == Undefined("not_finite")
    assert _exact(metrics.log_loss).value(np.array([]), np.array([])) == Undefined("no_rows")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("log_los", "Did you mean 'log_loss'"),
        ("no.such.module:f", "cannot be imported"),
        (3, "neither a function"),
        (dict, "neither a function"),
        (lambda score: score, r"is going to be called with \(label, score\)"),
        (lambda label, score, cost: label - score * cost, "missing a required argument: 'cost'"),
        (ScaledError, "cannot be made without arguments"),
        (SimpleNamespace(update=print, compute=print), "has no reset, .* Give its class"),
    ],
)
def test_what_cannot_be_called_is_refused(given: Any, told: str) -> None:
    """At set-up, with what would have worked."""
    with pytest.raises(ConfigurationError, match=told):
        _exact(given)


@pytest.mark.parametrize("given", [MeanDistance, MeanDistance()])
def test_a_metric_with_update_and_compute_is_given_scores_first(given: Any) -> None:
    """As TorchMetrics has it: predictions before the target; made or reset for each value."""
    measure = _exact(given)

    twice = [measure.value(LABEL, SCORE) for _ in range(2)]

    assert twice == pytest.approx([float((SCORE - LABEL).mean())] * 2)


@pytest.mark.parametrize("given", ["log_loss", "neg_log_loss", MeanDistance, metrics.brier_score_loss])
def test_weights_of_two_are_rows_twice(given: Any) -> None:
    """Whatever takes a `sample_weight` is given the weights."""
    measure = _exact(given).fitted("binary", weighted=True)
    weights = np.array([2.0, 1.0, 1.0, 2.0, 1.0])
    twice = weights.astype(int)

    expected = _exact(given).value(np.repeat(LABEL, twice), np.repeat(SCORE, twice))

    assert measure.value(LABEL, SCORE, weights) == pytest.approx(expected)
    assert measure.columns() == {"label", "score", "weight"}
    assert measure.value(LABEL, SCORE, np.zeros(5)) == Undefined("no_weight")


def test_weights_are_refused_by_what_takes_none() -> None:
    """At set-up, with what to do."""
    with pytest.raises(ConfigurationError, match=r"no parameter sample_weight\. Say weighted: false"):
        _exact(lambda label, score: (label - score).mean()).fitted("binary", weighted=True)


def test_a_class_that_is_missing_is_known_all_the_same() -> None:
    """scikit-learn would guess the classes from the rows, and refuse a window of one class."""
    labels, scores = np.array([0, 1, 1]), np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3]])

    assert _exact("log_loss").value(np.array([True, True]), np.array([0.5, 0.5])) == pytest.approx(np.log(2))
    assert _exact("log_loss").value(labels, scores) == pytest.approx(-np.log([0.7, 0.6, 0.5]).mean())


@pytest.mark.parametrize(("task", "told"), [("multilabel", "leave it out"), ("quantile", "say of: prediction")])
def test_a_score_that_is_no_number_is_refused(task: str, told: str) -> None:
    """A vector of quantiles or a set of classes is nothing that f(label, score) takes."""
    with pytest.raises(ConfigurationError, match=told):
        _exact(lambda label, score: (label - score).mean()).fitted(task, ("0.1", "0.9"))


@pytest.mark.parametrize(
    ("task", "of", "columns"),
    [
        ("binary", None, ("score",)),
        ("regression", None, ("prediction",)),
        ("regression", "lower", ("lower",)),
        ("multiclass", None, ("score[0]", "score[1]")),
        ("multiclass", "prediction", ("prediction",)),
    ],
)
def test_what_stands_beside_the_label(task: str, of: str | None, columns: tuple[str, ...]) -> None:
    """The score, which a regression has none of, or whatever is named."""
    measure = _exact(lambda label, score: label - score, of=of)

    assert measure.fitted(task, ("cat", "dog")).given == columns


@pytest.mark.parametrize("missing", ["unit", "description"])
def test_what_dashboards_show_is_required(missing: str) -> None:
    """At set-up, in code as in YAML."""
    facts: dict[str, Any] = {"unit": "1", "description": "Text"} | {missing: " "}

    with pytest.raises(ConfigurationError, match="UCUM" if missing == "unit" else "needs a description"):
        exact_measure("mine", exact="log_loss", **facts)
