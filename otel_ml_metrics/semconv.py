"""Every name, unit and attribute key that the package emits: data, and the only place where they are written.

No `ml.` namespace is registered with the OpenTelemetry semantic conventions yet (semantic-conventions#3420 is open), so
the prefix stands in one constant. Units are UCUM. `1` marks true fractions only: Prometheus appends `_ratio` to those.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

PREFIX: Final = "ml"

SCOPE_ONLINE: Final = "otel_ml_metrics"
SCOPE_HISTOGRAMS: Final = "otel_ml_metrics.histograms"
SCOPE_LAGGING: Final = "otel_ml_metrics.lagging"
SCOPE_FLOWS: Final = "otel_ml_metrics.flows"

# Attribute keys.
MODEL_NAME: Final = f"{PREFIX}.model.name"
MODEL_VERSION: Final = f"{PREFIX}.model.version"
MODEL_VARIANT: Final = f"{PREFIX}.model.variant"
OUTPUT_NAME: Final = f"{PREFIX}.output.name"
SLICE_PREFIX: Final = f"{PREFIX}.slice."
PREDICTION_OUTCOME: Final = f"{PREFIX}.prediction.outcome"
LABEL_STATUS: Final = f"{PREFIX}.label.status"
EVALUATION_WINDOW: Final = f"{PREFIX}.evaluation.window"
EVALUATION_MATURITY: Final = f"{PREFIX}.evaluation.maturity"
EVALUATION_STAGE: Final = f"{PREFIX}.evaluation.stage"
FLOW_NAME: Final = f"{PREFIX}.flow.name"
FLOW_OUTCOME: Final = f"{PREFIX}.flow.outcome"
REASON: Final = "reason"

# Values of attributes.
OUTCOME_OK: Final = "ok"
OUTCOME_NOT_FINITE: Final = "not_finite"
OUTCOME_ERROR: Final = "error"
STAGE_FINAL: Final = "final"
STAGE_PROVISIONAL: Final = "provisional"
FLOW_COMPLETED: Final = "completed"
FLOW_SKIPPED: Final = "skipped"
FLOW_FAILED: Final = "failed"
LABEL_STATUSES: Final = ("matched", "revised", "duplicate", "late", "orphan", "invalid")
MISSING_SLICE: Final = "(missing)"
OTHER_SLICE: Final = "(other)"
OVERFLOW_ATTRIBUTE: Final = "otel.metric.overflow"

# Columns of the prediction log that the package itself writes; no declared field may take these names.
RESERVED_FIELDS: Final = frozenset(
    {
        "prediction_id",
        "predicted_at",
        "output",
        "version",
        "variant",
        "score",
        "prediction",
        "score_bin",
        "duration",
        "weight",
        "acted_on",
        "trace_id",
        "span_id",
        "label",
        "received_at",
        "revision",
        "source",
        "model",
        "dt",
        "_segment",  # what a compacted file carries
        "_row",
    }
)

_PROMETHEUS_UNITS: Final = {
    "s": "seconds", "ms": "milliseconds", "us": "microseconds", "min": "minutes", "h": "hours", "d": "days",
    "By": "bytes", "%": "percent", "m": "meters", "Cel": "celsius",
}  # fmt: skip

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class MetricDefinition:
    """One OpenTelemetry metric of the catalogue.

    Args:
        name: OpenTelemetry instrument name.
        kind: counter, gauge or histogram.
        unit: UCUM.
        description: One sentence, shown by backends.
        bounds: Upper bounds of an explicit-bucket histogram.
        exponential: Whether a histogram has base-2 exponential buckets instead, which fit themselves to the values.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    bounds: tuple[float, ...] = ()
    exponential: bool = False


SCORE_BOUNDS: Final = tuple(round(0.05 * step, 2) for step in range(21))
DEFAULT_BOUNDS: Final = (
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0,
)  # fmt: skip
"""Of a histogram that declares none: those of the SDK's specification, explicit bucket histogram aggregation."""

