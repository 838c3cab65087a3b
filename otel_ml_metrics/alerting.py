"""Which values breach a declared threshold: pure judgement over what a run gave and what the ledger holds.

A value is judged when its window is final at the maturity of the alert and enough rows and labels are behind it, and
behind the value that it is held against. What cannot be judged never breaches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from otel_ml_metrics.instants import Duration, iso
from otel_ml_metrics.spelling import MISSING, arm_names, number, window_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from otel_ml_metrics.declared_alerts import Alert

NEWS: Final = timedelta(days=1)
"""How long a window stays news after it became final, if no newer one is."""

_SLACK: Final = 1e-12
"""Share of the values by which a change may miss its threshold and still equal it: 0.8 - 0.78 is not 0.02 in binary."""


class Figure(Protocol):
    """A value as a run reports it, or as the ledger kept it."""

    @property
    def measure(self) -> str:
        """Name of the measure."""

    @property
    def value(self) -> float | None:
        """In the unit of the measure; None where it is undefined."""

    @property
    def support(self) -> int:
        """Rows behind the value."""

    @property
    def coverage(self) -> float | None:
        """Labelled share of the mature predictions; None where none is mature."""

    @property
    def window_start(self) -> datetime:
        """Start of the window by prediction time."""

    @property
    def window_end(self) -> datetime:
        """Its end, not included."""

    @property
    def maturity(self) -> str:
        """Age at which the predictions were judged."""

    @property
    def version(self) -> str | None:
        """None where versions are merged or not known."""

    @property
    def variant(self) -> str | None:
        """None where variants are merged or not known."""

    @property
    def output(self) -> str | None:
        """None where the model has one output only."""

    @property
    def slice(self) -> Mapping[str, str]:
        """Field to value; empty for all rows."""


Found = TypeVar("Found", bound=Figure)


class Figures(Generic[Found]):
    """Values that can be held against each other.

    Args:
        figures: Of the same place, the last one counts.
    """

    def __init__(self, figures: Iterable[Found]) -> None:
        self._known = {_place(figure, start=figure.window_start): figure for figure in figures}
        self._beside: dict[tuple[Any, ...], list[Found]] = {}
        for figure in self:
            self._beside.setdefault(_ground(figure), []).append(figure)

    def __iter__(self) -> Iterator[Found]:
        return iter(self._known.values())

    def before(self, figure: Figure) -> Found | None:
        """The value of the same series in the window just before; None where there is none."""
        length = figure.window_end - figure.window_start
        return self._known.get(_place(figure, start=figure.window_start - length))

    def of_variant(self, figure: Figure, variant: str) -> Found | None:
        """The value that a variant has there; of several versions of it, the one with the most rows."""
        there = [each for each in self._beside.get(_ground(figure), ()) if each.variant == variant]
        return max(there, key=lambda each: (each.support, str(each.version)), default=None)


@dataclass(frozen=True, kw_only=True)
class Breach:
    """A value that is beyond a declared threshold.

    Args:
        alert: What it breaches.
        value: In the unit of the measure.
        other: The value that it was held against; None where that was the threshold itself.
        support: Rows behind the value.
        coverage: Labelled share of the mature predictions; None where none is mature.
        window_start: Start of the window by prediction time.
        window_end: Its end, not included.
        version: None where versions are merged or not known.
        variant: None where variants are merged or not known.
        output: Name of the model's output; None where it has one only.
        slice: Field to value; empty for all rows.
    """

    alert: Alert
    value: float
    other: float | None
    support: int
    coverage: float | None
    window_start: datetime
    window_end: datetime
    version: str | None
    variant: str | None
    output: str | None
    slice: Mapping[str, str]

    def is_news(self, as_of: datetime) -> bool:
        """Whether somebody should be told as of an instant: its window is the newest, or became final a day ago.

        A first run over a year of history pages once and not 365 times, and so does a backfill.
        """
        final_at = self.window_end + self.alert.maturity
        return final_at > as_of - max(NEWS, self.window_end - self.window_start)

    @property
    def whose(self) -> str:
        """Which values it is about, such as `challenger, carrier=UA`; empty for all rows of an only arm."""
        arm = arm_names([(self.version, self.variant)])[self.version, self.variant]
        parts = [self.output, arm if arm != MISSING else None, *(f"{name}={at}" for name, at in self.slice.items())]
        return ", ".join(part for part in parts if part)

    @property
    def told(self) -> str:
        """One line for people: what, whose, where, and what it rests on."""
        other = "" if self.other is None else f", against {number(self.other)}"
        coverage = "" if self.coverage is None else f", coverage {self.coverage:.1%}"
        whose = f" of {self.whose}" if self.whose else ""
        return (
            f"{self.alert.rule}: {number(self.value)}{other}{whose} in"
            f" {window_name(self.window_start, self.window_end)} at {self.alert.maturity}"
            f" (support {self.support:,}{coverage})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain types; instants are ISO 8601 in UTC."""
        return {
            "alert": self.alert.name,
            "severity": self.alert.severity,
            "rule": self.alert.rule,
            "description": self.alert.description,
            "measure": self.alert.measure,
            "value": self.value,
            "against": self.other,
            "support": self.support,
            "coverage": self.coverage,
            "window_start": iso(self.window_start),
            "window_end": iso(self.window_end),
            "maturity": str(self.alert.maturity),
            "version": self.version,
            "variant": self.variant,
            "output": self.output,
            "slice": dict(self.slice),
        }


