"""The laws of evaluation once more, as slowly and plainly as possible: no sums, no buckets, no ledger, only rows.

Written from the design and not from the package, of which nothing is imported.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.evaluation.oracle_measures import EXACT, MEASURES, Labelled, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tests.evaluation.oracle_measures import Given

MINUTE_US: Final = 60_000_000
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US
STATUSES: Final = ("matched", "revised", "duplicate", "late", "orphan")


class Said(NamedTuple):
    """A usable label as it was received: of a prediction, or of whatever happened to an entity at an instant."""

    id: str | None
    label: Any
    received_us: int
    revision: int
    customer: int | None = None
    region: str | None = None
    occurred_us: int | None = None


class Key(NamedTuple):
    """What a value is the value of."""

    measure: str
    window_us: int
    maturity_us: int
    version: str | None
    variant: str | None
    slice: tuple[tuple[str, str], ...]
    stage: str = "final"


class Expected(NamedTuple):
    """A value, its support and coverage, how far off fixed point may be, and of binned measures the exact value."""

    value: float
    support: int
    coverage: float
    tolerance: float = 0.0
    exact: float | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the laws depend on. Durations in microseconds.

    Args:
        top: How many slices of each kind are told apart in a window.
        key: Fields that name an entity; none where labels name predictions.
        within_us: How long before an outcome a prediction of the entity may lie.
        take: The `last` prediction before an outcome, or `all` of them.
        aggregate: What several labels of a prediction say: the `last` one, `any` or the `sum`.
        hold_back: Labels below which a date waits for more, and for how long: not even then is a final value another.
    """

    window_us: int = DAY_US
    offset_us: int = 0
    attribution_us: int = DAY_US
    maturities_us: tuple[int, ...] = ()
    grace_us: int | None = None
    slices: tuple[tuple[str, ...], ...] = ()
    by: tuple[str, ...] = ("version", "variant")
    provisional: bool = False
    task: str = "binary"
    measures: tuple[str, ...] | None = None
    key: tuple[str, ...] = ()
    within_us: int | None = None
    take: str = "last"
    aggregate: str = "last"
    top: int | None = None
    hold_back: tuple[int, int] | None = None

    @property
    def ages_us(self) -> list[int]:
        """Every maturity, ascending."""
        last = set() if self.grace_us is None else {self.attribution_us + self.grace_us}
        return sorted({*self.maturities_us, self.attribution_us} | last)

    @property
    def measured(self) -> dict[str, Callable[[Sequence[Labelled]], Given]]:
        """The measures, by name."""
        if self.measures is None:
            return MEASURES[self.task]
        known = MEASURES[self.task] | EXACT[self.task]
        return {name: known[name] for name in self.measures}


def values(rows: Iterable[Row], labels: Iterable[Said], settings: Settings, as_of_us: int) -> dict[Key, Expected]:
    """Every value that may be given as of an instant."""
    found: dict[Key, Expected] = {}
    winners = counted(rows)
    of_each = _attributed(winners, [each for each in labels if each.received_us <= as_of_us], settings)
    windows: dict[int, list[Row]] = defaultdict(list)
    for row in winners:
        windows[_start(row.predicted_us, settings.window_us, settings.offset_us)].append(row)
    for (window_us, members), age_us in product(windows.items(), settings.ages_us):
        judged = _old_enough(members, window_us, age_us, settings, as_of_us)
        if judged is None:
            continue
        mature, stage = judged
        joined = [_known(row, of_each[row.id], age_us, settings) for row in mature]
        for version, variant, chosen, part in _parts(joined, settings):
            for measure, expected in _measured(part, settings):
                found[Key(measure, window_us, age_us, version, variant, chosen, stage)] = expected
    return found


def left_out(rows: Iterable[Row], labels: Iterable[Said], settings: Settings, as_of_us: int) -> dict[str, int]:
    """Rows with a label that measures cannot use, by reason; where silence means no, every row has one."""
    winners = counted(rows)
    of_each = _attributed(winners, [each for each in labels if each.received_us <= as_of_us], settings)
    known = [_known(row, of_each[row.id], settings.ages_us[-1], settings) for row in winners]
    labelled = [each.row for each in known if each.label is not None]
    fields = ("prediction", "fare", "score") if settings.task == "binary" else ("prediction",)
    counts = {f"{name}_missing": sum(getattr(row, name) is None for row in labelled) for name in fields}
    if settings.task == "binary":
        scores = [row.score for row in labelled if row.score is not None]
        counts["score_outside_0_1"] = sum(not 0 <= score <= 1 for score in scores)
    return {reason: count for reason, count in counts.items() if count}


def statuses(rows: Iterable[Row], labels: Iterable[Said], settings: Settings, as_of_us: int) -> dict[str, int]:
    """Labels by status as of an instant, and those that wait."""
    horizon_us = settings.ages_us[-1]
    counts = dict.fromkeys((*STATUSES, "waiting"), 0)
    known = [each for each in labels if each.received_us <= as_of_us]
    winners = counted(rows)
    for label in known:
        if not _rows_of(label, winners, settings):
            counts["orphan" if label.received_us + horizon_us < as_of_us else "waiting"] += 1
    predicted = {row.id: row.predicted_us for row in winners}
    for name, mine in _attributed(winners, known, settings).items():
        timely = [each for each in mine if each.received_us - predicted[name] <= horizon_us]
        counts["late"] += len(mine) - len(timely)
        for status in _told(timely, settings):
            counts[status] += 1
    return counts


