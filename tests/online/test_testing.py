"""What users get for their own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_ml_metrics import ModelMonitor, counter

if TYPE_CHECKING:
    from otel_ml_metrics.testing import TelemetryCapture


def test_values_are_added_up_over_the_other_attributes(telemetry: TelemetryCapture) -> None:
    """One attribute at a time, whatever else splits the metric."""
    monitor = ModelMonitor("fraud", slices=["country", "channel"], meter_provider=telemetry.meter_provider)

    monitor.record_batch(country=["NL", "NL", "DE"], channel=["web", "app", "web"])

    assert telemetry.values("ml.predictions", by="ml.slice.country") == {"NL": 2, "DE": 1}
    assert telemetry.values("ml.predictions", by="ml.slice.channel") == {"web": 2, "app": 1}
    assert telemetry.values("ml.predictions", by="nothing") == {"": 3}


def test_a_metric_without_data_is_empty(telemetry: TelemetryCapture) -> None:
    """A test may ask for what was never recorded."""
    ModelMonitor("fraud", metrics=[counter("risky", unit="1", value="score")], meter_provider=telemetry.meter_provider)

    assert telemetry.points("risky") == []
    assert telemetry.values("risky", by="ml.model.name") == {}
    assert telemetry.points("no.such.metric") == []


def test_units_of_one_name_are_read_together(telemetry: TelemetryCapture) -> None:
    """Two models may give one metric two units: neither hides the other."""
    for name, unit in (("price", "USD"), ("travel", "min")):
        with ModelMonitor(name, task="regression", value_unit=unit, meter_provider=telemetry.meter_provider) as monitor:
            monitor.record(prediction=5)

    assert telemetry.values("ml.prediction.value", by="ml.model.name") == {"price": 1, "travel": 1}
