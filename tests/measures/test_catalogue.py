"""The catalogue says everything about every measure and metric, and its page is fresh."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from otel_ml_metrics import semconv
from otel_ml_metrics.console.program import program
from otel_ml_metrics.measures import catalogue
from otel_ml_metrics.measures.ranking import RANKINGS
from otel_ml_metrics.measures.table import FAMILIES, MEASURES
from otel_ml_metrics.semconv import Kind, prometheus_name

PAGE = Path(__file__).parents[2] / "docs" / "catalogue.md"


def _run(form: str) -> str:
    done = CliRunner().invoke(program, ["catalogue", "--format", form])
    assert done.exit_code == 0
    return done.stdout


def test_the_page_is_fresh() -> None:
    """docs/catalogue.md is what the command prints; run it again after a change."""
    assert PAGE.read_text(encoding="utf-8") == _run("markdown")


def test_nothing_is_left_out() -> None:
    """Every measure of the table, and every metric of the conventions."""
    data = json.loads(_run("json"))

    assert [entry["name"] for entry in data["measures"]] == [
        *(each.name for family in FAMILIES.values() for each in family),
        *RANKINGS,
    ]
    assert MEASURES.keys() <= {entry["name"] for entry in data["measures"]}
    assert {entry["name"] for entry in data["metrics"]} == {
        metric.name for metric in (*semconv.ONLINE_METRICS, *semconv.LAGGING_METRICS, *semconv.FLOW_METRICS)
    }
    assert all(entry[fact] for entry in data["measures"] for fact in ("formula", "source", "undefined", "description"))


def test_the_table_names_every_measure() -> None:
    """The overview for people."""
    shown = _run("table")

    assert all(name in shown for name in MEASURES)


@pytest.mark.parametrize(
    ("metric", "kind", "unit", "expected"),
    [
        ("ml.evaluation.accuracy", "gauge", "1", "ml_evaluation_accuracy_ratio"),
        ("ml.evaluation.roc_auc", "gauge", "{score}", "ml_evaluation_roc_auc"),
        ("ml.evaluation.missed", "gauge", "USD", "ml_evaluation_missed_USD"),
        ("ml.evaluation.wait", "gauge", "s/{flight}", "ml_evaluation_wait_seconds"),
        ("ml.labels", "counter", "{label}", "ml_labels_total"),
        ("ml.prediction.duration", "histogram", "s", "ml_prediction_duration_seconds"),
        ("ml.evaluation.window.end", "gauge", "s", "ml_evaluation_window_end_seconds"),
        ("ml.prediction.score", "histogram", "1", "ml_prediction_score"),
    ],
)
def test_names_are_those_of_prometheus(metric: str, kind: Kind, unit: str, expected: str) -> None:
    """As its OTLP receiver translates them."""
    assert prometheus_name(metric, kind, unit) == expected


def test_ranges_are_spoken() -> None:
    """Bounds that are infinite are left out."""
    found = {entry["name"]: catalogue.spoken_range(entry) for entry in catalogue.measures()}

    assert (found["accuracy"], found["mean_squared_error"], found["r2"], found["mean_error"]) == (
        "0 to 1", "from 0", "up to 1", "any",
    )  # fmt: skip