def counted(rows: Iterable[Row]) -> list[Row]:
    """The rows that count: of an id that was logged twice, the smallest (predicted_at, segment name)."""
    first: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: (row.predicted_us, row.segment)):
        first.setdefault(row.id, row)
    return list(first.values())


def _told(timely: Sequence[Said], settings: Settings) -> Iterator[str]:
    """The status of each label of one prediction."""
    before = None
    for label in sorted(timely, key=_order):
        if before is None:
            yield "matched"
        elif settings.aggregate == "last":
            yield "duplicate" if label.label == before.label else "revised"
        else:
            yield "duplicate" if _order(label) == _order(before) else "matched"
        before = label


def _order(label: Said) -> tuple[Any, ...]:
    """The total order of the labels of a prediction, in which the last one counts; equal ones are the very same.

    What else stands beside them, such as a field that is no part of the key, makes no other label of them.
    """
    return label.received_us, label.revision, label.label, label.occurred_us or 0


def _attributed(winners: Sequence[Row], labels: Sequence[Said], settings: Settings) -> dict[str, list[Said]]:
    """The labels of each prediction."""
    found: dict[str, list[Said]] = {row.id: [] for row in winners}
    for label in labels:
        for row in _rows_of(label, winners, settings):
            found[row.id].append(label)
    return found


def _rows_of(label: Said, winners: Sequence[Row], settings: Settings) -> list[Row]:
    """The predictions that a label is of."""
    if not settings.key:
        return [row for row in winners if row.id == label.id]
    occurred_us = label.received_us if label.occurred_us is None else label.occurred_us
    within_us = settings.attribution_us if settings.within_us is None else settings.within_us
    about = [
        row
        for row in winners
        if all(getattr(row, name) == getattr(label, name) is not None for name in settings.key)
        and occurred_us - within_us <= row.predicted_us <= occurred_us
    ]
    return about if settings.take == "all" else sorted(about, key=lambda row: (row.predicted_us, row.id))[-1:]


def _start(instant_us: int, step_us: int, offset_us: int) -> int:
    return math.floor((instant_us - offset_us) / step_us) * step_us + offset_us


def _old_enough(
    rows: list[Row], window_us: int, age_us: int, settings: Settings, as_of_us: int
) -> tuple[list[Row], str] | None:
    """The rows of a window that are judged at an age, and the stage; None where none may be."""
    if window_us + settings.window_us + age_us <= as_of_us:
        return rows, "final"
    if not settings.provisional:
        return None
    tile_us = settings.window_us // 24
    mature = [
        row for row in rows if _start(row.predicted_us, tile_us, settings.offset_us) + tile_us + age_us <= as_of_us
    ]
    return (mature, "provisional") if mature else None


def _known(row: Row, labels: Sequence[Said], age_us: int, settings: Settings) -> Labelled:
    """A prediction with what its labels say at an age."""
    young = sorted((each for each in labels if each.received_us - row.predicted_us <= age_us), key=_order)
    if young:
        return Labelled(row, _together(young, settings.aggregate), explicit=True)
    silent = False if settings.grace_us is not None and age_us >= settings.attribution_us else None
    return Labelled(row, silent, explicit=False)


def _together(labels: Sequence[Said], aggregate: str) -> Any:
    """What several labels say, oldest first; what is added up is rounded, and the very same label counts once."""
    if aggregate == "last":
        return labels[-1].label
    if aggregate == "any":
        return any(label.label for label in labels)
    return sum(math.floor(label * 2**30 + 0.5) for _, _, label, _ in set(map(_order, labels))) / 2**30


def _parts(
    joined: Sequence[Labelled], settings: Settings
) -> Iterator[tuple[str | None, str | None, tuple[tuple[str, str], ...], list[Labelled]]]:
    """The rows of each version, variant and slice."""
    for crossed in ((), *settings.slices):
        groups: dict[tuple[str, ...], list[Labelled]] = defaultdict(list)
        slices: list[tuple[str, ...]] = [
            tuple("(missing)" if getattr(each.row, name) is None else getattr(each.row, name) for name in crossed)
            for each in joined
        ]
        largest = sorted(set(slices), key=lambda chosen: (-slices.count(chosen), chosen))[: settings.top]
        for each, chosen in zip(joined, slices, strict=True):
            told = chosen if chosen in largest else ("(other)",) * len(crossed)
            groups[(*(getattr(each.row, name) for name in settings.by), *told)].append(each)
        for key, part in groups.items():
            named = dict(zip((*settings.by, *crossed), key, strict=True))
            yield (
                named.get("version"),
                named.get("variant"),
                tuple(sorted((name, named[name]) for name in crossed)),
                part,
            )


def _measured(part: Sequence[Labelled], settings: Settings) -> Iterator[tuple[str, Expected]]:
    """Every measure that has a value over these rows."""
    coverage = sum(each.explicit for each in part) / len(part)
    labelled = [each for each in part if each.label is not None]
    for name, measure in settings.measured.items():
        given = measure(part if name == "fares_at_stake" else labelled)
        if given is not None:
            value, support, tolerance, *exact = given
            yield name, Expected(value, support, coverage, tolerance, *exact)
