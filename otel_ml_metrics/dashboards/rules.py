"""Rules for Prometheus: what is costly is recorded, and what operators have to know is an alert.

Whatever rests on labels is judged on final windows only, and only where enough rows stand behind it: a window that is
not complete yet looks bad, and must not wake anybody.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import yaml

from otel_ml_metrics import semconv
from otel_ml_metrics.dashboards.declared_rules import declared
from otel_ml_metrics.dashboards.promql import (
    JOB,
    MATURITY,
    MODEL,
    OUTCOME,
    OUTPUT,
    STAGE,
    STATUS,
    VARIANT,
    VERSION,
    appeared,
    lagging,
    named,
    of_model,
    selector,
)
from otel_ml_metrics.instants import Duration

if TYPE_CHECKING:
    from otel_ml_metrics.dashboards.subject import Subject

Rule = dict[str, Any]

ENOUGH: Final = 100
"""Labelled rows that a window usually has to have before its coverage is judged."""

_SHARE: Final = 0.8
_HISTORY: Final = "14d"
_WHO: Final = f"{JOB}, {MODEL}"
_ARM: Final = f"{_WHO}, {VERSION}, {VARIANT}"
_GROUP: Final = f"{_ARM}, {OUTPUT}, {MATURITY}"
_FINAL: Final = f'{STAGE}="{semconv.STAGE_FINAL}"'
_NAMED: Final = f"{{{{ $labels.{MODEL} }}}}"
_COVERAGE: Final = "ml_model:ml_label_coverage_ratio:last"
_USUAL_COVERAGE: Final = f"ml_model:ml_label_coverage_ratio:mean{_HISTORY}"
_USUAL_SUPPORT: Final = f"ml_model:ml_evaluation_support:mean{_HISTORY}"
_WINDOW_AGE: Final = "ml_model:ml_evaluation_window_age_seconds:min"

_HEADER: Final = """\
# Made by `otel-ml-metrics dashboards`: change monitoring.yaml, or rules in a file of your own, not this one.
# Load either the rules of all models, or those of each evaluation: both would tell everything twice.
"""


def rules(subject: Subject) -> str:
    """The rules as a file for `rule_files` of Prometheus."""
    name = subject.title
    groups = [
        {"name": f"{name}: recorded", "rules": _recorded(subject)},
        {"name": f"{name}: recording", "rules": [*_recording(subject), _points_kept()]},
        {"name": f"{name}: labels", "rules": _labels(subject)},
    ]
    if subject.evaluation is not None and subject.evaluation.alerts:
        groups.append({"name": f"{name}: declared", "rules": declared(subject, subject.evaluation)})
    return _HEADER + yaml.safe_dump({"groups": groups}, sort_keys=False, allow_unicode=True, width=120)


def _recorded(subject: Subject) -> list[Rule]:
    model, whole = of_model(subject.evaluation), (*_evaluated(subject), _FINAL, *subject.slicing.no_slice)
    predictions, score, duration, coverage, support, end = map(
        named,
        (
            semconv.PREDICTIONS,
            semconv.PREDICTION_SCORE,
            semconv.PREDICTION_DURATION,
            semconv.LABEL_COVERAGE,
            semconv.EVALUATION_SUPPORT,
            semconv.EVALUATION_WINDOW_END,
        ),
    )
    recorded = {
        f"ml_model:{predictions}:rate5m": f"sum by ({_ARM}, {OUTCOME}) (rate({selector(predictions, *model)}[5m]))",
        **{
            f"ml_model:{each}_bucket:rate5m": f"sum by (le, {_ARM}) (rate({selector(f'{each}_bucket', *model)}[5m]))"
            for each in (score, duration)
        },
        _COVERAGE: f"max by ({_GROUP}) ({lagging(coverage, *whole, within=str(subject.lookback))})",
        _USUAL_COVERAGE: f"max by ({_GROUP}) (avg_over_time({selector(coverage, *whole)}[{_HISTORY}]))",
        _USUAL_SUPPORT: f"max by ({_GROUP}) (avg_over_time({selector(support, *whole)}[{_HISTORY}]))",
        _WINDOW_AGE: f"time() - max by ({_WHO}, {MATURITY}) ({lagging(end, *whole, within='30d')})",
    }
    return [{"record": name, "expr": expression} for name, expression in recorded.items()]


def _recording(subject: Subject) -> list[Rule]:
    model = of_model(subject.evaluation)
    dropped = appeared(named(semconv.MONITOR_DROPPED), *model, within="15m")
    faults = appeared(named(semconv.MONITOR_FAULTS), *model, within="15m")
    filled = selector(named(semconv.MONITOR_BUFFER_USAGE), *model)
    return [
        _alert(
            "MLPredictionsDropped",
            f"sum by ({_WHO}, reason) {dropped}",
            f"Predictions of {_NAMED} are lost ({{{{ $labels.reason }}}})",
            "They are missing from metrics and log, and no label will find them. buffer_full: raise buffer_rows, or"
            " look why the drain is slow; any other reason stands in the server's log.",
            severity="critical",
        ),
        _alert(
            "MLMonitorFaults",
            f"sum by ({_WHO}, reason) {faults}",
            f"Predictions of {_NAMED} are not recorded in full ({{{{ $labels.reason }}}})",
            "The caller noticed nothing. The server's log names the first fault of each minute.",
        ),
        _alert(
            "MLBufferFilling",
            f"max by ({_WHO}) (min_over_time({filled}[5m])) > 0.8",
            f"A buffer of {_NAMED} is almost full",
            "Rows are dropped when it is full. The log's disk is slow, or the interval is too long for the traffic.",
        ),
    ]


def _points_kept() -> Rule:
    failed = "otelcol_exporter_send_failed_metric_points_total"
    matcher = 'exporter=~".*lagging.*"'
    return _alert(
        "MLLaggingPointsNotStored",
        f"sum by (exporter) {appeared(failed, matcher, within='1h')}",
        "Lagging points do not reach the backend and wait in the outbox",
        "The ledger has the values; a run sends them again. `otel-ml-metrics check` shows what was refused for good.",
    )


def _labels(subject: Subject) -> list[Rule]:
    evaluated, quiet = _evaluated(subject), _quiet(subject)
    waiting = named(semconv.LABELS_WAITING)
    sent, silent = (f"group by ({_WHO}) ({lagging(waiting, *evaluated, within=each)})" for each in ("30d", quiet))
    matched = selector(named(semconv.LABELS), *evaluated, f'{STATUS}="matched"')
    came, before = (f"sum by ({_WHO}) (increase({matched}[{quiet}]{shift}))" for shift in ("", f" offset {quiet}"))
    return [
        _alert(
            "MLEvaluationSilent",
            f"{sent} unless {silent}",
            f"No lagging point of {_NAMED} for {quiet}",
            "Runs do not start, fail, or cannot send. Nothing is lost: the next run takes everything since the last.",
            severity="critical",
        ),
        _alert(
            "MLLedgerNotAdvanced",
            f"{_window_age(subject)} > {_oldest(subject)}",
            f"The newest window of {_NAMED} at {{{{ $labels.{MATURITY} }}}} is too old",
            "Runs send, but no window becomes final: look whether predictions and labels still come in.",
            lasting="15m",
        ),
        _alert(
            "MLNoNewLabels",
            f"{came} == 0 and {before} > 0",
            f"No label for {_NAMED} in {quiet}, though there were some before",
            "The source of labels stands still, or its join key has changed.",
        ),
        _alert(
            "MLCoverageLow",
            f"{_of(_COVERAGE, subject)} < {_SHARE} * {_of(_USUAL_COVERAGE, subject)}"
            f" and {_of(_USUAL_SUPPORT, subject)} >= {ENOUGH}",
            f"Fewer labels than usual for {_NAMED} at {{{{ $labels.{MATURITY} }}}}",
            f"Coverage of the newest final window is below {_SHARE:.0%} of its mean over {_HISTORY}: labels are late or"
            " missing, and values rest on the part that came.",
            lasting="15m",
        ),
    ]


def _evaluated(subject: Subject) -> tuple[str, ...]:
    return of_model(subject.evaluation, with_service=True)


def _of(record: str, subject: Subject) -> str:
    """A recorded series of this subject alone: other files record under the same names."""
    return selector(record, *_evaluated(subject))


def _quiet(subject: Subject) -> str:
    """For how long nothing may come: without monitoring.yaml, three days, as runs come daily at least."""
    if subject.evaluation is None:
        return "3d"
    return str(Duration(3 * timedelta(seconds=subject.evaluation.window.seconds_whole)))


def _window_age(subject: Subject) -> str:
    if subject.evaluation is None:
        return _WINDOW_AGE
    return selector(_WINDOW_AGE, *_evaluated(subject), f'{MATURITY}="{subject.evaluation.maturities[0]}"')


def _oldest(subject: Subject) -> str:
    """How old the newest window may be: it ends, matures, and a run takes it before the next one does."""
    if subject.evaluation is None:
        return f"2 * quantile_over_time(0.9, {_WINDOW_AGE}[{_HISTORY}] offset 7d)"  # twice as old as it used to get
    first = subject.evaluation.maturities[0].seconds_whole
    return str(first + 3 * subject.evaluation.window.seconds_whole)


def _alert(
    name: str, expression: str, summary: str, description: str, *, severity: str = "warning", lasting: str | None = None
) -> Rule:
    return {
        "alert": name,
        "expr": expression,
        **({"for": lasting} if lasting else {}),
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }
