"""What a set of dashboards and rules is about: one evaluation, or every model with every measure of the catalogue."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Final

from otel_ml_metrics import semconv
from otel_ml_metrics.dashboards.promql import Slicing
from otel_ml_metrics.instants import Duration
from otel_ml_metrics.measures import catalogue
from otel_ml_metrics.measures.measure import Measure

if TYPE_CHECKING:
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.measures.exact import Exact

_BETTER: Final = {"higher": "Higher is better.", "lower": "Lower is better.", "none": ""}


@dataclass(frozen=True)
class ShownMeasure:
    """A measure as dashboards show it.

    Args:
        name: Such as `roc_auc`.
        unit: UCUM.
        told: What it says, for the panel's description.
        has_interval: Whether `.lower` and `.upper` may go with it.
    """

    name: str
    unit: str
    told: str
    has_interval: bool

    def metric(self, end: str = "") -> str:
        """What Prometheus calls its value; of its interval, with the end `.lower` or `.upper`."""
        return semconv.prometheus_name(f"{semconv.evaluation_metric(self.name)}{end}", "gauge", self.unit)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What Prometheus calls its value and the ends of its interval."""
        return tuple(map(self.metric, ("", ".lower", ".upper") if self.has_interval else ("",)))


@dataclass(frozen=True)
class Subject:
    """What is shown, and where it starts.

    Args:
        title: Before the title of each dashboard.
        uid: Before the uid of each dashboard: the same for ever, so that links to them stay.
        families: Measures by the row that shows them.
        slicing: What tells slices from all rows.
        lookback: How long a lagging value stands.
        evaluation: The one that it is about, None for all.
    """

    title: str
    uid: str
    families: dict[str, tuple[ShownMeasure, ...]]
    slicing: Slicing
    lookback: Duration
    evaluation: Evaluation | None = None

    @property
    def measures(self) -> tuple[ShownMeasure, ...]:
        """Every measure, once: where two families have one of a name, that with an interval."""
        found: dict[str, ShownMeasure] = {}
        for each in chain.from_iterable(self.families.values()):
            if each.has_interval or each.metric() not in found:
                found[each.metric()] = each
        return tuple(found.values())


def everything() -> Subject:
    """Every model that Prometheus knows, and every measure of the catalogue."""
    families: dict[str, list[ShownMeasure]] = {}
    for entry in catalogue.measures():
        told = (
            entry["description"],
            entry["formula"],
            f"Undefined: {entry['undefined']}.",
            _BETTER[entry["direction"]],
        )
        shown = ShownMeasure(entry["name"], entry["unit"], _paragraphs(*told), has_interval=entry["interval"])
        families.setdefault(entry["family"], []).append(shown)
    return Subject(
        title="ML models",
        uid="ml-models",
        families={family: tuple(shown) for family, shown in families.items()},
        slicing=Slicing(None),
        lookback=Duration("7d"),
    )


def subject_of(evaluation: Evaluation) -> Subject:
    """One evaluation, with its own measures and slices."""
    return Subject(
        title=evaluation.name,
        uid=f"ml-{hashlib.sha256(evaluation.name.encode()).hexdigest()[:12]}",
        families={"Measures": tuple(map(_shown, evaluation.all_measures))},
        slicing=Slicing(evaluation.slice_fields),
        lookback=lookback_of(evaluation),
        evaluation=evaluation,
    )


def lookback_of(evaluation: Evaluation) -> Duration:
    """How long a value stands until that of the next window is there: two windows, and with `event` also their age."""
    age = evaluation.horizon if evaluation.timestamps == "event" else timedelta()
    return Duration(2 * timedelta(seconds=evaluation.window.seconds_whole) + timedelta(seconds=age.total_seconds()))


def _shown(measure: Measure | Exact) -> ShownMeasure:
    if not isinstance(measure, Measure):
        told = _paragraphs(measure.description, f"Computed by {measure.source}.", _BETTER[measure.direction])
        return ShownMeasure(measure.name, measure.unit, told, has_interval=False)
    told = _paragraphs(
        measure.description, measure.formula, f"Undefined: {measure.undefined}.", _BETTER[measure.direction]
    )
    return ShownMeasure(measure.name, measure.unit, told, has_interval=measure.interval_from is not None)


def _paragraphs(*told: str) -> str:
    return "\n\n".join(filter(None, told))
