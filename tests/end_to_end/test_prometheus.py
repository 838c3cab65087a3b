"""What Prometheus makes of backfills, exponential histograms, exemplars, and gauges that are pushed once."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from opentelemetry.sdk.trace import TracerProvider

from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.monitor import ModelMonitor
from otel_ml_metrics.provider import meter_provider_from_environment
from tests.evaluation.material import DAY, HOUR, Fact, Prediction, World
from tests.evaluation.oracle import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from otel_ml_metrics.evaluation_report import Report
    from tests.end_to_end.stack import Stack

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120, func_only=True)]

WINDOWS: Final = 30
ROWS: Final = 20  # predictions of a window
EXPONENTIAL: Final = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
PLAIN: Final = 'ml_slice_carrier="",ml_evaluation_maturity="6h"'


@pytest.fixture
def service() -> str:
    """A service of one test: Prometheus is shared by all."""
    return f"flights-{uuid.uuid4()}"


@pytest.fixture
def now() -> datetime:
    """The current instant, whole to the second."""
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def month(tmp_path: Path, now: datetime) -> World:
    """Thirty windows of a day, the last of which has just become final at six hours; their labels vary."""
    world, chance = World(tmp_path), random.Random(1)
    first = now - 6 * HOUR - WINDOWS * DAY
    rows = [
        Prediction(id=f"p-{number}", predicted_at=first + number * DAY / ROWS, prediction=chance.random() < 0.5)
        for number in range(WINDOWS * ROWS)
    ]
    world.log(rows)
    world.label(Fact(id=row.id, label=chance.random() < 0.5, received_at=row.predicted_at + HOUR) for row in rows)
    return world


def evaluator(world: World, stack: Stack, service: str, now: datetime, **given: Any) -> Evaluator:
    """An evaluation of windows that end now less six hours, a day before, and so on."""
    offset = (now - 6 * HOUR - datetime(1970, 1, 1, tzinfo=UTC)) % DAY
    settings = Settings(
        attribution_us=6 * HOUR // timedelta(microseconds=1),
        maturities_us=(6 * HOUR // timedelta(microseconds=1),),
        offset_us=offset // timedelta(microseconds=1),
    )
    evaluation = world.evaluation(settings, service=service, **given)
    return Evaluator(evaluation, environ={"OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_http})


def by_window(report: Report, measure: str) -> dict[datetime, float]:
    """The values over all rows of a measure, by the end of their window."""
    return {value.window_end: value.value for value in report.values if value.measure == measure and not value.slice}


def test_a_backfill_of_a_month_is_seen_by_range_query(stack: Stack, month: World, service: str, now: datetime) -> None:
    """A measure that was added later is sent for the windows before, and a range query gives what the report says."""
    with evaluator(month, stack, service, now, measures=["accuracy"], timestamps="event") as before:
        before.run(as_of=now)

    with evaluator(month, stack, service, now, measures=["accuracy", "recall"], timestamps="event") as after:
        report = after.backfill(now - (WINDOWS + 1) * DAY, now)

    told = by_window(report, "recall")
    (found,) = stack.prometheus.query_range(
        f'ml_evaluation_recall_ratio{{job="{service}",{PLAIN}}}', start=min(told), end=max(told), step=86_400
    )
    assert dict(found.points) == told
    assert (len(told), len(set(told.values())) > 5) == (WINDOWS, True)
    assert (report.delivery.kept, report.delivery.rejected) == (0, 0)


def test_a_gauge_is_forgotten_after_five_minutes_and_found_by_last_over_time(
    stack: Stack, month: World, service: str, now: datetime
) -> None:
    """With `timestamps: emit` a run pushes once, and the next run may be hours away."""
    with evaluator(month, stack, service, now, measures=["accuracy"], timestamps="emit") as evaluation:
        report = evaluation.run(as_of=now)
    gauge, later = f'ml_evaluation_accuracy_ratio{{job="{service}",{PLAIN}}}', now + timedelta(hours=3)

    assert stack.prometheus.query(gauge, at=later) == []
    (found,) = stack.prometheus.query(f"last_over_time({gauge}[1d])", at=later)

    told = by_window(report, "accuracy")
    assert found.value == told[max(told)]


def test_exponential_histograms_are_native_ones(stack: Stack, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for by the variable of the specification, they need no bounds and make no series of buckets."""
    monkeypatch.setenv(EXPONENTIAL, "base2_exponential_bucket_histogram")
    scores = [0.001, 0.2, 0.2, 0.4, 0.9]

    record(stack, service, scores, monkeypatch)

    name = f'ml_prediction_score{{job="{service}"}}'
    (count,) = stack.prometheus.wait_for(f"histogram_count({name})")
    (total,) = stack.prometheus.query(f"histogram_sum({name})")
    (middle,) = stack.prometheus.query(f"histogram_quantile(0.5, {name})")
    assert count.value == len(scores)
    assert total.value == pytest.approx(sum(scores))
    assert middle.value == pytest.approx(0.2, rel=0.05)
    assert stack.prometheus.query(f'ml_prediction_score_bucket{{job="{service}"}}') == []


@pytest.mark.parametrize(
    ("aggregation", "series"),
    [
        ("explicit_bucket_histogram", "ml_prediction_score_bucket"),
        ("base2_exponential_bucket_histogram", "ml_prediction_score"),
    ],
)
def test_the_trace_of_a_score_is_found_at_its_histogram(
    stack: Stack, service: str, monkeypatch: pytest.MonkeyPatch, aggregation: str, series: str
) -> None:
    """A score of a sampled span leaves its trace as an exemplar, which a dashboard links to."""
    monkeypatch.setenv(EXPONENTIAL, aggregation)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")

    with tracer.start_as_current_span("predict") as span:
        record(stack, service, [0.97], monkeypatch)

    stack.prometheus.wait_for(f'count({series}{{job="{service}"}})')
    (exemplar,) = stack.prometheus.exemplars(f'{series}{{job="{service}"}}')
    assert (exemplar.value, exemplar.trace_id) == (0.97, f"{span.get_span_context().trace_id:032x}")


def record(stack: Stack, service: str, scores: list[float], environment: pytest.MonkeyPatch) -> None:
    """Record scores as a model server does, and end."""
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", stack.otlp_http)
    provider = meter_provider_from_environment(service)
    monitor = ModelMonitor("flight-delay", version="7", meter_provider=provider)
    for score in scores:
        monitor.record(score=score)
    monitor.shutdown()
    provider.shutdown()
