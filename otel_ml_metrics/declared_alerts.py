"""What monitoring.yaml may say under `alerts:`: from which value on somebody wants to know."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.declared import check_names, choice, duration, items, number, refuse, text, whole
from otel_ml_metrics.errors import ConfigurationError, suggest
from otel_ml_metrics.measures.measure import Measure

if TYPE_CHECKING:
    from otel_ml_metrics.instants import Duration
    from otel_ml_metrics.measures.exact import Exact

BOUNDS: Final = ("above", "below")
CHANGES: Final = ("drop", "rise")
CONDITIONS: Final = (*BOUNDS, *CHANGES)
SEVERITIES: Final = ("critical", "warning", "info")

MINIMUM_SUPPORT: Final = 100
"""Rows that a value rests on before it is judged, unless an alert says otherwise."""

MINIMUM_COVERAGE: Final = 0.5
"""Labelled share from which on a value is judged, unless an alert says otherwise or silence means no."""

ALL_ROWS: Final[tuple[Mapping[str, str | None], ...]] = ({},)

_MOST_SUPPORT: Final = 1_000_000_000_000
_OPTIONS: Final = frozenset(
    {
        "name", "measure", *CONDITIONS, "against", "variant", "maturity", "slices", "minimum_support",
        "minimum_coverage", "severity", "description",
    }
)  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_PERCENT: Final = re.compile(r"(\d{1,6}(\.\d{1,6})?)\s*%")
_EXAMPLE: Final = "a mapping such as {measure: accuracy, below: 0.8}"


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One threshold of one measure. Final values are judged, and only those with enough rows and labels behind them.

    Args:
        name: Of the alert, the same for no other.
        measure: What is judged.
        condition: `above` or `below` the threshold; or `drop` or `rise` by more than it against another value.
        threshold: In the unit of the measure; for a relative change a share of the other value, 0.1 for 10 %.
        relative: Whether a change is judged as a share of the other value.
        against: The variant whose value of the same window a change is judged against; None for the value of the
            window before.
        variant: The only variant that is judged; None for every one, each by itself.
        maturity: Age at which predictions are judged.
        slices: Which slices are judged, each by itself: field to value, None for each value; `{}` is all rows.
        minimum_support: Rows behind a value, and behind the one it is held against, without which it is not judged.
        minimum_coverage: Labelled share, likewise; from 0 to 1.
        severity: `critical`, `warning` or `info`.
        description: What it means and what to do.
    """

    name: str
    measure: str
    condition: str
    threshold: float
    relative: bool
    against: str | None
    variant: str | None
    maturity: Duration
    slices: tuple[Mapping[str, str | None], ...]
    minimum_support: int
    minimum_coverage: float
    severity: str
    description: str

    @property
    def is_change(self) -> bool:
        """Whether a value is held against another one, and not against the threshold itself."""
        return self.condition in CHANGES

    @property
    def rule(self) -> str:
        """The condition in words, such as `accuracy drops by more than 0.02 against the window before`."""
        if not self.is_change:
            return f"{self.measure} {self.condition} {self.threshold:g}"
        amount = f"{self.threshold * 100:g}%" if self.relative else f"{self.threshold:g}"
        other = "the window before" if self.against is None else f"variant {self.against}"
        return f"{self.measure} {self.condition}s by more than {amount} against {other}"


@dataclass(frozen=True)
class Judged:
    """What there is to judge.

    Args:
        measures: Those of the evaluation.
        maturities: Ascending.
        slices: The fields that are sliced by, alone or crossed.
        by: What splits values.
        is_silence_no: Whether a missing label means no, so that few labels are no reason to wait.
    """

    measures: Sequence[Measure | Exact]
    maturities: Sequence[Duration]
    slices: Collection[tuple[str, ...]]
    by: Collection[str]
    is_silence_no: bool


def alerts(found: object, judged: Judged) -> tuple[Alert, ...]:
    """The alerts, each name once.

    Raises:
        ConfigurationError: Names the place, what was found and what was expected.
    """
    named: dict[str, Alert] = {}
    for at, item in enumerate(items("alerts", found)):
        where = f"alerts[{at}]"
        alert = _alert(where, item, judged)
        if alert.name in named:
            message = f"{alert.name!r} is there twice; give one of them another name."
            raise ConfigurationError(message, f"{where}.name" if "name" in item else where)
        named[alert.name] = alert
    return tuple(named.values())


def _alert(where: str, item: object, judged: Judged) -> Alert:
    if not isinstance(item, Mapping):
        refuse(where, item, _EXAMPLE)
    check_names(where, item, set(_OPTIONS))
    found = {name: value for name, value in item.items() if value is not None}
    measure = _measure(where, found, judged)
    condition = _condition(where, found)
    threshold, relative = _threshold(f"{where}.{condition}", found[condition], measure, condition)
    alert = Alert(
        name=_name(where, found.get("name", f"{measure.name}_{condition}")),
        measure=measure.name,
        condition=condition,
        threshold=threshold,
        relative=relative,
        against=_against(where, found, condition),
        variant=text(f"{where}.variant", found["variant"]) if "variant" in found else None,
        maturity=_maturity(where, found, judged),
        slices=_slices(where, found["slices"], judged) if "slices" in found else ALL_ROWS,
        minimum_support=whole(
            f"{where}.minimum_support", found.get("minimum_support", MINIMUM_SUPPORT), least=1, most=_MOST_SUPPORT
        ),
        minimum_coverage=_coverage(where, found, judged),
        severity=choice(f"{where}.severity", found.get("severity", "warning"), SEVERITIES),
        description=text(f"{where}.description", found["description"]) if "description" in found else "",
    )
    _check(where, alert, judged)
    return alert


