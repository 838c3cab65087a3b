"""Histograms that are binned here and exported beside what the SDK collects: the same points as the SDK's own."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from otel_ml_metrics import ModelMonitor, histogram
from otel_ml_metrics.semconv import DEFAULT_BOUNDS
from otel_ml_metrics.telemetry.exponential import MOST_BUCKETS, Exponential
from otel_ml_metrics.telemetry.exporter import MLMetricExporter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otel_ml_metrics.telemetry.custom import CustomMetric

CUMULATIVE, DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA
NEVER: Final = 3_600_000.0
POSITIVE: Final = st.floats(0, 1e12) | st.sampled_from([0.0, 5e-324, 2.2250738585072014e-308, 0.5, 1.0, 2.0, 1024.0])
ROWS: Final = st.lists(st.tuples(POSITIVE, st.sampled_from(["NL", "DE", None])), max_size=30)
"""Of the SDK's exponential histograms a value of 0 alone is at scale 0, and a later one raises: it gets none here."""


@dataclass
class Backend(MetricExporter):
    """Keeps what it is sent, or refuses it.

    Args:
        temporality: Of histograms.
        exponential: Whether it asks for exponential ones.
        refusals: How many exports are refused from now on.
        received: What was accepted.
    """

    temporality: AggregationTemporality = CUMULATIVE
    exponential: bool = False
    refusals: int = 0
    received: list[MetricsData] = field(default_factory=list)

    def __post_init__(self) -> None:
        aggregation: dict[type, Any] = {Histogram: ExponentialBucketHistogramAggregation()} if self.exponential else {}
        super().__init__(preferred_temporality={Histogram: self.temporality}, preferred_aggregation=aggregation)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        """Keep or refuse."""
        del timeout_millis
        if self.refusals:
            self.refusals -= 1
            return MetricExportResult.FAILURE
        self.received.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing waits."""
        return timeout_millis > 0

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Nothing to close."""

    def points(self, metric: str, *, export: int = -1) -> dict[str, Any]:
        """The points of a metric in one export, by country."""
        resources = self.received[export].resource_metrics
        found = [each for resource in resources for scope in resource.scope_metrics for each in scope.metrics]
        return {
            str((point.attributes or {}).get("ml.slice.country", "")): point
            for each in found
            if each.name == metric
            for point in each.data.data_points
        }


@dataclass
class Serving:
    """A monitor on a provider of its own."""

    backend: Backend
    wrapped: bool = True
    metrics: Sequence[CustomMetric] = ()
    slices: Sequence[str] = ("country",)
    views: Sequence[View] = ()

    def __post_init__(self) -> None:
        exporter = MLMetricExporter(self.backend) if self.wrapped else self.backend
        self.reader = PeriodicExportingMetricReader(exporter, export_interval_millis=NEVER)
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False, views=self.views)
        self.monitor = ModelMonitor(
            "m", slices=self.slices, metrics=self.metrics, score_bounds=(0.0, 0.5, 1.0), meter_provider=self.provider
        )

    def record(self, rows: Iterable[tuple[float, str | None]]) -> None:
        """Record scores, and let them come to the provider."""
        for score, country in rows:
            self.monitor.record(score=score, country=country, duration=abs(score))
        assert self.monitor.force_flush()

    def export(self) -> None:
        """Let the reader collect and export now."""
        self.reader.collect()

    def close(self) -> None:
        """End its threads."""
        self.monitor.shutdown()
        self.provider.shutdown()


def comparable(point: Any) -> dict[str, Any]:
    """What two routes must agree on."""
    facts = {
        "attributes": dict(point.attributes),
        "count": point.count,
        "sum": pytest.approx(point.sum, rel=1e-12, abs=1e-300),
        "min": point.min,
        "max": point.max,
    }
    if hasattr(point, "bucket_counts"):
        return facts | {"buckets": list(point.bucket_counts), "bounds": list(point.explicit_bounds)}
    buckets = {
        name: {index + each.offset: count for index, count in enumerate(each.bucket_counts) if count}
        for name, each in (("positive", point.positive), ("negative", point.negative))
    }
    return facts | {"scale": point.scale, "zeros": point.zero_count} | buckets


