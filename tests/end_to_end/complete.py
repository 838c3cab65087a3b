"""A model of which there is everything: every measure of the catalogue, every metric, every trouble.

The demo is a healthy binary model, so most of the catalogue and all that counts trouble is missing from it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otel_ml_metrics import semconv
from otel_ml_metrics.dashboards.subject import everything
from otel_ml_metrics.monitor import ModelMonitor
from otel_ml_metrics.provider import meter_provider_from_environment
from otel_ml_metrics.telemetry.lagging import LaggingPoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from otel_ml_metrics.semconv import MetricDefinition

MODEL: Final = "complete"
VARIANTS: Final = ("champion", "challenger")
MATURITIES: Final = ("6h", "1d")
REGIONS: Final = (None, "north", "south")
ROUNDS: Final = 2
"""How often everything is sent: a counter has to grow."""


def record(service: str) -> None:
    """Record predictions of every outcome, with every fault, in two rounds."""
    provider = meter_provider_from_environment(service)
    for variant in VARIANTS:
        identity: dict[str, Any] = {"version": "1", "variant": variant, "meter_provider": provider, "attribute_sets": 4}
        monitor = ModelMonitor(MODEL, slices=["region"], **identity)
        forecaster = ModelMonitor(MODEL, task="regression", output="delay", **identity)
        for number in range(ROUNDS):
            monitor.record_batch(
                score=np.array([0.1, 0.9, np.nan]), duration=0.02, region=[f"r{number}{at}" for at in "abc"]
            )
            monitor.record(score=0.5, region="north", undeclared=1)
            forecaster.record_batch(prediction=np.array([1.0, 2.0]))
            monitor.force_flush(5.0)
            forecaster.force_flush(5.0)
            provider.force_flush()
        for each in (monitor, forecaster):
            each.shutdown()
        monitor.record(score=0.5, region="north")  # too late, so it is dropped
    provider.shutdown()


def evaluated(now: datetime) -> Iterator[LaggingPoint]:
    """The lagging points of two runs, a minute apart."""
    for number in range(ROUNDS):
        time = int(now.timestamp() - 60 * (ROUNDS - number)) * 1_000_000_000
        yield from (replace(point, time_unix_nano=time) for point in _points(time, number + 1))


def _points(time: int, count: int) -> Iterator[LaggingPoint]:
    run = {
        semconv.MODEL_NAME: MODEL,
        semconv.FLOW_NAME: "evaluate-labels",
        semconv.FLOW_OUTCOME: semconv.FLOW_COMPLETED,
    }
    yield from (LaggingPoint.gauge(metric, run, time, 1.0) for metric in semconv.FLOW_METRICS)
    for variant in VARIANTS:
        whose = {semconv.MODEL_NAME: MODEL, semconv.MODEL_VERSION: "1", semconv.MODEL_VARIANT: variant}
        for metric in semconv.LAGGING_METRICS:
            if metric.kind != "gauge":
                yield _counted(metric, whose | {semconv.LABEL_STATUS: "matched", "reason": "no_rows"}, time, count)
        for maturity, region in product(MATURITIES, REGIONS):
            group = whose | {
                semconv.EVALUATION_WINDOW: "1d",
                semconv.EVALUATION_MATURITY: maturity,
                semconv.EVALUATION_STAGE: semconv.STAGE_FINAL,
                **({f"{semconv.SLICE_PREFIX}region": region} if region else {}),
            }
            yield from _gauges(group, time)


def _gauges(group: dict[str, str], time: int) -> Iterator[LaggingPoint]:
    ours = [(metric.name, metric.unit) for metric in semconv.LAGGING_METRICS if metric.kind == "gauge"]
    values = [
        (f"{semconv.evaluation_metric(measure.name)}{end}", measure.unit)
        for measure in everything().measures
        for end in (("", ".lower", ".upper") if measure.has_interval else ("",))
    ]
    for name, unit in dict.fromkeys([*ours, *values]):
        yield LaggingPoint(
            metric=name, unit=unit, description="", kind="gauge", attributes=group, time_unix_nano=time, value=0.5
        )


def _counted(metric: MetricDefinition, attributes: dict[str, str], time: int, count: int) -> LaggingPoint:
    bounds = metric.bounds
    buckets = {"bounds": bounds, "counts": (count, *(0 for _ in bounds)), "sum": 30.0 * count, "count": count}
    return LaggingPoint(
        metric=metric.name,
        unit=metric.unit,
        description="",
        kind=metric.kind,
        attributes=attributes,
        time_unix_nano=time,
        start_time_unix_nano=time - 10**12,
        **(buckets if metric.kind == "histogram" else {"value": count}),
    )
