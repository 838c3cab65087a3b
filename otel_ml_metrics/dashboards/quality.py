"""The dashboard of lagging measures: how good is the model, as known early and as known in the end?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics import semconv
from otel_ml_metrics.dashboards import variables
from otel_ml_metrics.dashboards.frame import Frame
from otel_ml_metrics.dashboards.panels import LOWER, UPPER, Query, grafana_unit, lines
from otel_ml_metrics.dashboards.promql import AT_MATURITY, MATURITY, OF_GROUP, named

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from otel_ml_metrics.dashboards.panels import Panel
    from otel_ml_metrics.dashboards.promql import Slicing
    from otel_ml_metrics.dashboards.subject import ShownMeasure, Subject

_AGE: Final = f"at {{{{{MATURITY}}}}}"


def quality(subject: Subject) -> Dashboard:
    """Every measure at every maturity, with the interval of the chosen one."""
    frame = Frame(
        "quality",
        subject,
        "What the model was worth, once labels had come: a line per maturity, from fresh to complete. The band is the"
        " 95 % interval at the chosen maturity. Where a measure is undefined there is no value.",
        variables=variables.of_values(subject, many=False),
        since="now-30d",
        refresh="5m",
    )
    frame.row("What the values rest on", *_behind(subject.slicing))
    for at, (family, measures) in enumerate(subject.families.items()):
        frame.row(family, *(_measure(each, subject.slicing) for each in measures), collapsed=at > 0)
    return frame.built()


def _behind(slicing: Slicing) -> list[Panel]:
    coverage = slicing.all_rows(named(semconv.LABEL_COVERAGE), *OF_GROUP)
    support = slicing.all_rows(named(semconv.EVALUATION_SUPPORT), *OF_GROUP)
    return [
        lines(
            "Coverage",
            "Labelled share of the mature predictions. Values below rest on these alone.",
            Query(coverage, _AGE),
            unit="percentunit",
        ),
        lines("Support", "Labelled predictions in a window. Few of them make wide bands.", Query(support, _AGE)),
    ]


def _measure(measure: ShownMeasure, slicing: Slicing) -> Panel:
    queries = [Query(slicing.all_rows(measure.metric(), *OF_GROUP), _AGE)]
    if measure.has_interval:
        queries += [
            Query(slicing.all_rows(measure.metric(f".{end}"), *OF_GROUP, AT_MATURITY), end) for end in (LOWER, UPPER)
        ]
    return lines(measure.name, measure.told, *queries, unit=grafana_unit(measure.unit), width=8)
