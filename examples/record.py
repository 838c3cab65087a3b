"""Record predictions, and read the metrics as a backend does; nothing is sent. Needs the extras `otlp` and `log`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_ml_metrics import ModelMonitor, col, counter, histogram

reader = InMemoryMetricReader()  # a server has a PeriodicExportingMetricReader(OTLPMetricExporter()) here
log = Path(tempfile.mkdtemp()) / "predictions"

with ModelMonitor(
    "flight-delay",
    version="2013.04",
    variant="champion",
    slices=["carrier"],
    fields=["fare"],
    metrics=[
        histogram("expected_refund", unit="USD", value=col("score") * col("fare"), description="Refund at risk"),
        counter("risky_flights", unit="{flight}", value=col("score") > 0.8, description="Flights scored above 0.8"),
    ],
    log=log,
    meter_provider=MeterProvider([reader]),
) as monitor:
    prediction_id = monitor.record(score=0.83, prediction=True, carrier="UA", fare=250.0)
    scores = np.array([0.12, 0.57, 0.91])
    monitor.record_batch(score=scores, prediction=scores >= 0.5, carrier=["UA", "AA", "B6"], fare=[90.0, 310.0, 120.0])
    monitor.force_flush(5.0)

    print(f"The label of {prediction_id} may come in a week.\n")
    for metric in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.data.data_points:
            value = point.sum if hasattr(point, "sum") else point.value
            print(f"{metric.name:26}{value:<8g}{metric.unit:14}{dict(point.attributes)}")

print(f"\n{ds.dataset(log, format='parquet').count_rows()} predictions lie in {log}")
