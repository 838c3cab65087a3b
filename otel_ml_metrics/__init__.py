"""Machine-learning metrics in OpenTelemetry: as predictions are made, and again when their labels arrive."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.declared_labels import LabelFiles, LabelFunction, LabelTable
    from otel_ml_metrics.declared_predictions import ForeignFiles, ForeignTable
    from otel_ml_metrics.errors import OtelMLMetricsError
    from otel_ml_metrics.evaluation_report import Report
    from otel_ml_metrics.evaluator import Evaluator
    from otel_ml_metrics.expressions import col, lit, where
    from otel_ml_metrics.measures.custom import (
        mean_measure,
        quantile_measure,
        rate_measure,
        ratio_measure,
        sum_measure,
        weighted_mean_measure,
    )
    from otel_ml_metrics.measures.exact import exact_measure
    from otel_ml_metrics.measures.measure import Measure, Undefined
    from otel_ml_metrics.measures.profit import value_measure
    from otel_ml_metrics.measures.sums import Sum
    from otel_ml_metrics.monitor import ModelMonitor
    from otel_ml_metrics.telemetry.custom import counter, gauge, histogram

__all__ = [
    "Evaluation",
    "Evaluator",
    "ForeignFiles",
    "ForeignTable",
    "LabelFiles",
    "LabelFunction",
    "LabelTable",
    "Measure",
    "ModelMonitor",
    "OtelMLMetricsError",
    "Report",
    "Sum",
    "Undefined",
    "col",
    "counter",
    "exact_measure",
    "gauge",
    "histogram",
    "lit",
    "mean_measure",
    "quantile_measure",
    "rate_measure",
    "ratio_measure",
    "sum_measure",
    "value_measure",
    "weighted_mean_measure",
    "where",
]

_HOMES = {
    "Evaluation": "otel_ml_metrics.configuration",
    "Evaluator": "otel_ml_metrics.evaluator",
    "ForeignFiles": "otel_ml_metrics.declared_predictions",
    "ForeignTable": "otel_ml_metrics.declared_predictions",
    "LabelFiles": "otel_ml_metrics.declared_labels",
    "LabelFunction": "otel_ml_metrics.declared_labels",
    "LabelTable": "otel_ml_metrics.declared_labels",
    "Measure": "otel_ml_metrics.measures.measure",
    "ModelMonitor": "otel_ml_metrics.monitor",
    "OtelMLMetricsError": "otel_ml_metrics.errors",
    "Report": "otel_ml_metrics.evaluation_report",
    "Sum": "otel_ml_metrics.measures.sums",
    "Undefined": "otel_ml_metrics.measures.measure",
    "col": "otel_ml_metrics.expressions",
    "counter": "otel_ml_metrics.telemetry.custom",
    "exact_measure": "otel_ml_metrics.measures.exact",
    "gauge": "otel_ml_metrics.telemetry.custom",
    "histogram": "otel_ml_metrics.telemetry.custom",
    "lit": "otel_ml_metrics.expressions",
    "mean_measure": "otel_ml_metrics.measures.custom",
    "quantile_measure": "otel_ml_metrics.measures.custom",
    "rate_measure": "otel_ml_metrics.measures.custom",
    "ratio_measure": "otel_ml_metrics.measures.custom",
    "sum_measure": "otel_ml_metrics.measures.custom",
    "value_measure": "otel_ml_metrics.measures.profit",
    "weighted_mean_measure": "otel_ml_metrics.measures.custom",
    "where": "otel_ml_metrics.expressions",
}


_EVALUATING = frozenset({"duckdb", "opentelemetry", "pyarrow", "sqlalchemy", "yaml"})
"""What the extra `evaluate` brings; the core has none of it but the API of OpenTelemetry."""


def __getattr__(name: str) -> object:
    """Import a name when it is first used (PEP 562): importing the package loads nothing."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    try:
        found: object = getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] not in _EVALUATING:
            raise
        errors = import_module("otel_ml_metrics.errors")
        raise errors.MissingExtraError(missing.name, "evaluate", "Evaluating labels") from missing
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