_HOUR, _DAY = 3600.0, 86400.0
DURATION_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LABEL_DELAY_BOUNDS: Final = (
    60.0, 300.0, 900.0, 1800.0, _HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR,
    _DAY, 2 * _DAY, 3 * _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY, 60 * _DAY, 90 * _DAY,
)  # fmt: skip

PREDICTIONS: Final = MetricDefinition(
    f"{PREFIX}.predictions", "counter", "{prediction}", "Predictions made, by outcome."
)
PREDICTION_SCORE: Final = MetricDefinition(
    f"{PREFIX}.prediction.score", "histogram", "1", "Scores that the model gave.", SCORE_BOUNDS
)
PREDICTION_VALUE: Final = MetricDefinition(
    f"{PREFIX}.prediction.value", "histogram", "1", "Numbers that a regression model predicted."
)
PREDICTION_DURATION: Final = MetricDefinition(
    f"{PREFIX}.prediction.duration", "histogram", "s", "Time that a prediction took.", DURATION_BOUNDS
)
MONITOR_DROPPED: Final = MetricDefinition(
    f"{PREFIX}.monitor.dropped", "counter", "{prediction}", "Predictions that were not recorded, by reason."
)
MONITOR_FAULTS: Final = MetricDefinition(
    f"{PREFIX}.monitor.faults", "counter", "{fault}", "Faults in recording that never reached the caller, by reason."
)
MONITOR_BUFFER_USAGE: Final = MetricDefinition(
    f"{PREFIX}.monitor.buffer.usage", "gauge", "1", "Share of the monitor's buffer that is filled."
)
MONITOR_CARDINALITY_OVERFLOW: Final = MetricDefinition(
    f"{PREFIX}.monitor.cardinality.overflow",
    "counter",
    "{prediction}",
    "Predictions whose attributes were folded because the cardinality budget was spent.",
)
LABELS: Final = MetricDefinition(f"{PREFIX}.labels", "counter", "{label}", "Labels that came in, by status.")
LABELS_INVALID: Final = MetricDefinition(
    f"{PREFIX}.labels.invalid", "counter", "{label}", "Labels that cannot be used, by reason."
)
LABELS_WAITING: Final = MetricDefinition(
    f"{PREFIX}.labels.waiting", "gauge", "{label}", "Labels that wait for their prediction."
)
LABELS_HELD: Final = MetricDefinition(
    f"{PREFIX}.labels.held", "gauge", "{label}", "Labels that are held back for a later run, where that is declared."
)
LABELS_WAITING_AGE: Final = MetricDefinition(
    f"{PREFIX}.labels.waiting.age", "gauge", "s", "Time since the oldest label that waits for its prediction came in."
)
LABELS_SKEWED: Final = MetricDefinition(
    f"{PREFIX}.labels.skewed", "counter", "{label}", "Labels received before their prediction was made; clocks differ."
)
LABEL_COMPLETENESS: Final = MetricDefinition(
    f"{PREFIX}.label.completeness",
    "gauge",
    "1",
    "Share of its labels that a prediction can expect to have at a maturity, seen on complete windows.",
)
LABEL_DELAY: Final = MetricDefinition(
    f"{PREFIX}.label.delay", "histogram", "s", "Time from a prediction to its label.", LABEL_DELAY_BOUNDS
)
LABEL_COVERAGE: Final = MetricDefinition(
    f"{PREFIX}.label.coverage", "gauge", "1", "Labelled share of the mature predictions."
)
EVALUATION_SUPPORT: Final = MetricDefinition(
    f"{PREFIX}.evaluation.support", "gauge", "{prediction}", "Rows behind the evaluated values."
)
EVALUATION_SLICES_FOLDED: Final = MetricDefinition(
    f"{PREFIX}.evaluation.slices.folded",
    "gauge",
    "{slice}",
    "Slices that are told as one, (other), since others have more predictions.",
)
EVALUATION_WINDOW_END: Final = MetricDefinition(
    f"{PREFIX}.evaluation.window.end", "gauge", "s", "End of the evaluated window, as Unix time."
)
EVALUATION_REVISIONS: Final = MetricDefinition(
    f"{PREFIX}.evaluation.revisions", "counter", "{value}", "Final values that a later label changed."
)
EVALUATION_UNDEFINED: Final = MetricDefinition(
    f"{PREFIX}.evaluation.undefined", "counter", "{value}", "Values that could not be given, by reason."
)
EVALUATION_LEFT_OUT: Final = MetricDefinition(
    f"{PREFIX}.evaluation.left_out",
    "counter",
    "{prediction}",
    "Labelled predictions that measures had to leave out, by reason.",
)
FLOW_DURATION: Final = MetricDefinition(
    f"{PREFIX}.flow.duration", "gauge", "s", "Time that the last run of a flow took, by outcome."
)
FLOW_LATENESS: Final = MetricDefinition(
    f"{PREFIX}.flow.lateness", "gauge", "s", "Time from the instant for which a run was scheduled to its start."
)
FLOW_LABELS: Final = MetricDefinition(
    f"{PREFIX}.flow.labels", "gauge", "{label}", "Labels that the last run of a flow took."
)
FLOW_LEDGER_AGE: Final = MetricDefinition(
    f"{PREFIX}.flow.ledger.age",
    "gauge",
    "s",
    "Time since the instant up to which labels were taken, as a run of a flow found it.",
)

