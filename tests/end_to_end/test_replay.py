"""Real flights through the demo's server, the real Collector and the real Prometheus: PromQL finds what was said.

The days are played once per protocol, and two evaluations, one per timestamp policy, follow day by day.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.dataset
import pytest

from tests.end_to_end.april import (
    DAYS,
    MATURITIES,
    NAMES,
    ORIGINS,
    VARIANTS,
    April,
    Evaluated,
    flights_and_models,
    play,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_ml_metrics.demo.flights import Flights
    from otel_ml_metrics.demo.model import Model
    from otel_ml_metrics.evaluation_report import Value
    from tests.end_to_end.stack import Series, Stack

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(120, func_only=True)]

Attributes = frozenset[tuple[str, str]]
GROUPS = len(VARIANTS) * (1 + len(ORIGINS))  # all rows and each origin


@pytest.fixture(scope="module")
def today() -> datetime:
    """The instant at which the current day began, in UTC."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture(scope="module")
def material(today: datetime) -> tuple[Flights, tuple[Model, Model]]:
    """The flights until yesterday, and the models."""
    return flights_and_models(until=today.date())


@pytest.fixture(scope="module", params=["grpc", "http/protobuf"])
def april(
    request: pytest.FixtureRequest,
    stack: Stack,
    today: datetime,
    material: tuple[Flights, tuple[Model, Model]],
    tmp_path_factory: pytest.TempPathFactory,
) -> April:
    """The days, played by one protocol: live and lagging points went to the Collector."""
    flights, models = material
    folder, service = tmp_path_factory.mktemp("april"), f"flights-{uuid.uuid4()}"
    with pytest.MonkeyPatch.context() as environment:
        endpoint = stack.otlp_grpc if request.param == "grpc" else stack.otlp_http
        environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", request.param)
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        return play(folder, service, until=today.date(), flights=flights, models=models)


def attributes_of(value: Value) -> Attributes:
    """The attributes that a value has in Prometheus, besides those of its service."""
    attributes = {
        "ml_model_name": value.model,
        "ml_model_version": value.version or "",
        "ml_model_variant": value.variant or "",
        "ml_evaluation_window": "1d",
        "ml_evaluation_maturity": value.maturity,
        "ml_evaluation_stage": "final",
        **{f"ml_slice_{field}": text for field, text in value.slice.items()},
    }
    return frozenset(attributes.items())


def found_attributes(series: Series) -> Attributes:
    """The same of a series."""
    return frozenset((name, text) for name, text in series.attributes.items() if name.startswith("ml_"))


def history(stack: Stack, name: str, service: str) -> dict[tuple[Attributes, datetime], float]:
    """Every point of a metric that Prometheus has, under the time that it has for it."""
    found = stack.prometheus.query(f'{name}{{job="{service}"}}[30d]')
    return {(found_attributes(series), at): number for series in found for at, number in series.points}


def current(stack: Stack, name: str, service: str) -> dict[Attributes, float]:
    """What a metric is now."""
    return {found_attributes(series): series.value for series in stack.prometheus.query(f'{name}{{job="{service}"}}')}


def coverages(values: Sequence[Value]) -> list[tuple[Value, float]]:
    """One value of each group with its coverage, which all of the group share."""
    return [(value, value.coverage) for value in values if value.measure == "accuracy" and value.coverage is not None]


def wait_for_live_points(stack: Stack, april: April) -> None:
    """Wait until the last batch has passed the Collector."""
    stack.prometheus.wait_for(f'sum(ml_predictions_total{{job="{april.service}"}}) >= {len(april.flights)}')


def by_variant(found: Sequence[Series]) -> dict[str, float]:
    """The values of an answer that was grouped by variant."""
    return {series.attributes["ml_model_variant"]: series.value for series in found}


def test_every_point_is_accepted(april: April) -> None:
    """Each run of either policy sends what it has: nothing is refused, and nothing waits in the outbox."""
    delivered = [report.delivery for evaluated in (april.event, april.emit) for report in evaluated.reports]

    assert all(delivery.sent > 0 for delivery in delivered)
    assert [(each.rejected, each.kept, each.message) for each in delivered] == [(0, 0, "")] * 2 * DAYS


def test_every_prediction_is_counted(stack: Stack, april: April) -> None:
    """Each request over HTTP counts once, for the variant that answered it."""
    wait_for_live_points(stack, april)

    found = stack.prometheus.query(
        f'sum by (ml_model_variant) (ml_predictions_total{{job="{april.service}", ml_prediction_outcome="ok"}})'
    )

    assert by_variant(found) == april.requested


