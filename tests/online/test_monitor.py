"""What a model server sees of a monitor: ids, metrics, flush and end."""

from __future__ import annotations

import gc
import threading
import time
import uuid
import weakref
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider

from otel_ml_metrics import ModelMonitor, col, counter, gauge, histogram
from otel_ml_metrics.identifiers import instant_ms

if TYPE_CHECKING:
    from pathlib import Path

    from otel_ml_metrics.testing import TelemetryCapture


def test_predictions_are_counted_by_slice(telemetry: TelemetryCapture) -> None:
    """Every prediction counts once, under its slices, and a slice without a value is one of its own."""
    monitor = ModelMonitor("fraud", slices=["country"], meter_provider=telemetry.meter_provider)

    monitor.record(score=0.2, country="NL")
    monitor.record(score=0.9, country="NL")
    monitor.record(score=0.5, country=None)
    monitor.record(score=0.5, country="")

    assert telemetry.values("ml.predictions", by="ml.slice.country") == {"NL": 2, "(missing)": 2}


def test_nan_scores_are_counted_apart(telemetry: TelemetryCapture) -> None:
    """A NaN score is a fault to show, so it gets an outcome of its own."""
    monitor = ModelMonitor("fraud", version="7", meter_provider=telemetry.meter_provider)

    monitor.record_batch(score=np.array([0.1, np.nan, 0.9]))

    assert telemetry.values("ml.predictions", by="ml.prediction.outcome") == {"ok": 2, "not_finite": 1}


def test_every_value_says_which_model_made_it(telemetry: TelemetryCapture) -> None:
    """Name, version, variant and output of a model stand on its metrics."""
    monitor = ModelMonitor(
        "fraud", version="7", variant="champion", output="amount", meter_provider=telemetry.meter_provider
    )

    monitor.record(score=0.2)

    attributes = dict(telemetry.points("ml.prediction.score")[0].attributes or {})
    assert attributes == {
        "ml.model.name": "fraud",
        "ml.model.version": "7",
        "ml.model.variant": "champion",
        "ml.output.name": "amount",
    }


def test_scores_of_a_probability_fall_into_twenty_buckets(telemetry: TelemetryCapture) -> None:
    """The bounds of the score histogram are fixed, so that values of all versions compare."""
    monitor = ModelMonitor("fraud", meter_provider=telemetry.meter_provider)

    monitor.record_batch(score=[0.0, 0.04, 0.05, 0.051, 1.0])

    point: Any = telemetry.points("ml.prediction.score")[0]
    counts = dict(zip((*point.explicit_bounds, "above"), point.bucket_counts, strict=True))
    assert {bound: count for bound, count in counts.items() if count} == {0.0: 1, 0.05: 2, 0.1: 1, 1.0: 1}


def test_a_duration_histogram_appears_with_the_first_duration(telemetry: TelemetryCapture) -> None:
    """A model that reports no durations has no empty metric for them."""
    monitor = ModelMonitor("fraud", meter_provider=telemetry.meter_provider)
    monitor.record(score=0.5)
    before = set(telemetry.metrics())

    monitor.record(score=0.5, duration=0.025)

    assert "ml.prediction.duration" not in before
    assert telemetry.metrics()["ml.prediction.duration"].unit == "s"


def test_a_regression_has_a_histogram_of_its_values(telemetry: TelemetryCapture) -> None:
    """The prediction of a regression is a number with a unit."""
    monitor = ModelMonitor(
        "price", task="regression", value_unit="USD", value_bounds=[100, 200], meter_provider=telemetry.meter_provider
    )

    monitor.record_batch(prediction=[50, 150.0, 250])

    point: Any = telemetry.points("ml.prediction.value")[0]
    assert telemetry.metrics()["ml.prediction.value"].unit == "USD"
    assert list(point.bucket_counts) == [1, 1, 1]


def test_custom_metrics_carry_exactly_what_was_declared(telemetry: TelemetryCapture) -> None:
    """Name, unit and description of a metric of the user are theirs."""
    declared = histogram(
        "expected_refund", unit="USD", value=col("score") * col("fare"), description="Refund at risk", bounds=[10, 100]
    )
    monitor = ModelMonitor("delay", fields=["fare"], metrics=[declared], meter_provider=telemetry.meter_provider)

    monitor.record_batch(score=[0.5, 0.5], fare=[10, 100.0])

    metric = telemetry.metrics()["expected_refund"]
    point: Any = metric.data.data_points[0]
    assert (metric.unit, metric.description) == ("USD", "Refund at risk")
    assert (point.count, point.sum, tuple(point.explicit_bounds)) == (2, 55.0, (10.0, 100.0))