def judge(
    alerts: Sequence[Alert], figures: Iterable[Figure], *, windows: Collection[datetime], as_of: datetime
) -> tuple[Breach, ...]:
    """Hold values against declared thresholds.

    Args:
        alerts: The thresholds.
        figures: The values, and those of earlier windows and other variants that they are held against. Of the same
            place, the last one counts.
        windows: Starts of the windows that are judged.
        as_of: Windows that are not final at this instant are not judged, nor held against.

    Returns:
        The breaches, in the order of the alerts, of each the oldest window first.
    """
    breaches: list[Breach] = []
    listed = list(figures)
    for alert in alerts:
        known = Figures(figure for figure in listed if _is_solid(alert, figure, as_of))
        found = (
            _breach(alert, each, known) for each in known if each.window_start in windows and _is_meant(alert, each)
        )
        breaches += sorted((each for each in found if each is not None), key=_order)
    return tuple(breaches)


def _is_solid(alert: Alert, figure: Figure, as_of: datetime) -> bool:
    """Whether it is the alert's measure, final at its maturity, defined, and rests on enough rows and labels."""
    return (
        figure.measure == alert.measure
        and Duration(figure.maturity) == alert.maturity
        and figure.window_end + alert.maturity <= as_of
        and figure.value is not None
        and math.isfinite(figure.value)
        and figure.support >= alert.minimum_support
        and (figure.coverage or 0.0) >= alert.minimum_coverage
    )


def _is_meant(alert: Alert, figure: Figure) -> bool:
    """Whether the alert is about this variant and slice."""
    if alert.variant not in {None, figure.variant} or (alert.against is not None and alert.against == figure.variant):
        return False
    return any(
        figure.slice.keys() == fields.keys()
        and all(value in {None, figure.slice[field]} for field, value in fields.items())
        for fields in alert.slices
    )


def _breach(alert: Alert, figure: Figure, known: Figures[Figure]) -> Breach | None:
    other: Figure | None = None
    if alert.is_change:
        other = known.before(figure) if alert.against is None else known.of_variant(figure, alert.against)
    reference = None if other is None else other.value
    if figure.value is None or not _is_beyond(alert, figure.value, reference):
        return None
    return Breach(
        alert=alert,
        value=figure.value,
        other=reference,
        **{name: getattr(figure, name) for name in _TAKEN_OVER},
    )


_TAKEN_OVER: Final = (
    "support", "coverage", "window_start", "window_end", "version", "variant", "output", "slice",
)  # fmt: skip

_EXCESS: Final[dict[str, Callable[[float, float], float]]] = {
    "above": lambda value, bound: value - bound,
    "below": lambda value, bound: bound - value,
    "rise": lambda value, other: value - other,
    "drop": lambda value, other: other - value,
}


def _is_beyond(alert: Alert, value: float, other: float | None) -> bool:
    if not alert.is_change:
        return _EXCESS[alert.condition](value, alert.threshold) > 0
    if other is None or (alert.relative and other == 0):
        return False
    allowed = alert.threshold * (abs(other) if alert.relative else 1.0)
    return _EXCESS[alert.condition](value, other) > allowed + _SLACK * max(abs(value), abs(other))


def _place(figure: Figure, *, start: datetime) -> tuple[Any, ...]:
    """What a value is of, in the window that starts there."""
    return (start, *_ground(figure)[1:], figure.version, figure.variant)


def _ground(figure: Figure) -> tuple[Any, ...]:
    """What the values of several versions and variants have in common."""
    chosen = tuple(sorted(figure.slice.items()))
    return (figure.window_start, figure.measure, Duration(figure.maturity), figure.output, chosen)


def _order(breach: Breach) -> tuple[Any, ...]:
    return (breach.window_start, str(breach.output), str(breach.variant), str(breach.version), *breach.slice.items())
