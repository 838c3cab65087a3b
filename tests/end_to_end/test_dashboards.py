"""Every expression of every dashboard and rule is asked of the real Prometheus, and it has an answer."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otel_ml_metrics import semconv
from otel_ml_metrics.dashboards.promql import named
from otel_ml_metrics.dashboards.subject import everything, subject_of
from otel_ml_metrics.dashboards.writing import files
from otel_ml_metrics.telemetry.delivery import Delivery
from tests.dashboards.grafana import Viewer, boards_in
from tests.end_to_end import complete
from tests.end_to_end.april import April, evaluation_of, flights_and_models, play

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.stack import Stack

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(120, func_only=True)]

BOARDS = ("live", "quality", "labels", "comparison", "slices")
NOT_OF_THE_DEMO = {
    named(metric)
    for metric in (
        semconv.PREDICTION_VALUE,
        semconv.PREDICTION_DURATION,
        semconv.MONITOR_DROPPED,
        semconv.MONITOR_FAULTS,
        semconv.MONITOR_CARDINALITY_OVERFLOW,
        semconv.LABELS_INVALID,
        semconv.LABELS_HELD,
        semconv.LABELS_SKEWED,
        semconv.EVALUATION_REVISIONS,
        semconv.EVALUATION_UNDEFINED,
        semconv.EVALUATION_LEFT_OUT,
        semconv.EVALUATION_SLICES_FOLDED,
        *semconv.FLOW_METRICS,
    )
}
"""It is a healthy classifier, does not say how long it takes, and is evaluated here without flows."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the demo's days."""
    return tmp_path_factory.mktemp("dashboards")


@pytest.fixture(scope="module")
def endpoint(stack: Stack) -> Any:
    """The environment points to the Collector."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", stack.otlp_http)
        environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        yield stack.otlp_http


@pytest.fixture(scope="module")
def april(folder: Path, endpoint: str, stack: Stack) -> April:
    """The demo's flights: live metrics, and one evaluation per timestamp policy."""
    del endpoint
    today = datetime.now(UTC).date()
    flights, models = flights_and_models(until=today)
    played = play(folder, f"flights-{uuid.uuid4()}", until=today, flights=flights, models=models)
    stack.prometheus.wait_for(f'sum(ml_predictions_total{{job="{played.service}"}}) >= {len(played.flights)}')
    return played


@pytest.fixture(scope="module")
def everything_of(endpoint: str, stack: Stack) -> str:
    """The service of a model of which there is everything."""
    service = f"complete-{uuid.uuid4()}"
    complete.record(service)
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    delivery = Delivery.from_environment(environ, service=service, evaluation=service)
    assert delivery is not None
    with delivery:
        assert delivery.send(list(complete.evaluated(datetime.now(UTC)))).status == "accepted"
    stack.prometheus.wait_for(f'ml_monitor_dropped_total{{job="{service}"}}')
    return service


@pytest.mark.parametrize("name", BOARDS)
def test_dashboards_of_everything_have_answers(stack: Stack, everything_of: str, name: str) -> None:
    """Of every measure and metric there is, each expression finds what was sent."""
    board = boards_in(files(everything()))[name]
    viewer = Viewer(stack.prometheus, {"job": everything_of, "model": complete.MODEL, "slice": "ml_slice_region"})

    asked = viewer.expressions(board)

    assert [each for each in asked if not stack.prometheus.query(each.text)] == []
    assert asked


@pytest.mark.parametrize(
    ("timestamps", "name"),
    [
        (timestamps, name)
        for timestamps in ("emit", "event")
        for name in BOARDS
        if (timestamps, name) != ("event", "live")
    ],
)
def test_dashboards_of_an_evaluation_have_answers(
    stack: Stack, april: April, folder: Path, timestamps: str, name: str
) -> None:
    """Of the demo, under either policy, each expression finds something, but for what a healthy classifier has not."""
    service: str = getattr(april, timestamps).service
    board = boards_in(files(subject_of(evaluation_of(folder, service, timestamps))))[name]

    asked = Viewer(stack.prometheus, {"job": service}).expressions(board)

    silent = [each for each in asked if not stack.prometheus.query(each.text)]
    assert [each for each in silent if not any(metric in each.text for metric in NOT_OF_THE_DEMO)] == []
    assert len(asked) > len(silent)


@pytest.mark.usefixtures("everything_of")
def test_rules_have_answers(stack: Stack) -> None:
    """What is recorded finds something; alerts answer in trouble only, but the metrics that they look at are there."""
    (text,) = (text for path, text in files(everything()).items() if path.startswith("rules/"))
    listed = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    alerts = [rule["expr"] for rule in listed if "alert" in rule]
    looked_at = {name for expression in alerts for name in re.findall(r"\bml_(?:monitor|labels)_[a-z_]+", expression)}

    silent = [rule["record"] for rule in listed if "record" in rule and not stack.prometheus.query(rule["expr"])]
    for expression in alerts:
        stack.prometheus.query(expression)  # raises where it is not understood

    assert silent == []
    assert looked_at
    assert looked_at <= set(stack.prometheus.names())
