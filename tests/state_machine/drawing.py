"""What the state machine draws: few ids, instants, customers and values, so that they meet often."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from tests.evaluation.material import DAY, HOUR, MINUTE, START, Fact, Prediction, native_id, us
from tests.evaluation.oracle import DAY_US, HOUR_US, Settings
from tests.state_machine.model import Line

if TYPE_CHECKING:
    from datetime import timedelta

IDS: Final = 5
MOMENTS: Final = [
    0 * HOUR, HOUR, 2 * HOUR - MINUTE, 2 * HOUR, 5 * HOUR, 6 * HOUR, 23 * HOUR, DAY - MINUTE, DAY, 27 * HOUR, 47 * HOUR,
]  # fmt: skip
DELAYS: Final = [
    -2 * DAY, -HOUR, -MINUTE, 0 * HOUR, MINUTE, 2 * HOUR, 2 * HOUR + MINUTE, 6 * HOUR, 6 * HOUR + MINUTE, 12 * HOUR,
    DAY, DAY + MINUTE, 30 * HOUR, 30 * HOUR + MINUTE, 3 * DAY,
]  # fmt: skip
LAGS: Final = [0 * HOUR, MINUTE, HOUR, 3 * HOUR, 12 * HOUR, -HOUR]
RUNS: Final = [step * 6 * HOUR for step in range(1, 17)] + [2 * HOUR, 54 * HOUR - MINUTE, 10 * DAY, 10 * DAY]

SLICES: Final = [(), (("carrier",),), (("carrier",), ("carrier", "origin"))]
MATURITIES: Final = [(), (2 * HOUR_US, 6 * HOUR_US), (6 * HOUR_US,)]
MEASURES: Final[dict[str, list[tuple[str, ...]]]] = {
    "binary": [
        ("accuracy",),
        ("accuracy", "log_loss"),
        ("f1", "roc_auc", "fares_at_stake"),
        ("missed_fares", "late_share"),
        ("accuracy", "middle_gap"),
        ("ranked_gap",),
    ],
    "regression": [("paid",), ("mean_error", "paid"), ("mean_squared_error", "fares_at_stake"), ("ranked_gap",)],
}

SCORES: Final = [0.0, 0.125, 0.3, 0.5, 0.9, 1.0, 1.5, None]
FARES: Final = [0.0, 0.1, -7.3, 1e9, 250.25, None]
DECISIONS: Final[dict[str, list[Any]]] = {
    "binary": [True, False, True, False, None],
    "regression": [0.1, -2.5, 7.0, 1e6, None],
}
TRUTHS: Final[dict[str, list[Any]]] = {"binary": [True, False], "regression": [0.1, 0.2, -1 / 3, 250.0]}
UNUSABLE: Final[dict[str, list[Any]]] = {"binary": [None], "regression": [None, math.nan, math.inf]}

_ALWAYS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "window_us": st.sampled_from([DAY_US, 6 * HOUR_US]),
    "offset_us": st.sampled_from([0, 3 * HOUR_US]),
    "maturities_us": st.sampled_from(MATURITIES),
    "slices": st.sampled_from(SLICES),
    "by": st.sampled_from([("version", "variant"), ("variant",), ()]),
}
_BINARY: Final = {"measures": st.sampled_from(MEASURES["binary"])}
_NUMBERS: Final = {"measures": st.sampled_from(MEASURES["regression"]), "task": st.just("regression")}
_ENTITY: Final[dict[str, st.SearchStrategy[Any]]] = {
    "key": st.sampled_from([("customer",), ("customer",), ("customer", "region")]),
    "within_us": st.sampled_from([None, 2 * HOUR_US, 12 * HOUR_US]),
    "take": st.sampled_from(["last", "all"]),
}
_SILENCE: Final = {"grace_us": st.just(6 * HOUR_US)}

FAMILIES: Final[dict[str, dict[str, st.SearchStrategy[Any]]]] = {
    "ids": _BINARY,
    "held": _BINARY | {"hold_back": st.tuples(st.sampled_from([2, 4]), st.sampled_from([6 * HOUR_US, 9 * DAY_US]))},
    "silence": _BINARY | _SILENCE,
    "provisional": _BINARY | {"provisional": st.just(True)},
    "entities": _BINARY | _ENTITY,
    "silent entities": _BINARY | _ENTITY | _SILENCE,
    "any": _BINARY | {"aggregate": st.just("any"), "grace_us": st.sampled_from([None, 6 * HOUR_US])},
    "sum": _NUMBERS | {"aggregate": st.sampled_from(["sum", "last"])},
    "sums of entities": _NUMBERS | _ENTITY | {"aggregate": st.just("sum")},
}
"""What an evaluation may be, by what is particular about it."""


@dataclass(frozen=True)
class Start:
    """What stays the same for one life of the machine.

    Args:
        settings: Of the evaluation, as it begins.
        ids: Of the predictions; some tell their instant, some do not.
        moments: When each id is first predicted.
        form: Of label files.
    """

    settings: Settings
    ids: tuple[str, ...]
    moments: tuple[timedelta, ...]
    form: str


@st.composite
def starts(draw: st.DrawFn, family: str) -> Start:
    """A start of a family."""
    settings = draw(st.builds(Settings, **_ALWAYS | FAMILIES[family]))
    is_native = st.booleans() if settings.hold_back is None else st.just(True)
    native = draw(st.lists(is_native, min_size=IDS, max_size=IDS))
    moments = draw(st.lists(st.sampled_from(MOMENTS), min_size=IDS, max_size=IDS))
    ids = [native_id(START + moments[at], at) if native[at] else f"p-{at}" for at in range(IDS)]
    return Start(settings, tuple(ids), tuple(moments), draw(st.sampled_from(["parquet", "csv"])))


@st.composite
def predictions(draw: st.DrawFn, start: Start) -> Prediction:
    """A prediction; now and then of another instant than the others of its id."""
    number = draw(st.integers(0, IDS - 1))
    moment = draw(st.sampled_from(MOMENTS)) if draw(st.integers(0, 4)) == 0 else start.moments[number]
    return Prediction(
        id=start.ids[number],
        predicted_at=START + moment,
        score=draw(st.sampled_from(SCORES)),
        prediction=draw(st.sampled_from(DECISIONS[start.settings.task])),
        fare=draw(st.sampled_from(FARES)),
        carrier=draw(st.sampled_from(["UA", "B6", None])),
        origin=draw(st.sampled_from(["EWR", None])),
        version=draw(st.sampled_from(["1", "2"])),
        variant=draw(st.sampled_from(["champion", "champion", "challenger"])),
        **draw(_entities(start)),
    )


@st.composite
def facts(draw: st.DrawFn, start: Start) -> Fact:
    """A label; now and then one of which something is missing, or of an id that nobody knows."""
    number = draw(st.integers(0, IDS))
    moment = start.moments[min(number, IDS - 1)]
    received_at = START + moment + draw(st.sampled_from(DELAYS))
    fact = Fact(
        id=[*start.ids, "unknown"][number],
        label=draw(st.sampled_from(TRUTHS[start.settings.task])),
        received_at=received_at,
        revision=draw(st.integers(0, 1)),
        occurred_at=received_at - draw(st.sampled_from(LAGS)) if start.settings.key else None,
        **draw(_entities(start)),
    )
    if draw(st.integers(0, 9)):
        return fact
    unusable = st.sampled_from(UNUSABLE[start.settings.task]).map(lambda label: {"label": label})
    return replace(
        fact, **draw(st.one_of(unusable, st.just({"received_at": None}), st.just({"id": None, "customer": None})))
    )


@st.composite
def revisions(draw: st.DrawFn, start: Start, told: list[Fact]) -> Fact:
    """A label that was told before, once more: the very same, or the opposite, or later."""
    fact: Fact = draw(st.sampled_from(told))
    if fact.received_at is None:
        return fact
    label = draw(st.sampled_from([fact.label, *TRUTHS[start.settings.task]]))
    later = draw(st.sampled_from([0 * HOUR, 0 * HOUR, MINUTE, HOUR, -HOUR]))
    return replace(fact, label=label, received_at=fact.received_at + later)


@st.composite
def _entities(draw: st.DrawFn, start: Start) -> dict[str, Any]:
    if not start.settings.key:
        return {}
    return {"customer": draw(st.sampled_from([1, 1, 1, 2, None])), "region": draw(st.sampled_from(["north", "south"]))}


def other_settings(settings: Settings) -> st.SearchStrategy[Settings]:
    """The same evaluation with other measures, slices or maturities, which a ledger takes over."""
    others = [
        st.sampled_from(MEASURES[settings.task]).map(lambda names: replace(settings, measures=names)),
        st.sampled_from(SLICES).map(lambda fields: replace(settings, slices=fields)),
    ]
    if settings.hold_back is None:
        others.append(st.sampled_from(MATURITIES).map(lambda ages: replace(settings, maturities_us=ages)))
    return st.one_of(others)


def line_of(fact: Fact, settings: Settings) -> Line:
    """What the model knows of a row of a label file."""
    received_us = None if fact.received_at is None else us(fact.received_at)
    named = [getattr(fact, name) for name in settings.key] or [fact.id]
    is_usable = None not in (received_us, fact.label, *named) and math.isfinite(fact.label or 0)
    return Line(fact.said() if is_usable else None, received_us)
