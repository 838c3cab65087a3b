"""Mistakes at set-up raise at once and say what would have worked."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from otel_ml_metrics import ModelMonitor, OtelMLMetricsError, col, counter, gauge, histogram
from otel_ml_metrics.errors import ConfigurationError, ExpressionError, FieldError, LogError

if TYPE_CHECKING:
    from pathlib import Path

METRIC = counter("risky", unit="1", value="score > 0.5")
CASES: list[tuple[dict[str, Any], type[OtelMLMetricsError], str]] = [
    ({"name": ""}, ConfigurationError, "name: Expected a text"),
    ({"version": 7}, ConfigurationError, "version: Expected a text"),
    ({"slices": ["score"]}, FieldError, "'score' is a name of the prediction log itself"),
    ({"fields": ["Label"]}, FieldError, "'Label' is a name of the prediction log itself"),
    ({"slices": ["carrier"], "fields": ["carrier"]}, FieldError, "declared twice"),
    ({"slices": ["carrier", "Carrier"]}, FieldError, "declared twice"),
    ({"slices": "carrier"}, FieldError, r"slices=\['carrier'\]"),
    ({"slices": [""]}, FieldError, "needs a name"),
    ({"fields": [7]}, FieldError, "needs a name"),
    ({"fields": {"fare": "float"}}, FieldError, "no kind of a field. Known are: number, string"),
    ({"task": "binry"}, ConfigurationError, "Did you mean 'binary'"),
    ({"on_fault": "rise"}, ConfigurationError, "Did you mean 'raise'"),
    ({"buffer_rows": 0}, ConfigurationError, "buffer_rows: Expected a number above 0"),
    ({"interval": -1}, ConfigurationError, "interval: Expected a number above 0"),
    ({"attribute_sets": True}, ConfigurationError, "attribute_sets: Expected a number above 0"),
    ({"score_unit": "per cent"}, ConfigurationError, "'per cent' is no unit"),
    ({"score_bounds": [1, 0]}, ConfigurationError, "must be finite and ascend"),
    ({"log": "ftp://host/log"}, ConfigurationError, "expected a path, or a URL such as s3://bucket/folder"),
    ({"log": "s3://key:secret@bucket/log"}, ConfigurationError, "AWS_SECRET_ACCESS_KEY in the environment"),
    ({"log": ""}, ConfigurationError, "Expected a folder, or a URL"),
    ({"metrics": [METRIC, METRIC]}, ConfigurationError, r"taken by metrics\[0\]"),
    (
        {"metrics": [gauge("ML.Predictions", unit="1", value="score")]},
        ConfigurationError,
        "taken by the package itself",
    ),
    ({"metrics": ["score"]}, ConfigurationError, r"metrics\[0\]: Expected what counter\(\)"),
    (
        {"fields": ["fare"], "metrics": [counter("paid", unit="USD", value=col("fair") * 2)]},
        ExpressionError,
        "'fair', which the model does not declare. Did you mean 'fare'",
    ),
    (
        {"metrics": [counter("missed", unit="1", value="label & ~prediction")]},
        ExpressionError,
        "label is not known when a prediction is made",
    ),
    (
        {"slices": ["carrier"], "metrics": [counter("sum", unit="1", value="carrier + 1")]},
        ExpressionError,
        "sum.value: expected a number or a boolean per row",
    ),
    ({"slices": ["carrier"], "metrics": [gauge("last", unit="1", value="carrier")]}, ExpressionError, "last.value"),
    ({"metrics": [gauge("last", unit="1", value="score +")]}, ExpressionError, "last.value"),
    ({"task": "regression", "metrics": [gauge("last", unit="1", value="~prediction")]}, ExpressionError, "last.value"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), CASES, ids=[message for _, _, message in CASES])
def test_a_mistake_at_setup_is_explained(
    arguments: dict[str, Any], error: type[OtelMLMetricsError], message: str
) -> None:
    """The error says what was found and what was expected, and survives pickling."""
    with pytest.raises(error, match=message) as caught:
        ModelMonitor(**{"name": "delay", **arguments})

    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  # our own bytes


@pytest.mark.parametrize("name", ["", "1st", "expected refund", "für", "a" * 256, None])
def test_a_metric_name_must_be_one_that_opentelemetry_takes(name: Any) -> None:
    """The SDK would refuse it with a bare Exception, later."""
    with pytest.raises(ConfigurationError, match="is no metric name"):
        counter(name, unit="1", value="score")


@pytest.mark.parametrize("unit", ["€", "US Dollar", "x" * 64, None])
def test_a_unit_must_be_one_that_opentelemetry_takes(unit: Any) -> None:
    """UCUM is ASCII."""
    with pytest.raises(ConfigurationError, match="is no unit"):
        gauge("fare", unit=unit, value="fare")


@pytest.mark.parametrize("bounds", [[2, 1], [1, 1], [float("nan")], [1, float("inf")]])
def test_bounds_must_ascend(bounds: list[float]) -> None:
    """Buckets are between bounds."""
    with pytest.raises(ConfigurationError, match=r"fare\.bounds: Bounds must be finite and ascend"):
        histogram("fare", unit="USD", value="fare", bounds=bounds)


def test_a_word_for_bounds_is_exponential_or_nothing() -> None:
    """A typo must not become buckets."""
    word: Any = "exponentail"

    with pytest.raises(ConfigurationError, match=r"fare\.bounds: Expected numbers that ascend, or 'exponential'"):
        histogram("fare", unit="USD", value="fare", bounds=word)


def test_a_value_must_be_something_that_gives_one() -> None:
    """A number is no value per row."""
    value: Any = 7

    with pytest.raises(ConfigurationError, match=r"fare\.value: Expected an expression"):
        counter("fare", unit="USD", value=value)


def test_a_log_that_cannot_be_written_is_an_error_at_setup(tmp_path: Path) -> None:
    """Better now than an hour later."""
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")

    with pytest.raises(LogError, match="cannot be written to"):
        ModelMonitor("delay", log=blocker / "log")


def test_a_failed_setup_leaves_nothing_behind(tmp_path: Path) -> None:
    """Half a monitor would record half of the predictions."""
    with pytest.raises(FieldError):
        ModelMonitor("delay", slices=["score"], log=tmp_path / "log")

    assert list(tmp_path.iterdir()) == []
