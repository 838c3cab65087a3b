"""Exact measures: whatever callable or metric a user has, taken as it is."""

from __future__ import annotations

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
    ],
)
def test_what_cannot_be_called_is_refused(given: Any, told: str) -> None:
    """At set-up, with what would have worked."""
    with pytest.raises(ConfigurationError, match=told):
        _exact(given)
