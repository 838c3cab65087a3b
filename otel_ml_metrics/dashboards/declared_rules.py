"""The alerts that monitoring.yaml declares, as rules of Prometheus: the same thresholds, on points that were sent."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics import semconv
from otel_ml_metrics.dashboards.promql import (
    JOB,
    MATURITY,
    MODEL,
    OUTPUT,
    STAGE,
    VARIANT,
    lagging,
    named,
    of_model,
    quoted,
)
from otel_ml_metrics.instants import Duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.dashboards.subject import Subject
    from otel_ml_metrics.declared_alerts import Alert

_COVERAGE: Final = named(semconv.LABEL_COVERAGE)
_SUPPORT: Final = named(semconv.EVALUATION_SUPPORT)


def declared(subject: Subject, evaluation: Evaluation) -> list[dict[str, Any]]:
    """One rule per alert: a series of its answer is a version, variant and slice that is beyond the threshold."""
    return [_rule(subject, evaluation, alert) for alert in evaluation.alerts]


def _rule(subject: Subject, evaluation: Evaluation, alert: Alert) -> dict[str, Any]:
    told = {
        "summary": f"{evaluation.name}: {alert.rule}",
        "description": alert.description or f"Judged at {alert.maturity}, on final windows only.",
    }
    links = {} if evaluation.dashboard is None else {"dashboard": evaluation.dashboard}
    judged = (_Judgement(subject, evaluation, alert, fields).expression for fields in alert.slices)
    return {
        "alert": alert.name,
        "expr": " or ".join(judged),
        "labels": {"severity": alert.severity, "evaluation": evaluation.name},
        "annotations": told | links,
    }


class _Judgement:
    """One alert over one slice, or over all rows, as PromQL."""

    def __init__(
        self, subject: Subject, evaluation: Evaluation, alert: Alert, fields: Mapping[str, str | None]
    ) -> None:
        self._alert = alert
        self._evaluation = evaluation
        self._metric = next(each for each in subject.measures if each.name == alert.measure).metric()
        self._within = str(subject.lookback)
        self._places = [
            *of_model(evaluation, with_service=True),
            f'{STAGE}="{semconv.STAGE_FINAL}"',
            f'{MATURITY}="{alert.maturity}"',
            *subject.slicing.of_slice(fields),
        ]
        chosen = [] if alert.variant is None else [f"{VARIANT}={quoted(alert.variant)}"]
        self._own = [*chosen, *([] if alert.against is None else [f"{VARIANT}!={quoted(alert.against)}"])]
        self._slices = ", ".join(subject.slicing.attributes)

    @property
    def expression(self) -> str:
        """Yields the value where it is beyond the threshold; nothing where it cannot be judged."""
        alert = self._alert
        if not alert.is_change:
            sign = ">" if alert.condition == "above" else "<"
            return f"{self._solid(*self._own)} {sign} {alert.threshold!r}"
        if alert.against is None:
            return self._beyond(self._solid(*self._own, shift=self._age), self._before, "")
        beside = f"{JOB}, {MODEL}, {OUTPUT}, {MATURITY}" + (f", {self._slices}" if self._slices else "")
        compared = self._solid(f"{VARIANT}={quoted(alert.against)}")
        other = f"avg by ({beside}) ({compared})"  # of all its versions
        return self._beyond(self._solid(*self._own), other, f" on ({beside}) group_left ()")

    @property
    def _before(self) -> str:
        """The value of the window before."""
        window = timedelta(seconds=self._evaluation.window.seconds_whole)
        return self._solid(*self._own, shift=self._age + window)

    @property
    def _age(self) -> timedelta:
        """How old the newest value is at least: with `event`, it is stamped with its window's end."""
        if self._evaluation.timestamps == "emit":
            return timedelta()
        return timedelta(seconds=self._alert.maturity.seconds_whole)

    def _beyond(self, value: str, other: str, matching: str) -> str:
        """Where the value differs from the other by more than the threshold."""
        alert = self._alert
        sign, wrong = (">", "") if alert.condition == "rise" else ("<", "-")
        if alert.relative:
            change = f"({value} -{matching} {other}) /{matching} abs({other})"
            return f"{change} {sign} {wrong}{alert.threshold!r}"
        return f"{value} -{matching} {other} {sign} {wrong}{alert.threshold!r}"

    def _solid(self, *matchers: str, shift: timedelta = timedelta()) -> str:
        """The value, where enough rows and labels stand behind it."""
        alert = self._alert
        values = self._newest(self._metric, matchers, shift)
        support = self._newest(_SUPPORT, matchers, shift)
        coverage = self._newest(_COVERAGE, matchers, shift)
        enough = f" and {support} >= {alert.minimum_support}"
        labelled = f" and {coverage} >= {alert.minimum_coverage!r}" if alert.minimum_coverage else ""
        return f"({values}{enough}{labelled})"

    def _newest(self, metric: str, matchers: tuple[str, ...], shift: timedelta) -> str:
        found = lagging(metric, *self._places, *matchers, within=self._within)
        return found.removesuffix(")") + f" offset {Duration(shift)})" if shift else found
