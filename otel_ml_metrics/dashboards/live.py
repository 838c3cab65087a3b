"""The dashboard of live metrics: is the model served, what does it say, how fast, and is all of it recorded?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics import semconv
from otel_ml_metrics.dashboards import promql, variables
from otel_ml_metrics.dashboards.frame import Frame
from otel_ml_metrics.dashboards.panels import Query, distribution, lines, number, stacked
from otel_ml_metrics.dashboards.promql import OF_VERSION, OUTCOME, VARIANT, VERSION, named, selector

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

    from otel_ml_metrics.dashboards.panels import Panel
    from otel_ml_metrics.dashboards.subject import Subject
    from otel_ml_metrics.semconv import MetricDefinition

_RATE: Final = "$__rate_interval"
_SPLIT: Final = f"{VERSION}, {VARIANT}"
_WHO: Final = f"{{{{{VERSION}}}}} {{{{{VARIANT}}}}}"
_PREDICTIONS: Final = named(semconv.PREDICTIONS)
_SCORE: Final = named(semconv.PREDICTION_SCORE)
_VALUE: Final = named(semconv.PREDICTION_VALUE)
_DURATION: Final = named(semconv.PREDICTION_DURATION)
_FAILED: Final = f'{OUTCOME}!="{semconv.OUTCOME_OK}"'


def live(subject: Subject) -> Dashboard:
    """Traffic, scores, durations, and the monitor's own health."""
    frame = Frame(
        "live",
        subject,
        "What the model does now: traffic, scores and durations, as predictions are made.",
        variables=variables.of_live(subject),
        since="now-6h",
        refresh="1m",
    )
    frame.row("Now", *_now())
    frame.row("Traffic", *_traffic())
    frame.row("Scores", *_scores())
    frame.row("Duration", *_durations())
    frame.row("Predicted numbers (regression)", *_numbers(), collapsed=True)
    frame.row("Is everything recorded?", *_recording())
    return frame.built()


def _rate(metric: str, *matchers: str, by: str = "") -> str:
    grouped = f"sum by ({by}) " if by else "sum"
    return f"{grouped}(rate({selector(metric, *OF_VERSION, *matchers)}[{_RATE}]))"


def _failing() -> str:
    return f"({_rate(_PREDICTIONS, _FAILED)} or vector(0)) / {_rate(_PREDICTIONS)}"


def _now() -> list[Panel]:
    slow = promql.quantile(0.95, _DURATION, *OF_VERSION, by=promql.MODEL, within=_RATE)
    usage = named(semconv.MONITOR_BUFFER_USAGE)
    return [
        number("Predictions", "Predictions per second.", Query(_rate(_PREDICTIONS), ""), unit="reqps"),
        number("Without a score", "Share whose outcome was not ok.", Query(_failing(), ""), unit="percentunit"),
        number("Slow ones", "The time that 5 % of the predictions exceeded.", Query(slow, ""), unit="s"),
        number(
            "Buffer",
            "How full the fullest buffer of a monitor is; rows are dropped when it is full.",
            Query(f"max({selector(usage, *OF_VERSION)})", ""),
            unit="percentunit",
        ),
    ]


def _traffic() -> list[Panel]:
    return [
        stacked(
            "Predictions by outcome",
            "not_finite: the score was NaN or infinite. error: the model raised.",
            Query(_rate(_PREDICTIONS, by=OUTCOME), f"{{{{{OUTCOME}}}}}"),
            unit="reqps",
        ),
        stacked(
            "Predictions by version and variant",
            "Who serves. A new version shows here first, a canary as a thin part.",
            Query(_rate(_PREDICTIONS, by=_SPLIT), _WHO),
            unit="reqps",
        ),
    ]


def _scores() -> list[Panel]:
    middle = promql.mean(_SCORE, *OF_VERSION, by=_SPLIT, within=_RATE)
    shares = [
        Query(promql.quantile(share, _SCORE, *OF_VERSION, by=VARIANT, within=_RATE), f"{share:.0%} {{{{{VARIANT}}}}}")
        for share in (0.1, 0.5, 0.9)
    ]
    return [
        distribution(
            "Scores",
            "How many predictions had which score. A change of colour is a change of traffic, one of shape is a shift.",
            Query(promql.cells(_SCORE, *OF_VERSION, within=_RATE), "{{le}}", exemplar=True),
        ),
        lines("Mean score", "Side by side. A step without a new version is a shift of the input.", Query(middle, _WHO)),
        lines("Quantiles of the score", "10 %, 50 % and 90 % of the predictions lie below.", *shares, width=24),
    ]


def _durations() -> list[Panel]:
    shares = [
        Query(
            promql.quantile(share, _DURATION, *OF_VERSION, by=VARIANT, within=_RATE),
            f"{share:.0%} {{{{{VARIANT}}}}}",
            exemplar=True,
        )
        for share in (0.5, 0.95, 0.99)
    ]
    return [
        lines(
            "Quantiles of the duration", "Time that a prediction took. Points are traced requests.", *shares, unit="s"
        ),
        distribution(
            "Durations",
            "How many predictions took how long.",
            Query(promql.cells(_DURATION, *OF_VERSION, within=_RATE), "{{le}}"),
            unit="s",
        ),
    ]


def _numbers() -> list[Panel]:
    middle = promql.mean(_VALUE, *OF_VERSION, by=_SPLIT, within=_RATE)
    return [
        distribution(
            "Predicted numbers",
            "How often which number was predicted.",
            Query(promql.cells(_VALUE, *OF_VERSION, within=_RATE), "{{le}}"),
        ),
        lines("Mean predicted number", "Side by side.", Query(middle, _WHO)),
    ]


def _recording() -> list[Panel]:
    def grown(metric: MetricDefinition, *, by: str) -> Query:
        found = promql.appeared(named(metric), *OF_VERSION, within=_RATE)
        return Query(f"sum by ({by}) {found}", f"{{{{{by}}}}}")

    usage = selector(named(semconv.MONITOR_BUFFER_USAGE), *OF_VERSION)
    return [
        lines(
            "Dropped predictions",
            "Recorded neither as metric nor in the log; nothing is right.",
            grown(semconv.MONITOR_DROPPED, by="reason"),
        ),
        lines(
            "Faults",
            "What went wrong in recording without reaching the caller.",
            grown(semconv.MONITOR_FAULTS, by="reason"),
        ),
        lines(
            "Buffer",
            "Filled share of the fullest buffer, by instance.",
            Query(f"max by (instance) ({usage})", "{{instance}}"),
            unit="percentunit",
        ),
        lines(
            "Folded attributes",
            "Predictions told as one series, since the budget of attribute sets was spent.",
            grown(semconv.MONITOR_CARDINALITY_OVERFLOW, by=VARIANT),
        ),
    ]