@pytest.mark.parametrize(
    "value",
    [col("score") > 0.8, "score > 0.8", lambda columns: columns["score"] > 0.8],
    ids=["expression", "text", "callable"],
)
def test_a_boolean_counts_the_rows_where_it_holds(telemetry: TelemetryCapture, value: Any) -> None:
    """A counter of a condition counts, however the condition is written."""
    risky = counter("risky", unit="{flight}", value=value)
    monitor = ModelMonitor("delay", slices=["carrier"], metrics=[risky], meter_provider=telemetry.meter_provider)

    monitor.record_batch(score=[0.9, 0.1, 0.95], carrier=["UA", "UA", "AA"])

    assert telemetry.values("risky", by="ml.slice.carrier") == {"UA": 1, "AA": 1}


def test_a_column_name_is_a_value(telemetry: TelemetryCapture) -> None:
    """A field is counted by its name, even one that no expression could spell."""
    total = counter("fares", unit="USD", value="ticket fare")
    monitor = ModelMonitor("delay", fields=["ticket fare"], metrics=[total], meter_provider=telemetry.meter_provider)

    monitor.record(**{"ticket fare": 12.5})
    monitor.record(**{"ticket fare": 30})

    assert telemetry.values("fares", by="ml.model.name") == {"delay": 42.5}


def test_a_gauge_shows_the_last_value(telemetry: TelemetryCapture) -> None:
    """The last prediction with a value wins, per slice."""
    last = gauge("last_fare", unit="USD", value="fare")
    monitor = ModelMonitor(
        "delay", fields=["fare"], slices=["carrier"], metrics=[last], meter_provider=telemetry.meter_provider
    )

    monitor.record_batch(fare=[1.0, 2.0, 3.0, None], carrier=["UA", "AA", "UA", "UA"])
    monitor.record(fare=9, carrier="AA")

    assert telemetry.values("last_fare", by="ml.slice.carrier") == {"UA": 3, "AA": 9}


def test_strings_select_rows(telemetry: TelemetryCapture) -> None:
    """Slices and declared texts can be compared in an expression."""
    night = counter("night", unit="{flight}", value=(col("carrier") == "UA") & (col("shift") == "night"))
    monitor = ModelMonitor(
        "delay",
        slices=["carrier"],
        fields={"shift": "string", "fare": "number"},
        metrics=[night],
        meter_provider=telemetry.meter_provider,
    )

    monitor.record_batch(carrier=["UA", "UA", "AA"], shift=["night", "day", "night"])

    assert telemetry.values("night", by="ml.slice.carrier") == {"UA": 1, "AA": 0}


def test_two_monitors_of_a_provider_share_its_instruments(telemetry: TelemetryCapture) -> None:
    """Champion and challenger live in one process: neither hides the other's values."""
    monitors = [
        ModelMonitor(
            "fraud",
            variant=variant,
            metrics=[counter("risky", unit="{payment}", value="score > 0.5")],
            meter_provider=telemetry.meter_provider,
        )
        for variant in ("champion", "challenger")
    ]

    for monitor in monitors:
        monitor.record_batch(score=[0.9, 0.1, 0.8])

    assert telemetry.values("ml.predictions", by="ml.model.variant") == {"champion": 3, "challenger": 3}
    assert telemetry.values("risky", by="ml.model.variant") == {"champion": 2, "challenger": 2}


def test_counters_go_on_when_a_monitor_is_made_anew(telemetry: TelemetryCapture) -> None:
    """A counter never goes back, even if the monitor is garbage and another one takes its place."""
    for _ in range(3):
        with ModelMonitor("fraud", meter_provider=telemetry.meter_provider) as monitor:
            monitor.record(score=0.5)
        del monitor
        gc.collect()

    assert telemetry.values("ml.predictions", by="ml.model.name") == {"fraud": 3}


def test_units_may_differ_between_models(telemetry: TelemetryCapture) -> None:
    """Two regressions of one process predict in units of their own."""
    for name, unit in (("price", "USD"), ("travel", "min")):
        monitor = ModelMonitor(name, task="regression", value_unit=unit, meter_provider=telemetry.meter_provider)
        monitor.record(prediction=5)
        monitor.shutdown()

    data: Any = telemetry.reader.get_metrics_data()
    found = [
        metric for metric in data.resource_metrics[0].scope_metrics[0].metrics if metric.name == "ml.prediction.value"
    ]
    assert sorted(metric.unit for metric in found) == ["USD", "min"]