def as_coarse_as(point: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The point at the scale of another one: an older SDK stays as coarse as an earlier interval was."""
    steps = point.get("scale", 0) - other.get("scale", 0)
    if steps <= 0 or not other:
        return point
    buckets: dict[str, Any] = {}
    for name in ("positive", "negative"):
        coarse: Counter[int] = Counter()
        for index, count in point[name].items():
            coarse[index >> steps] += count
        buckets[name] = dict(coarse)
    return point | {"scale": other["scale"]} | buckets


@pytest.mark.parametrize("exponential", [False, True], ids=["explicit", "exponential"])
@pytest.mark.parametrize("temporality", [CUMULATIVE, DELTA], ids=["cumulative", "delta"])
@settings(max_examples=25)
@given(first=ROWS, second=ROWS)
def test_both_routes_give_the_same_points(
    temporality: AggregationTemporality,
    exponential: bool,
    first: list[tuple[float, str | None]],
    second: list[tuple[float, str | None]],
) -> None:
    """Binned here, or value by value in the SDK: buckets, counts, sums, smallest and largest are the same."""
    told = []
    for wrapped in (True, False):
        serving = Serving(Backend(temporality, exponential), wrapped=wrapped)
        points = []
        for rows in (first, second):
            serving.record((score, country) for score, country in rows if score or not exponential)
            serving.export()
            if serving.backend.received:
                points += [
                    {country: comparable(point) for country, point in serving.backend.points(metric).items()}
                    for metric in ("ml.prediction.score", "ml.prediction.duration")
                ]
        serving.close()
        told.append(points)

    ours, theirs = told
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert {country: as_coarse_as(point, other.get(country, {})) for country, point in mine.items()} == other


@pytest.mark.parametrize("temporality", [CUMULATIVE, DELTA], ids=["cumulative", "delta"])
@settings(max_examples=10)
@given(rows=ROWS)
def test_a_histogram_is_exponential_by_declaration(
    temporality: AggregationTemporality, rows: list[tuple[float, str | None]]
) -> None:
    """Declared in code beside explicit ones, it has the points of the SDK's own, to which a view says the same."""
    declared = histogram("wide", unit="1", value="score", bounds="exponential")
    view = View(instrument_name="wide", aggregation=ExponentialBucketHistogramAggregation())
    told = []
    for wrapped, views in ((True, ()), (False, (view,))):
        serving = Serving(Backend(temporality), wrapped=wrapped, metrics=[declared], views=views)
        serving.record((score, country) for score, country in rows if score)
        serving.export()
        received = serving.backend.points("wide") if serving.backend.received else {}
        told.append({country: comparable(point) for country, point in received.items()})
        serving.close()

    assert told[0] == told[1]
    assert all("scale" in point for point in told[0].values())


def test_an_exponential_histogram_that_the_sdk_keeps_is_the_sdks(caplog: pytest.LogCaptureFixture) -> None:
    """No instrument can ask for exponential buckets: without a view they are the default ones, which is said once."""
    declared = histogram("said_once", unit="1", value="score", bounds="exponential")
    serving = Serving(Backend(), wrapped=False, metrics=[declared])

    for _ in range(2):
        serving.record([(3.0, "NL")])
    serving.export()
    point = serving.backend.points("said_once")["NL"]
    serving.close()

    assert tuple(point.explicit_bounds) == DEFAULT_BOUNDS
    assert caplog.text.count("'said_once' is declared exponential") == 1


@pytest.mark.parametrize("temporality", [CUMULATIVE, DELTA], ids=["cumulative", "delta"])
def test_nothing_is_lost_or_doubled_where_an_export_fails(temporality: AggregationTemporality) -> None:
    """What could not be delivered comes with the next export."""
    serving = Serving(Backend(temporality))
    for refused, score in ((0, 0.25), (1, 0.75), (0, 0.75), (0, 0.25)):
        serving.backend.refusals = refused
        serving.record([(score, "NL")])
        serving.export()
    counts = [serving.backend.points("ml.prediction.score", export=at)["NL"].bucket_counts for at in range(3)]
    serving.close()

    wanted = [(0, 1, 0, 0), (0, 0, 2, 0), (0, 1, 0, 0)]
    if temporality is CUMULATIVE:
        wanted = [(0, 1, 0, 0), (0, 1, 2, 0), (0, 2, 2, 0)]
    assert [tuple(each) for each in counts] == wanted


def test_intervals_of_deltas_join() -> None:
    """Each begins where the one before ended, the one that a refusal lengthened too."""
    serving = Serving(Backend(DELTA))
    for refused in (0, 1, 0):
        serving.backend.refusals = refused
        serving.record([(0.25, "NL")])
        serving.export()
    first, second = (serving.backend.points("ml.prediction.score", export=at)["NL"] for at in range(2))
    serving.close()

    assert first.start_time_unix_nano < first.time_unix_nano <= second.time_unix_nano
    assert abs(second.start_time_unix_nano - first.time_unix_nano) < 50_000_000


def test_shutting_down_delivers_what_is_left() -> None:
    """The last export of the provider takes it along."""
    serving = Serving(Backend(DELTA))
    serving.record([(0.25, "NL")])
    serving.close()

    assert serving.backend.points("ml.prediction.score")["NL"].count == 1


@pytest.mark.parametrize("exponential", [False, True], ids=["explicit", "exponential"])
def test_negative_values_are_binned_and_have_no_sum(exponential: bool) -> None:
    """The protocol wants sums that only grow; the SDK drops such values."""
    wins = histogram("wins", unit="EUR", value="score * 10", bounds=None if exponential else (-5, 0, 5))
    serving = Serving(Backend(exponential=exponential), metrics=[wins])
    serving.record([(-1.0, "NL"), (0.0, "NL"), (0.2, "NL")])
    serving.export()
    point = serving.backend.points("wins")["NL"]
    faults = serving.backend.points("ml.monitor.faults")
    serving.close()

    assert (point.count, point.sum, point.min, point.max) == (3, None, -10.0, 2.0)
    if exponential:
        assert (point.zero_count, sum(point.positive.bucket_counts), sum(point.negative.bucket_counts)) == (1, 1, 1)
    else:
        assert tuple(point.bucket_counts) == (1, 1, 1, 0)
    assert faults == {}


@pytest.mark.parametrize(("sampler", "kept"), [(ALWAYS_ON, True), (ALWAYS_OFF, False)], ids=["sampled", "not sampled"])
def test_values_of_sampled_spans_are_examples(sampler: Any, kept: bool) -> None:
    """The last one of each bucket, with trace and span."""
    serving = Serving(Backend())
    tracer = TracerProvider(sampler=sampler, shutdown_on_exit=False).get_tracer("test")
    serving.monitor.record(score=0.25, country="NL")
    with tracer.start_as_current_span("predict") as span:
        serving.monitor.record(score=0.75, country="NL")
        context = span.get_span_context()
    serving.monitor.force_flush()
    serving.export()
    examples = serving.backend.points("ml.prediction.score")["NL"].exemplars
    serving.close()

    found = [(each.value, each.trace_id, each.span_id) for each in examples]
    assert found == ([(0.75, context.trace_id, context.span_id)] if kept else [])


def test_a_batch_in_a_sampled_span_leaves_one_example_for_each_bucket() -> None:
    """The last value of each, however many there are."""
    serving = Serving(Backend())
    tracer = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("predict"):
        serving.monitor.record_batch(score=[0.1, 0.2, 0.7, 0.8], country=["NL"] * 4)
    serving.monitor.force_flush()
    serving.export()
    examples = serving.backend.points("ml.prediction.score")["NL"].exemplars
    serving.close()

    assert [each.value for each in examples] == [0.2, 0.8]


def test_an_export_without_a_resource_takes_nothing_along() -> None:
    """What waits comes with the next one."""
    serving = Serving(Backend(DELTA))
    serving.record([(0.25, "NL")])
    serving.reader._exporter.export(MetricsData(resource_metrics=[]))  # noqa: SLF001  # the SDK never does so itself
    serving.export()
    count = serving.backend.points("ml.prediction.score")["NL"].count
    serving.close()

    assert count == 1


def test_a_reader_that_takes_nothing_along_misses_nothing() -> None:
    """Where one reader of a provider is not wrapped, all get the SDK's histograms."""
    memory, backend = InMemoryMetricReader(), Backend()
    wrapped = PeriodicExportingMetricReader(MLMetricExporter(backend), export_interval_millis=NEVER)
    provider = MeterProvider([memory, wrapped], shutdown_on_exit=False)
    with ModelMonitor("m", meter_provider=provider) as monitor:
        monitor.record(score=0.5)
    wrapped.collect()
    data = memory.get_metrics_data()
    provider.shutdown()

    assert data is not None
    scopes = {scope.scope.name for resource in data.resource_metrics for scope in resource.scope_metrics}
    assert scopes == {"otel_ml_metrics"}
    assert backend.points("ml.prediction.score", export=0)[""].count == 1


def test_another_provider_in_the_process_changes_nothing() -> None:
    """Its exporter takes only along what is its own."""
    ours, theirs = Serving(Backend()), Serving(Backend(), wrapped=False)
    ours.record([(0.25, "NL")])
    theirs.record([(0.75, "NL"), (0.75, "NL")])
    for each in (ours, theirs):
        each.export()
    counts = [each.backend.points("ml.prediction.score")["NL"].count for each in (ours, theirs)]
    for each in (ours, theirs):
        each.close()

    assert counts == [1, 2]


def bucket_of(value: float, scale: int) -> int:
    """The bucket by its definition, in whole numbers and decimals."""
    fraction = Fraction(max(value, 2.2250738585072014e-308))
    octave = math.frexp(float(fraction))[1] - 1
    if fraction == Fraction(2) ** octave:
        return (octave << scale) - 1 if scale > 0 else (octave - 1) >> -scale
    if scale <= 0:
        return octave >> -scale
    with localcontext(prec=60):
        ratio = Decimal(fraction.numerator) / Decimal(fraction.denominator)
        index: int = math.floor(ratio.ln() / Decimal(2).ln() * 2**scale)
    return index


@settings(max_examples=200)
@given(st.lists(st.lists(st.floats(-1e300, 1e300), max_size=8), max_size=5))
def test_exponential_buckets_hold_what_their_bounds_say(parts: list[list[float]]) -> None:
    """Whatever the parts are added or merged in: bucket i holds values in (b^i, b^(i+1)]."""
    added, merged = Exponential(), Exponential()
    for part in parts:
        added.add(np.array(part))
        other = Exponential()
        other.add(np.array(part))
        merged.merge(other)
    values = [value for part in parts for value in part]

    for each in (added, merged):
        assert each.zeros == values.count(0.0)
        for sign, buckets in ((1, each.positive), (-1, each.negative)):
            exact = Counter(bucket_of(value * sign, each.scale) for value in values if value * sign > 0)
            held = {buckets.offset + at: count for at, count in enumerate(buckets.counts.tolist()) if count}
            assert len(buckets.counts) <= MOST_BUCKETS
            assert held == exact
    assert added.scale == merged.scale
