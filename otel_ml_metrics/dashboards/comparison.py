"""The dashboard of versions and variants, side by side: who is better, by how much, and is that more than chance?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics import semconv
from otel_ml_metrics.dashboards import chosen, variables
from otel_ml_metrics.dashboards.frame import Frame
from otel_ml_metrics.dashboards.panels import Query, columns, lines, matrix
from otel_ml_metrics.dashboards.promql import AT_MATURITY, OF_GROUP, OF_JOB, OUTPUT, STAGE, VARIANT, VERSION, named

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from otel_ml_metrics.dashboards.panels import Panel
    from otel_ml_metrics.dashboards.subject import Subject

_SERVED: Final = "served"
_WHO: Final = f"{{{{{VERSION}}}}} {{{{{VARIANT}}}}}"
_BASELINE: Final = (
    chosen.NAMED,
    chosen.NO_END,
    *OF_JOB,
    f'{VARIANT}="$baseline"',
    f'{OUTPUT}=~"$output"',
    f'{STAGE}="$stage"',
    AT_MATURITY,
)


def comparison(subject: Subject) -> Dashboard:
    """The chosen measure of each version and variant, their differences, and all measures of all of them."""
    frame = Frame(
        "comparison",
        subject,
        "Versions and variants side by side: which is better, and are their intervals apart?",
        variables=[
            *variables.of_values(subject, many=True),
            variables.measure(subject),
            variables.baseline(),
        ],
        since="now-30d",
        refresh="5m",
    )
    frame.row("The chosen measure", *_over_time(subject))
    frame.row("Now", _one(subject), _all(subject))
    return frame.built()


def _over_time(subject: Subject) -> list[Panel]:
    value = subject.slicing.all_rows("", *chosen.VALUE)
    baseline = subject.slicing.all_rows("", *_BASELINE)
    coverage = subject.slicing.all_rows(named(semconv.LABEL_COVERAGE), *OF_GROUP, AT_MATURITY)
    difference = f"avg by ({VERSION}, {VARIANT}) ({value}) - on () group_left () avg({baseline})"
    return [
        lines(
            "$measure", "At the chosen maturity, so that windows are equally complete.", Query(value, _WHO), width=24
        ),
        lines(
            "Difference to $baseline",
            "Above 0: the value is higher than that of the variant compared with.",
            Query(difference, _WHO),
        ),
        lines(
            "Coverage",
            "Where it differs between variants, so may the rows that were labelled.",
            Query(coverage, _WHO),
            unit="percentunit",
        ),
    ]


def _one(subject: Subject) -> Panel:
    def read(metric: str, *matchers: str) -> str:
        return _by_server(subject.slicing.all_rows(metric, *matchers))

    return columns(
        "$measure now",
        "With the 95 % interval, where there is one: where two do not overlap, the difference is more than chance.",
        chosen.columns(read, by=_SERVED),
        key=_SERVED,
        units={"coverage": "percentunit"},
    )


def _all(subject: Subject) -> Panel:
    names = "|".join(each.metric() for each in subject.measures)
    values = subject.slicing.all_rows("", f'__name__=~"{names}"', *OF_GROUP, AT_MATURITY)
    query = f"max by (__name__, {_SERVED}) ({_by_server(values)})"
    return matrix("Every measure now", "At the chosen maturity.", query, row="__name__", column=_SERVED)


def _by_server(expression: str) -> str:
    return f'label_join({expression}, "{_SERVED}", " ", "{VERSION}", "{VARIANT}")'
