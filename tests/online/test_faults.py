"""Bad input: counted and logged in production, raised in tests, and never at the cost of what is good."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from otel_ml_metrics import ModelMonitor, OtelMLMetricsError, counter, gauge, histogram
from otel_ml_metrics.batch import Fault
from otel_ml_metrics.errors import BatchShapeError, FieldError, InstantError
from otel_ml_metrics.prediction_log.layout import SEGMENT_PATTERN
from otel_ml_metrics.telemetry.faults import FaultLog
from otel_ml_metrics.testing import TelemetryCapture

BAD_ROWS: list[tuple[dict[str, Any], str]] = [
    ({"color": "red"}, "unknown_field"),
    ({"score": "high"}, "wrong_type"),
    ({"score": object()}, "wrong_type"),
    ({"score": b"0.5"}, "wrong_type"),
    ({"score": 1j}, "wrong_type"),
    ({"score": {"a": 1}}, "wrong_type"),
    ({"score": float("nan")}, "not_finite"),
    ({"score": float("inf")}, "not_finite"),
    ({"score": 10**400}, "wrong_type"),
    ({"score": None}, "missing_value"),
    ({"prediction": None}, "missing_value"),
    ({"prediction": object()}, "wrong_type"),
    ({"country": 7}, "wrong_type"),
    ({"country": ["NL"]}, "wrong_type"),
    ({"country": "x" * 100_000}, "wrong_type"),
    ({"country": "\ud800"}, "wrong_type"),
    ({"amount": "12"}, "wrong_type"),
    ({"amount": [1.0]}, "wrong_type"),
    ({"duration": -1.0}, "negative_value"),
    ({"duration": float("nan")}, "not_finite"),
    ({"weight": "heavy"}, "wrong_type"),
    ({"acted_on": "yes"}, "wrong_type"),
    ({"acted_on": 2}, "wrong_type"),
    ({"prediction_id": 17}, "wrong_type"),
    ({"prediction_id": ""}, "wrong_type"),
    ({"predicted_at": datetime(2013, 4, 1)}, "bad_instant"),  # noqa: DTZ001  # that is the fault
    ({"predicted_at": "2013-04-01"}, "bad_instant"),
    ({"predicted_at": 1_364_774_400}, "bad_instant"),
    ({"predicted_at": date(2013, 4, 1)}, "bad_instant"),
    ({"predicted_at": np.datetime64("NaT", "us")}, "bad_instant"),
    ({"predicted_at": datetime(1969, 12, 31, tzinfo=UTC)}, "bad_instant"),
]


def names(cases: list[tuple[dict[str, Any], str]]) -> list[str]:
    """Readable ids of the cases."""
    return [f"{next(iter(row))}-{type(next(iter(row.values()))).__name__}-{reason}" for row, reason in cases]


def a_monitor(telemetry: TelemetryCapture, **more: Any) -> ModelMonitor:
    """A monitor with a slice and a field."""
    provider = telemetry.meter_provider
    return ModelMonitor("fraud", slices=["country"], fields=["amount"], meter_provider=provider, **more)


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS, ids=names(BAD_ROWS))
def test_a_bad_value_is_counted_and_its_row_is_recorded(
    telemetry: TelemetryCapture, row: dict[str, Any], reason: str
) -> None:
    """Nothing raises: the value is a fault with a reason, and the prediction counts all the same."""
    monitor = a_monitor(telemetry)

    prediction_id = monitor.record(**row)

    assert prediction_id is not None
    assert telemetry.values("ml.monitor.faults", by="reason") == {reason: 1}
    assert telemetry.values("ml.predictions", by="ml.model.name") == {"fraud": 1}


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS, ids=names(BAD_ROWS))
def test_a_bad_column_is_counted_as_often_as_its_rows(
    telemetry: TelemetryCapture, row: dict[str, Any], reason: str
) -> None:
    """A batch counts the same faults as its rows would, and keeps every row."""
    monitor = a_monitor(telemetry)
    name, value = next(iter(row.items()))

    ids = monitor.record_batch(**{name: [value, value, value]}, amount=[1, 2, 3]) if name != "amount" else None
    ids = monitor.record_batch(amount=[value] * 3, score=[0.1, 0.2, 0.3]) if ids is None else ids

    counted = {"wrong_type": 3} if reason == "missing_value" and name == "prediction_id" else {reason: 3}
    assert len(ids) == 3
    assert telemetry.values("ml.monitor.faults", by="reason") == counted
    assert telemetry.values("ml.predictions", by="ml.model.name") == {"fraud": 3}


@pytest.mark.parametrize(("row", "reason"), BAD_ROWS, ids=names(BAD_ROWS))
def test_a_bad_value_is_raised_under_tests(telemetry: TelemetryCapture, row: dict[str, Any], reason: str) -> None:
    """With the switch on, the mistake shows where it was made."""
    monitor = a_monitor(telemetry, on_fault="raise")

    with pytest.raises(OtelMLMetricsError) as caught:
        monitor.record(**row)

    assert next(iter(row)) in str(caught.value)
    assert telemetry.values("ml.monitor.faults", by="reason") == {reason: 1}


def test_the_environment_turns_raising_on(telemetry: TelemetryCapture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test run sets one variable and changes no code."""
    monkeypatch.setenv("OTEL_ML_METRICS_RAISE", "1")

    monitor = a_monitor(telemetry)

    with pytest.raises(FieldError, match="Did you mean 'country'"):
        monitor.record(contry="NL")