def test_an_id_carries_its_instant() -> None:
    """The 48 bits of the UUIDv7 are `predicted_at` in milliseconds, also of an instant in the past."""
    predicted_at = datetime(2013, 4, 1, 8, 15, 30, 250_999, tzinfo=UTC)
    monitor = ModelMonitor("delay")

    given = monitor.record(score=0.5, predicted_at=predicted_at)
    before = time.time_ns() // 1_000_000
    now = monitor.record(score=0.5)

    assert given is not None
    assert now is not None
    assert uuid.UUID(given).version == 7
    assert instant_ms(given) == 1_364_804_130_250
    assert before <= (instant_ms(now) or 0) <= time.time_ns() // 1_000_000


def test_an_instant_of_another_zone_is_the_same_instant() -> None:
    """An aware datetime names a moment, whatever its zone."""
    monitor = ModelMonitor("delay")
    local = datetime(2013, 4, 1, 4, tzinfo=timezone(timedelta(hours=-4)))

    prediction_id = monitor.record(predicted_at=local)

    assert instant_ms(prediction_id or "") == 1_364_803_200_000


def test_ids_differ_and_sort_by_time() -> None:
    """Ids of one millisecond keep the order in which they were made, and no two are alike."""
    monitor = ModelMonitor("delay")
    predicted_at = datetime(2013, 4, 1, tzinfo=UTC)

    ids = [monitor.record(predicted_at=predicted_at) for _ in range(1_000)]
    batch = monitor.record_batch(score=np.zeros(100_000), predicted_at=predicted_at)

    assert ids == sorted(str(each) for each in ids)
    assert list(batch) == sorted(batch)
    assert len({*ids, *batch}) == 101_000


def test_the_ids_of_a_batch_behave_as_a_sequence() -> None:
    """Ids are made when they are looked at, and looking again gives the same ones."""
    monitor = ModelMonitor("delay")
    instants = np.array(["2013-04-01T00:00:00.001", "2013-04-01T00:00:00.002"], dtype="datetime64[ms]")

    ids = monitor.record_batch(score=[0.1, 0.2], predicted_at=instants)

    assert len(ids) == 2
    assert list(ids) == [ids[0], ids[-1]] == list(ids[:])
    assert [instant_ms(each) for each in ids] == [1_364_774_400_001, 1_364_774_400_002]
    with pytest.raises(IndexError):
        ids[2]


def test_an_id_of_the_caller_is_kept() -> None:
    """Who has an id of their own keeps it; rows without one get one of ours."""
    monitor = ModelMonitor("delay")

    single = monitor.record(score=0.5, prediction_id="order-17")
    batch = monitor.record_batch(score=[0.1, 0.2], prediction_id=["order-18", None])

    assert single == "order-17"
    assert batch[0] == "order-18"
    assert uuid.UUID(batch[1]).version == 7