ONLINE_METRICS: Final = (
    PREDICTIONS,
    PREDICTION_SCORE,
    PREDICTION_VALUE,
    PREDICTION_DURATION,
    MONITOR_DROPPED,
    MONITOR_FAULTS,
    MONITOR_BUFFER_USAGE,
    MONITOR_CARDINALITY_OVERFLOW,
)
LAGGING_METRICS: Final = (
    LABELS,
    LABELS_INVALID,
    LABELS_WAITING,
    LABELS_WAITING_AGE,
    LABELS_HELD,
    LABELS_SKEWED,
    LABEL_DELAY,
    LABEL_COMPLETENESS,
    LABEL_COVERAGE,
    EVALUATION_SUPPORT,
    EVALUATION_SLICES_FOLDED,
    EVALUATION_WINDOW_END,
    EVALUATION_REVISIONS,
    EVALUATION_UNDEFINED,
    EVALUATION_LEFT_OUT,
)
FLOW_METRICS: Final = (FLOW_DURATION, FLOW_LATENESS, FLOW_LABELS, FLOW_LEDGER_AGE)


def evaluation_metric(measure: str) -> str:
    """Name of the gauge that carries a measure; `.lower` and `.upper` follow where there is an interval."""
    return f"{PREFIX}.evaluation.{measure}"


def prometheus_name(metric: str, kind: Kind, unit: str) -> str:
    """What Prometheus calls a metric that it is sent by OTLP, with its default translation of names.

    >>> prometheus_name("ml.evaluation.accuracy", "gauge", "1")
    'ml_evaluation_accuracy_ratio'
    >>> prometheus_name("ml.labels", "counter", "{label}")
    'ml_labels_total'
    """
    plain = re.sub(r"\{[^}]*\}", "", unit)
    above, _, below = plain.partition("/")
    suffixes = [_PROMETHEUS_UNITS.get(above, above)] if above not in {"", "1"} else []
    suffixes += [f"per_{_PROMETHEUS_UNITS.get(below, below)}"] if below else []
    suffixes += ["ratio"] if unit == "1" and kind == "gauge" else []
    suffixes += ["total"] if kind == "counter" else []
    name = re.sub(r"[^A-Za-z0-9_:]+", "_", metric)
    for suffix in (re.sub(r"[^A-Za-z0-9_]+", "_", each) for each in suffixes):
        name = name if name.endswith(f"_{suffix}") else f"{name}_{suffix}"
    return name