def _check(where: str, alert: Alert, judged: Judged) -> None:
    compared = {"against": alert.against, "variant": alert.variant}
    for option in (option for option, variant in compared.items() if variant is not None):
        if "variant" not in judged.by:
            message = "variants are merged here, so none has a value of its own. Name variant under by: as well."
            raise ConfigurationError(message, f"{where}.{option}")
    if alert.against is not None and alert.against == alert.variant:
        refuse(f"{where}.variant", alert.variant, "another variant than the one it is held against")


def _name(where: str, found: object) -> str:
    if not isinstance(found, str) or not _NAME.fullmatch(found):
        refuse(f"{where}.name", found, "a name: letters, digits, _ and -, a letter or _ first")
    return found


def _measure(where: str, found: Mapping[str, Any], judged: Judged) -> Measure | Exact:
    declared = {measure.name: measure for measure in judged.measures}
    name = found.get("measure")
    if not isinstance(name, str) or name not in declared:
        hint = suggest(name, declared) if isinstance(name, str) else ""
        expected = f"one of the declared measures: {', '.join(declared)}; {hint}".removesuffix("; ").removesuffix(".")
        refuse(
            f"{where}.measure" if "measure" in found else where, name if "measure" in found else dict(found), expected
        )
    return declared[name]


def _condition(where: str, found: Mapping[str, Any]) -> str:
    given = [condition for condition in CONDITIONS if condition in found]
    if len(given) != 1:
        refuse(where, given or sorted(found), f"exactly one of {', '.join(CONDITIONS)}; several make several alerts")
    return given[0]


def _threshold(where: str, found: object, measure: Measure | Exact, condition: str) -> tuple[float, bool]:
    """The threshold, and whether it is a share of another value."""
    percent = _PERCENT.fullmatch(found) if isinstance(found, str) else None
    if percent is not None and condition in CHANGES:
        return float(percent[1]) / 100, True
    threshold = number(where, found) if not isinstance(found, str) else math.nan
    lowest, highest = (0.0, math.inf) if condition in CHANGES else _range(measure)
    if not math.isfinite(threshold) or not lowest <= threshold <= highest:
        span = f"a number from {lowest:g} to {highest:g}" if math.isfinite(lowest + highest) else "a number"
        expected = "a number that is not negative, or a share such as 10%" if condition in CHANGES else span
        refuse(where, found, expected)
    return float(threshold), False


def _range(measure: Measure | Exact) -> tuple[float, float]:
    """What a value can be; no bound is known of what a user's own callable gives."""
    return (measure.lowest, measure.highest) if isinstance(measure, Measure) else (-math.inf, math.inf)


def _against(where: str, found: Mapping[str, Any], condition: str) -> str | None:
    against = found.get("against", "previous_window")
    if "against" in found and condition not in CHANGES:
        message = f"{condition}: holds a value against a number. Say drop: or rise: in its place, or leave this out."
        raise ConfigurationError(message, f"{where}.against")
    if against == "previous_window":
        return None
    if not isinstance(against, Mapping) or set(against) != {"variant"}:
        refuse(f"{where}.against", against, "previous_window, or a mapping such as {variant: champion}")
    return text(f"{where}.against.variant", against["variant"])


def _maturity(where: str, found: Mapping[str, Any], judged: Judged) -> Duration:
    if "maturity" not in found:
        return judged.maturities[-1]
    asked = duration(f"{where}.maturity", found["maturity"])
    known = next((maturity for maturity in judged.maturities if maturity == asked), None)
    if known is None:
        refuse(f"{where}.maturity", str(asked), f"one of the maturities, {', '.join(map(str, judged.maturities))}")
    return known


def _coverage(where: str, found: Mapping[str, Any], judged: Judged) -> float:
    default = 0.0 if judged.is_silence_no else MINIMUM_COVERAGE
    share = number(f"{where}.minimum_coverage", found.get("minimum_coverage", default))
    if not 0 <= share <= 1:
        refuse(f"{where}.minimum_coverage", share, "a share from 0 to 1, such as 0.9")
    return float(share)


def _slices(where: str, found: object, judged: Judged) -> tuple[Mapping[str, str | None], ...]:
    """Fields, lists of crossed fields, or mappings of fields to the value that is meant."""
    listed = tuple(_slice(f"{where}.slices[{at}]", item) for at, item in enumerate(items(f"{where}.slices", found)))
    if not listed:
        refuse(f"{where}.slices", found, "a slice; leave it out for all rows")
    for at, fields in enumerate(listed):
        if tuple(sorted(fields)) not in judged.slices:
            known = ", ".join(" x ".join(each) for each in judged.slices) or "none"
            refuse(f"{where}.slices[{at}]", found[at], f"a slice that slices: declares; declared: {known}")  # type: ignore[index]  # a list, as seen above
    return listed


def _slice(where: str, item: object) -> Mapping[str, str | None]:
    if isinstance(item, Mapping):
        return {text(where, field): text(f"{where}.{field}", value) for field, value in item.items()}
    return dict.fromkeys(text(where, field) for field in ([item] if isinstance(item, str) else items(where, item)))
