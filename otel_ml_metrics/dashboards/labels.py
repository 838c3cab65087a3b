"""The dashboard of labels: do they come, how late, for how many predictions, and do the runs that take them keep up?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics import semconv
from otel_ml_metrics.dashboards import variables
from otel_ml_metrics.dashboards.frame import Frame
from otel_ml_metrics.dashboards.panels import Query, distribution, lines, number
from otel_ml_metrics.dashboards.promql import (
    FLOW,
    FLOW_OUTCOME,
    LOOKBACK,
    MATURITY,
    OF_GROUP,
    OF_JOB,
    OF_VERSION,
    STATUS,
    VARIANT,
    appeared,
    cells,
    lagging,
    named,
    quantile,
    selector,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from otel_ml_metrics.dashboards.panels import Panel
    from otel_ml_metrics.dashboards.promql import Slicing
    from otel_ml_metrics.dashboards.subject import Subject
    from otel_ml_metrics.semconv import MetricDefinition

_END: Final = named(semconv.EVALUATION_WINDOW_END)
_DURATION: Final = named(semconv.FLOW_DURATION)
_AGE: Final = f"{{{{{VARIANT}}}}} at {{{{{MATURITY}}}}}"


def labels(subject: Subject) -> Dashboard:
    """Coverage, delay, what became of labels, and the progress of the evaluation."""
    frame = Frame(
        "labels",
        subject,
        "Whether ground truth comes, how late, and how far the evaluation is.",
        variables=variables.of_labels(subject),
        since="now-30d",
        refresh="5m",
    )
    frame.row("Now", *_now())
    frame.row("Coverage", *_coverage(subject.slicing))
    frame.row("Delay", *_delay())
    frame.row("What became of labels", *_outcomes())
    frame.row("What values had to do without", *_left_out())
    frame.row("Runs of the flows", *_runs())
    return frame.built()


def _grown(metric: MetricDefinition, *matchers: str, by: str) -> str:
    return f"sum by ({by}) {appeared(named(metric), *matchers, within=LOOKBACK)}"


def _now() -> list[Panel]:
    matched = appeared(named(semconv.LABELS), *OF_JOB, f'{STATUS}="matched"', within=LOOKBACK)
    return [
        number(
            "Newest window",
            "Age of the end of the newest evaluated window.",
            Query(f"time() - max({lagging(_END, *OF_GROUP)})", ""),
            unit="s",
        ),
        number(
            "Labels",
            "Labels that found their prediction, within the time that values stand for.",
            Query(f"sum{matched}", ""),
        ),
        number(
            "Waiting",
            "Labels whose prediction is not known yet.",
            Query(f"max({lagging(named(semconv.LABELS_WAITING), *OF_JOB)})", ""),
        ),
        number(
            "Oldest that waits",
            "Since when the oldest of them does.",
            Query(f"max({lagging(named(semconv.LABELS_WAITING_AGE), *OF_JOB)})", ""),
            unit="s",
        ),
    ]


def _coverage(slicing: Slicing) -> list[Panel]:
    coverage = slicing.all_rows(named(semconv.LABEL_COVERAGE), *OF_GROUP)
    expected = lagging(named(semconv.LABEL_COMPLETENESS), *OF_VERSION)
    support = slicing.all_rows(named(semconv.EVALUATION_SUPPORT), *OF_GROUP)
    progress = f"time() - {slicing.all_rows(_END, *OF_GROUP)}"
    return [
        lines(
            "Coverage",
            "Labelled share of the mature predictions of a window.",
            Query(coverage, _AGE),
            unit="percentunit",
        ),
        lines(
            "Labels to expect",
            "Share of its labels that a prediction has at a maturity, seen on complete windows.",
            Query(expected, _AGE),
            unit="percentunit",
        ),
        lines("Support", "Labelled predictions of a window.", Query(support, _AGE)),
        lines(
            "Age of the newest window",
            "A saw tooth; a straight rise is an evaluation that stands still.",
            Query(progress, _AGE),
            unit="s",
        ),
    ]


def _delay() -> list[Panel]:
    delay = named(semconv.LABEL_DELAY)
    shares = [
        Query(quantile(share, delay, *OF_VERSION, by=VARIANT, within=LOOKBACK), f"{share:.0%} {{{{{VARIANT}}}}}")
        for share in (0.5, 0.9, 0.99)
    ]
    return [
        lines("Label delay", "Time from a prediction to its label, of labels that came lately.", *shares, unit="s"),
        distribution(
            "Label delays",
            "How many labels came how late.",
            Query(cells(delay, *OF_VERSION, within=LOOKBACK), "{{le}}"),
            unit="s",
        ),
    ]


def _outcomes() -> list[Panel]:
    waiting = lagging(named(semconv.LABELS_WAITING), *OF_JOB)
    held = lagging(named(semconv.LABELS_HELD), *OF_JOB)
    return [
        lines(
            "Labels by status",
            "late: after the attribution window. orphan: no prediction was found in time.",
            Query(_grown(semconv.LABELS, *OF_JOB, by=STATUS), f"{{{{{STATUS}}}}}"),
        ),
        lines(
            "Labels that wait",
            "For their prediction, or held back for company.",
            Query(f"max by (job) ({waiting})", "waiting"),
            Query(f"max by (job) ({held})", "held back"),
        ),
        lines(
            "Labels that cannot be used",
            "By what is wrong with them.",
            Query(_grown(semconv.LABELS_INVALID, *OF_JOB, by="reason"), "{{reason}}"),
        ),
        lines(
            "Labels older than their prediction",
            "Clocks of the two systems differ.",
            Query(_grown(semconv.LABELS_SKEWED, *OF_VERSION, by=VARIANT), f"{{{{{VARIANT}}}}}"),
        ),
    ]


def _left_out() -> list[Panel]:
    folded = lagging(named(semconv.EVALUATION_SLICES_FOLDED), *OF_GROUP)
    return [
        lines(
            "Revised values",
            "Final values that a later label changed.",
            Query(_grown(semconv.EVALUATION_REVISIONS, *OF_VERSION, by=VARIANT), f"{{{{{VARIANT}}}}}"),
        ),
        lines(
            "Undefined values",
            "By reason; a gap in a measure is explained here.",
            Query(_grown(semconv.EVALUATION_UNDEFINED, *OF_JOB, by="reason"), "{{reason}}"),
        ),
        lines(
            "Predictions left out",
            "Labelled ones that a measure could not use, by reason.",
            Query(_grown(semconv.EVALUATION_LEFT_OUT, *OF_JOB, by="reason"), "{{reason}}"),
        ),
        lines(
            "Slices told as one",
            "Beyond the number that is told apart.",
            Query(f"max by ({VARIANT}) ({folded})", f"{{{{{VARIANT}}}}}"),
        ),
    ]


def _runs() -> list[Panel]:
    runs = f"sum by ({FLOW}, {FLOW_OUTCOME}) (count_over_time({selector(_DURATION, *OF_JOB)}[{LOOKBACK}]))"
    durations = f"max by ({FLOW}, {FLOW_OUTCOME}) ({lagging(_DURATION, *OF_JOB)})"
    lateness = f"max by ({FLOW}) ({lagging(named(semconv.FLOW_LATENESS), *OF_JOB)})"
    taken = f"max by ({FLOW}) ({lagging(named(semconv.FLOW_LABELS), *OF_JOB)})"
    age = f"max({lagging(named(semconv.FLOW_LEDGER_AGE), *OF_JOB)})"
    ended = f"{{{{{FLOW}}}}} {{{{{FLOW_OUTCOME}}}}}"
    return [
        lines("Runs", "By how they ended, within the time that values stand for.", Query(runs, ended)),
        lines("Time of a run", "Of the last one that ended so.", Query(durations, ended), unit="s"),
        lines(
            "Lateness",
            "From the instant for which a run was scheduled to its start.",
            Query(lateness, f"{{{{{FLOW}}}}}"),
            unit="s",
        ),
        lines("Labels of a run", "How many the last one took.", Query(taken, f"{{{{{FLOW}}}}}")),
        lines(
            "Age of the ledger",
            "As the last run found it; keep-alive looks every few minutes. A straight rise: nobody evaluates.",
            Query(age, "age"),
            unit="s",
            width=24,
        ),
    ]