def test_the_argument_outranks_the_environment(telemetry: TelemetryCapture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the code says is what happens."""
    monkeypatch.setenv("OTEL_ML_METRICS_RAISE", "1")

    monitor = a_monitor(telemetry, on_fault="count")

    assert monitor.record(contry="NL") is not None


def test_an_undeclared_field_leaves_the_rest_of_the_row(telemetry: TelemetryCapture) -> None:
    """What is declared is recorded, what is not goes nowhere."""
    monitor = a_monitor(telemetry)

    monitor.record(score=0.5, country="NL", salary=50_000)

    point = telemetry.points("ml.prediction.score")[0]
    assert dict(point.attributes or {}) == {"ml.model.name": "fraud", "ml.slice.country": "NL"}


def test_an_unreadable_score_is_an_error_and_an_infinite_one_is_not_finite(telemetry: TelemetryCapture) -> None:
    """The outcome of a prediction says whether its numbers can be used."""
    monitor = a_monitor(telemetry)

    monitor.record_batch(score=["high", np.inf, 0.5, None], prediction=[True, True, "?", True])

    outcomes = telemetry.values("ml.predictions", by="ml.prediction.outcome")
    assert outcomes == {"error": 2, "not_finite": 1, "ok": 1}


def test_columns_of_different_length_are_refused_whole(telemetry: TelemetryCapture) -> None:
    """Nothing says which values belong together, so the batch is lost, and counted."""
    monitor = a_monitor(telemetry)

    ids = monitor.record_batch(score=[0.1, 0.2, 0.3], country=["NL", "DE"])

    assert len(ids) == 0
    assert telemetry.values("ml.monitor.faults", by="reason") == {"wrong_length": 1}
    assert telemetry.values("ml.monitor.dropped", by="reason") == {"wrong_length": 3}
    assert telemetry.values("ml.predictions", by="ml.model.name") == {}


def test_columns_of_different_length_are_raised_under_tests(telemetry: TelemetryCapture) -> None:
    """The error says which column has how many rows."""
    monitor = a_monitor(telemetry, on_fault="raise")

    with pytest.raises(BatchShapeError, match="country has 2"):
        monitor.record_batch(score=[0.1, 0.2, 0.3], country=["NL", "DE"])


def test_a_naive_instant_says_what_to_write(telemetry: TelemetryCapture) -> None:
    """The message tells the way out."""
    monitor = a_monitor(telemetry, on_fault="raise")

    with pytest.raises(InstantError, match=r"datetime\.now\(UTC\)"):
        monitor.record(predicted_at=datetime(2013, 4, 1))  # noqa: DTZ001  # that is the fault


def test_an_object_that_raises_whatever_is_asked_stays_inside(telemetry: TelemetryCapture) -> None:
    """Not even a hostile object gets an exception past the monitor."""

    class Hostile:
        __hash__ = None  # type: ignore[assignment]

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __len__(self) -> int:
            message = "no length"
            raise RuntimeError(message)

    monitor = a_monitor(telemetry)

    monitor.record(score=Hostile(), country=Hostile(), predicted_at=Hostile(), prediction_id=Hostile())
    monitor.record_batch(score=Hostile(), country=[Hostile()], amount=Hostile())
    monitor.record(score=0.5)

    assert monitor.force_flush()
    recorded = telemetry.values("ml.predictions", by="ml.model.name").get("fraud", 0)
    dropped = sum(telemetry.values("ml.monitor.dropped", by="reason").values())
    assert recorded + dropped == 3
    assert recorded >= 1


def test_a_callable_that_raises_spoils_only_its_own_metric(telemetry: TelemetryCapture) -> None:
    """A metric of the user that fails is a fault, and everything else is recorded."""
    broken = gauge("broken", unit="1", value=lambda columns: columns["nothing"])
    good = counter("good", unit="1", value="score")
    monitor = a_monitor(telemetry, metrics=[broken, good])

    monitor.record_batch(score=[1.0, 2.0])

    assert telemetry.values("ml.monitor.faults", by="reason") == {"value_failed": 2}
    assert telemetry.values("good", by="ml.model.name") == {"fraud": 3}


def test_a_callable_must_give_one_value_per_row(telemetry: TelemetryCapture) -> None:
    """Values that belong to no row are not guessed at."""
    short = gauge("short", unit="1", value=lambda columns: columns["score"][:1].repeat(2))
    monitor = a_monitor(telemetry, metrics=[short])

    monitor.record_batch(score=[1.0, 2.0, 3.0])

    assert telemetry.values("ml.monitor.faults", by="reason") == {"value_failed": 3}


def test_a_callable_cannot_change_the_batch(telemetry: TelemetryCapture) -> None:
    """Columns are read-only for the metrics of users: they are written to the log afterwards."""

    def spoil(columns: Any) -> Any:
        columns["score"][:] = 0
        return columns["score"]

    monitor = a_monitor(telemetry, metrics=[gauge("spoiled", unit="1", value=spoil)])

    monitor.record(score=0.5)

    assert telemetry.values("ml.monitor.faults", by="reason") == {"value_failed": 1}


def test_negative_values_are_left_out_of_counters_and_histograms(telemetry: TelemetryCapture) -> None:
    """A counter only grows; what cannot be added is counted as a fault."""
    metrics = [counter("paid", unit="USD", value="amount"), histogram("amounts", unit="USD", value="amount")]
    monitor = a_monitor(telemetry, metrics=metrics)

    monitor.record_batch(amount=[5.0, -3.0])

    assert telemetry.values("paid", by="ml.model.name") == {"fraud": 5}
    assert telemetry.values("amounts", by="ml.model.name") == {"fraud": 1}
    assert telemetry.values("ml.monitor.faults", by="reason") == {"negative_value": 2}


def test_rows_without_a_value_are_left_out_and_counted(telemetry: TelemetryCapture) -> None:
    """A feature may be missing: that is counted where a metric needed it, and never raised."""
    metrics = [counter("paid", unit="USD", value="amount * 2")]
    monitor = a_monitor(telemetry, metrics=metrics, on_fault="raise")

    monitor.record_batch(amount=[5.0, None, np.nan, np.inf], score=0.5)

    assert telemetry.values("paid", by="ml.model.name") == {"fraud": 10}
    assert telemetry.values("ml.monitor.faults", by="reason") == {"missing_value": 3}


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
def test_a_missing_slice_is_a_slice_and_no_fault(telemetry: TelemetryCapture, missing: Any) -> None:
    """However a library writes a missing value, it is `(missing)`."""
    monitor = a_monitor(telemetry)

    monitor.record_batch(country=[missing, "NL"])

    assert telemetry.values("ml.predictions", by="ml.slice.country") == {"(missing)": 1, "NL": 1}
    assert telemetry.values("ml.monitor.faults", by="reason") == {}


def test_faults_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """A broken caller fills a counter, not the log."""
    now = 0.0
    faults = FaultLog("Monitor of 'fraud'", lambda *_: None, raising=False, clock=lambda: now)
    fault = Fault("wrong_type", 2, FieldError("score: expected a number, found str."))

    with caplog.at_level(logging.WARNING, logger="otel_ml_metrics"):
        for second in range(0, 125, 5):
            now = float(second)
            faults.report([fault])
            faults.log_when_due()

    messages = [record.getMessage() for record in caplog.records]
    assert [message.partition(". ")[0] for message in messages] == [
        "Monitor of 'fraud': 2 faults since the last report",
        "Monitor of 'fraud': 24 faults since the last report",
        "Monitor of 'fraud': 24 faults since the last report",
    ]
    assert "wrong_type x24: score: expected a number, found str." in messages[1]


def test_what_was_passed_is_not_logged(telemetry: TelemetryCapture, caplog: pytest.LogCaptureFixture) -> None:
    """Values may be personal: the log says which field and what type, not what was in it."""
    monitor = a_monitor(telemetry)

    with caplog.at_level(logging.WARNING, logger="otel_ml_metrics"):
        monitor.record(score="Jane Roe")
        monitor.force_flush()

    assert "score: expected a number, found str" in caplog.text
    assert "Jane Roe" not in caplog.text


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(alphabet=st.characters(), max_size=5),
    st.binary(max_size=5),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
    st.decimals(),
    st.fractions(),
    st.sampled_from(
        [np.float32(0.5), np.int64(3), np.bool_(True), np.datetime64("2013-04-01"), np.array(0.5), pd.NA, object]
    ),
)
ANYTHING = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.lists(st.lists(SCALARS, max_size=2), max_size=3),
    st.dictionaries(st.text(max_size=2), SCALARS, max_size=2),
    st.sets(st.integers(), max_size=2),
    arrays(np.float64, st.sampled_from([(0,), (2,), (3,), (2, 2), (0, 3)])),
    arrays(np.int8, st.sampled_from([(2,), (3,)])),
    arrays(np.bool_, 3),
    arrays("U2", 3),
    arrays("datetime64[D]", 3),
)
GIVEN = ("score", "prediction", "duration", "weight", "acted_on", "prediction_id", "predicted_at", "trace_id")
NAMES = st.sampled_from([*GIVEN, "country", "amount", "note", "color"])


@settings(max_examples=60)
@given(rows=st.lists(st.dictionaries(NAMES, ANYTHING, max_size=4), max_size=4), batch=st.booleans())
def test_whatever_is_passed_is_recorded_or_counted(rows: list[dict[str, Any]], *, batch: bool) -> None:
    """No combination of values raises, and recorded and dropped predictions together are those that were offered."""
    with TelemetryCapture() as telemetry, TemporaryDirectory() as log:
        monitor = ModelMonitor(
            "fraud",
            slices=["country"],
            fields={"amount": "number", "note": "string"},
            metrics=[counter("paid", unit="USD", value="amount"), gauge("last", unit="1", value="score * 2")],
            meter_provider=telemetry.meter_provider,
            interval=3600,
            log=log,
        )

        ids = [each for row in rows for each in (monitor.record_batch(**row) if batch else [monitor.record(**row)])]
        monitor.force_flush()

        recorded = sum(telemetry.values("ml.predictions", by="ml.model.name").values())
        dropped = telemetry.values("ml.monitor.dropped", by="reason")
        assert all(isinstance(each, str) for each in ids)
        assert len(ids) == recorded
        assert set(dropped) <= {"wrong_length", "bad_instant"}
        logged = sum(pq.read_metadata(path).num_rows for path in Path(log).rglob(SEGMENT_PATTERN))
        assert logged == recorded - dropped.get("bad_instant", 0)
        monitor.shutdown()