def test_every_score_is_in_the_histogram(stack: Stack, april: April) -> None:
    """There are as many scores as predictions, and up to each bound those that the prediction log has."""
    wait_for_live_points(stack, april)
    logged = pyarrow.dataset.dataset(april.log, format="parquet").to_table(columns=["score"])
    scores = logged.column("score").to_numpy()

    counts = stack.prometheus.query(f'sum by (ml_model_variant) (ml_prediction_score_count{{job="{april.service}"}})')
    buckets = stack.prometheus.query(f'sum by (le) (ml_prediction_score_bucket{{job="{april.service}"}})')

    assert by_variant(counts) == april.requested
    up_to = {bucket.attributes["le"]: bucket.value for bucket in buckets}
    assert up_to == {bound: (scores <= float(bound)).sum() for bound in up_to}
    assert len(set(up_to.values())) > 3


def test_a_day_at_an_origin(stack: Stack, april: April) -> None:
    """With `timestamps: event`, accuracy and coverage of a slice stand at the end of their day, to the last bit."""
    end = april.event.reports[0].as_of
    wanted = ("accuracy", end, "6h", "champion", {"origin": "EWR"})
    (value,) = (
        value
        for value in april.event.values
        if (value.measure, value.window_end, value.maturity, value.variant, value.slice) == wanted
    )
    of_the_slice = (
        f'{{job="{april.event.service}", ml_model_variant="champion", ml_slice_origin="EWR",'
        ' ml_evaluation_window="1d", ml_evaluation_maturity="6h", ml_evaluation_stage="final"}'
    )

    (accuracy,) = stack.prometheus.query(f"ml_evaluation_accuracy_ratio{of_the_slice}", at=end)
    (coverage,) = stack.prometheus.query(f"ml_label_coverage_ratio{of_the_slice}", at=end)

    assert (accuracy.value, coverage.value) == (value.value, value.coverage)
    assert 0 < value.value < 1


def test_day_by_day(stack: Stack, april: April) -> None:
    """With `timestamps: event`, a range query in steps of a day gives the history; an absent slice means all rows."""
    told = {
        value.window_end: value.value
        for value in april.event.values
        if (value.measure, value.maturity, value.variant) == ("accuracy", "6h", "challenger") and not value.slice
    }
    of_all_rows = (
        f'{{job="{april.event.service}", ml_model_variant="challenger", ml_slice_origin="",'
        ' ml_evaluation_maturity="6h"}'
    )

    (found,) = stack.prometheus.query_range(
        f"ml_evaluation_accuracy_ratio{of_all_rows}", start=min(told), end=max(told), step=86_400
    )

    assert dict(found.points) == told
    assert len(told) == DAYS - 1


@pytest.mark.parametrize("measure", NAMES)
def test_history_is_the_reports(stack: Stack, april: April, measure: str) -> None:
    """With `timestamps: event`, Prometheus has every value of the reports at its window's end, and no other."""
    told = {
        (attributes_of(value), value.window_end): value.value
        for value in april.event.values
        if value.measure == measure
    }

    assert history(stack, NAMES[measure], april.event.service) == told
    assert len(told) == 3 * GROUPS  # two days are final at six hours, and one at two days


def test_coverage_has_a_history(stack: Stack, april: April) -> None:
    """With `timestamps: event`, the coverage of each group stands at the same time, below one for what never landed."""
    told = {(attributes_of(value), value.window_end): share for value, share in coverages(april.event.values)}

    assert history(stack, "ml_label_coverage_ratio", april.event.service) == told
    assert len(told) == 3 * GROUPS
    assert min(told.values()) < 1


@pytest.mark.parametrize("measure", NAMES)
def test_gauges_are_the_newest_windows(stack: Stack, april: April, measure: str) -> None:
    """With `timestamps: emit`, a gauge is the value of the newest window that is final at its maturity."""
    told = {attributes_of(value): value.value for value in april.emit.current if value.measure == measure}

    assert current(stack, NAMES[measure], april.emit.service) == told
    assert len(told) == len(MATURITIES) * GROUPS


def test_gauges_tell_their_window(stack: Stack, april: April) -> None:
    """With `timestamps: emit`, coverage is current as well, and beside it stands the window's end."""
    shares = {attributes_of(value): share for value, share in coverages(april.emit.current)}
    ends = {attributes_of(value): value.window_end.timestamp() for value in april.emit.current}

    assert current(stack, "ml_label_coverage_ratio", april.emit.service) == shares
    assert current(stack, "ml_evaluation_window_end_seconds", april.emit.service) == ends
    assert len(set(ends.values())) == len(MATURITIES)


@pytest.mark.parametrize("timestamps", ["event", "emit"])
def test_labels_are_counted(stack: Stack, april: April, timestamps: str, today: datetime) -> None:
    """Under both policies labels are counted by status: every plane that landed has found its prediction."""
    evaluated: Evaluated = getattr(april, timestamps)

    found = stack.prometheus.query(f'ml_labels_total{{job="{evaluated.service}"}}')

    labels = {series.attributes["ml_label_status"]: series.value for series in found}
    assert labels == evaluated.reports[-1].labels
    assert labels["matched"] == (april.flights.landed_at < np.datetime64(today.date())).sum()
