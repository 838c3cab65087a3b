"""The dashboard of slices: for whom is the model worse, and does that rest on enough rows?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics import semconv
from otel_ml_metrics.dashboards import chosen, variables
from otel_ml_metrics.dashboards.frame import Frame
from otel_ml_metrics.dashboards.panels import Query, columns, lines
from otel_ml_metrics.dashboards.promql import AT_MATURITY, OF_GROUP, named

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from otel_ml_metrics.dashboards.panels import Panel
    from otel_ml_metrics.dashboards.subject import Subject

_KEY: Final = "slice"


def slices(subject: Subject) -> Dashboard:
    """The chosen measure by the values of the chosen slice."""
    frame = Frame(
        "slices",
        subject,
        "One version and variant, by slice: for whom it is worse than for all.",
        variables=[
            *variables.of_values(subject, many=False),
            variables.measure(subject),
            *variables.slices(subject),
        ],
        since="now-30d",
        refresh="5m",
    )
    frame.row("Now", _table(subject))
    frame.row("Over time", *_over_time(subject))
    return frame.built()


def _table(subject: Subject) -> Panel:
    return columns(
        "$measure by slice",
        "Click a heading to sort. An interval that leaves out the value of all rows is more than chance, unless many"
        " slices are looked at: of twenty, one does so by chance.",
        chosen.columns(subject.slicing.by_slice, by=_KEY),
        key=_KEY,
        units={"coverage": "percentunit"},
    )


def _over_time(subject: Subject) -> list[Panel]:
    slicing, legend = subject.slicing, f"{{{{{_KEY}}}}}"
    value = f"max by ({_KEY}) ({slicing.by_slice('', *chosen.VALUE)})"
    whole = slicing.all_rows("", *chosen.VALUE)
    coverage = slicing.by_slice(named(semconv.LABEL_COVERAGE), *OF_GROUP, AT_MATURITY)
    support = slicing.by_slice(named(semconv.EVALUATION_SUPPORT), *OF_GROUP, AT_MATURITY)
    return [
        lines("$measure", "All rows beside the slices.", Query(value, legend), Query(whole, "all rows"), width=24),
        lines(
            "Difference to all rows",
            "A slice that drifts away from the rest.",
            Query(f"{value} - on () group_left () max({whole})", legend),
        ),
        lines("Support", "Labelled predictions by slice.", Query(support, legend), width=6),
        lines(
            "Coverage",
            "Labels that miss one slice bias the value of all.",
            Query(coverage, legend),
            unit="percentunit",
            width=6,
        ),
    ]