def test_totals_of_many_threads_are_exact(telemetry: TelemetryCapture) -> None:
    """Nothing is lost or doubled when many threads record at once and the drain runs all the while."""
    total = counter("total", unit="USD", value="amount")
    monitor = ModelMonitor(
        "fraud",
        slices=["country"],
        fields=["amount"],
        metrics=[total],
        buffer_rows=100_000,
        interval=0.01,
        meter_provider=telemetry.meter_provider,
    )

    def work(thread: int) -> None:
        for _ in range(500):
            monitor.record(score=0.5, amount=1, country=f"c{thread}")
            monitor.record_batch(score=[0.5, 0.6], amount=2, country=f"c{thread}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert telemetry.values("ml.predictions", by="ml.slice.country") == {f"c{each}": 1_500 for each in range(8)}
    assert telemetry.values("total", by="ml.model.name") == {"fraud": 8 * 500 * 5}
    assert sum(point.count for point in telemetry.points("ml.prediction.score") if hasattr(point, "count")) == 12_000


def test_arrays_may_be_reused_by_the_caller(telemetry: TelemetryCapture) -> None:
    """What is kept is copied: a caller that fills the same array again changes nothing."""
    total = counter("total", unit="USD", value="amount")
    monitor = ModelMonitor("fraud", fields=["amount"], metrics=[total], meter_provider=telemetry.meter_provider)
    amounts = np.array([1.0, 2.0])

    monitor.record_batch(amount=amounts)
    amounts[:] = 100.0

    assert telemetry.values("total", by="ml.model.name") == {"fraud": 3}


def test_shutdown_flushes_and_later_rows_are_counted(telemetry: TelemetryCapture) -> None:
    """Nothing raises after the end, and nothing is lost silently."""
    monitor = ModelMonitor("fraud", interval=3600, meter_provider=telemetry.meter_provider)
    monitor.record(score=0.5)

    flushed = monitor.shutdown()
    again = monitor.shutdown()
    prediction_id = monitor.record(score=0.5)
    ids = monitor.record_batch(score=[0.5, 0.6])

    assert (flushed, again, prediction_id, list(ids)) == (True, True, None, [])
    assert telemetry.values("ml.predictions", by="ml.model.name") == {"fraud": 1}
    assert telemetry.values("ml.monitor.dropped", by="reason") == {"shut_down": 3}


def test_a_forgotten_monitor_leaves_nothing_behind(telemetry: TelemetryCapture) -> None:
    """A monitor that is garbage is freed, its thread ends, and what it recorded is not lost."""
    monitor = ModelMonitor("fraud", interval=0.02, meter_provider=telemetry.meter_provider)
    monitor.record(score=0.5)
    freed = weakref.ref(monitor)
    thread = monitor._drain._thread  # noqa: SLF001  # there is no other way to see which thread is its own

    del monitor
    gc.collect()

    assert freed() is None
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()
    assert telemetry.values("ml.predictions", by="ml.model.name") == {"fraud": 1}


def test_a_flush_that_takes_too_long_says_so(telemetry: TelemetryCapture) -> None:
    """The wait is bounded, whatever the drain is busy with."""
    blocked = threading.Event()
    slow = counter("slow", unit="1", value=lambda columns: columns["score"] if blocked.wait(10) else 0)
    monitor = ModelMonitor("fraud", metrics=[slow], meter_provider=telemetry.meter_provider)
    monitor.record(score=0.5)

    in_time = monitor.force_flush(timeout=0.05)
    blocked.set()

    assert not in_time
    assert monitor.force_flush()


def test_attribute_sets_beyond_the_budget_are_folded(telemetry: TelemetryCapture) -> None:
    """Hostile slices cost bounded memory, and what was folded is counted."""
    monitor = ModelMonitor("delay", slices=["carrier"], attribute_sets=5, meter_provider=telemetry.meter_provider)

    monitor.record_batch(carrier=[f"carrier-{number}" for number in range(1_000)])
    monitor.record_batch(carrier=["carrier-1", "another"])

    by_carrier = telemetry.values("ml.predictions", by="ml.slice.carrier")
    assert len(by_carrier) == 6
    assert (by_carrier["carrier-1"], by_carrier[""]) == (2, 996)
    assert telemetry.values("ml.monitor.cardinality.overflow", by="ml.model.name") == {"delay": 996}
    assert telemetry.values("ml.predictions", by="otel.metric.overflow")["True"] == 996


def test_histogram_values_of_a_sampled_span_leave_exemplars(telemetry: TelemetryCapture) -> None:
    """The trace of a prediction is found from its metric."""
    monitor = ModelMonitor("fraud", meter_provider=telemetry.meter_provider)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")

    with tracer.start_as_current_span("predict") as span:
        monitor.record(score=0.97)
    monitor.record(score=0.1)

    point: Any = telemetry.points("ml.prediction.score")[0]
    assert [(each.value, each.trace_id) for each in point.exemplars] == [(0.97, span.get_span_context().trace_id)]


def test_a_row_outside_of_spans_gets_none_from_the_thread_that_drains(telemetry: TelemetryCapture) -> None:
    """What was recorded in no span has no exemplar, though a caller inside of one works it off."""
    monitor = ModelMonitor(
        "fraud", slices=["country"], buffer_rows=10, interval=3600, meter_provider=telemetry.meter_provider
    )
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    monitor.record(score=0.9, country="DE")  # starts the thread, which then sleeps
    assert monitor.force_flush()

    monitor.record(score=0.1, country="DE")
    with tracer.start_as_current_span("job"):
        monitor.record_batch(score=np.full(100, 0.1), country="NL")  # too large for the buffer

    points: list[Any] = telemetry.points("ml.prediction.score")
    kept = {point.attributes["ml.slice.country"]: bool(point.exemplars) for point in points}
    assert kept == {"DE": False, "NL": True}


def test_a_monitor_of_the_global_provider_costs_nothing_without_an_sdk(tmp_path: Path) -> None:
    """Without an SDK the metrics go nowhere, and everything else works."""
    with ModelMonitor("fraud", log=tmp_path) as monitor:
        assert monitor.record(score=0.5) is not None
        assert monitor.force_flush()
