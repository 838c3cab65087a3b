"""Sums and last values per set of attributes: what the observable instruments read. Pure numpy, no OpenTelemetry."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otel_ml_metrics.semconv import MISSING_SLICE, MODEL_NAME, OVERFLOW_ATTRIBUTE, SLICE_PREFIX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from otel_ml_metrics.columns import Categories

Attributes = Mapping[str, str | bool]
Observed = tuple[int | float, Attributes]

OVERFLOW_SLOT: Final = 0


class AttributeSets:
    """The sets of attributes of one model, each with a slot; those beyond the budget share the slot of the overflow.

    Args:
        model: Name of the model.
        budget: Most sets that get a slot of their own.
    """

    def __init__(self, model: str, budget: int) -> None:
        self.model = model
        self.budget = budget
        self.clear()

    def clear(self) -> None:
        """Forget every set."""
        self.attributes: list[Attributes] = [{MODEL_NAME: self.model, OVERFLOW_ATTRIBUTE: True}]
        self._slots: dict[tuple[tuple[str, str], ...], int] = {}

    def __len__(self) -> int:
        return len(self.attributes)

    def slots(self, identity: Mapping[str, str], slices: Mapping[str, Categories], rows: int) -> NDArray[np.int64]:
        """The slot of each row, shape (n,)."""
        if not slices or not rows:
            return np.full(rows, self._slot(tuple(identity.items())), dtype=np.int64)
        groups, heads = _grouped(list(slices.values()))
        names = [f"{SLICE_PREFIX}{name}" for name in slices]
        texts = [column.texts(MISSING_SLICE, heads) for column in slices.values()]
        base = tuple(identity.items())
        found = [self._slot((*base, *zip(names, values, strict=True))) for values in zip(*texts, strict=True)]
        return np.array(found, dtype=np.int64)[groups]

    def _slot(self, attributes: tuple[tuple[str, str], ...]) -> int:
        slot = self._slots.get(attributes)
        if slot is None and len(self._slots) < self.budget:
            slot = self._slots[attributes] = len(self.attributes)
            self.attributes.append(dict(attributes))
        return OVERFLOW_SLOT if slot is None else slot


def _grouped(columns: list[Categories]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group of each row, numbered from 0, and one row of each group."""
    groups = np.zeros(len(columns[0].codes), dtype=np.int64)
    size = 1
    for column in columns:
        width = len(column.values) + 1
        groups = groups * width + (column.codes + 1)
        size *= width
        if size > 2 * len(groups) + 1024:  # sparse: renumber, so that no product of widths overflows
            groups = np.unique(groups, return_inverse=True)[1].ravel()
            size = int(groups.max()) + 1
    heads = np.full(size, -1, dtype=np.int64)
    heads[groups[::-1]] = np.arange(len(groups))[::-1]
    used = heads >= 0
    return (np.cumsum(used) - 1)[groups], heads[used]


class Sums:
    """A sum per slot, split further by the values of one attribute where there is one.

    Args:
        whole: Whether the sums are whole numbers.
        attribute: Key of the attribute that splits a slot.
        values: Its values.
    """

    def __init__(self, *, whole: bool, attribute: str = "", values: tuple[str, ...] = ("",)) -> None:
        self._attribute = attribute
        self._values = values
        self._sums: NDArray[Any] = np.zeros(0, dtype=np.int64 if whole else np.float64)
        self._seen = np.zeros(0, dtype=np.bool_)

    def add(
        self, slots: NDArray[np.int64], values: NDArray[Any] | None = None, codes: NDArray[np.int8] | None = None
    ) -> None:
        """Add the values of some rows; without values, count the rows."""
        if not len(slots):
            return
        cells = slots * len(self._values) + (0 if codes is None else codes)
        counts = np.bincount(cells)
        added = counts if values is None else np.bincount(cells, weights=values)
        self._sums, self._seen = _grown(self._sums, len(added)), _grown(self._seen, len(added))
        self._sums[: len(added)] += added.astype(self._sums.dtype)
        self._seen[: len(added)] |= counts > 0

    def widen(self) -> None:
        """Take fractions from now on: another monitor counts them under the same name."""
        self._sums = self._sums.astype(np.float64)

    def observed(self, sets: AttributeSets) -> Iterator[Observed]:
        """Every sum that rows went into, with its attributes."""
        for cell in np.flatnonzero(self._seen).tolist():
            slot, code = divmod(cell, len(self._values))
            split = {self._attribute: self._values[code]} if self._attribute else {}
            yield self._sums[cell].item(), {**sets.attributes[slot], **split}


class Lasts:
    """The last value per slot."""

    def __init__(self) -> None:
        self._values = np.zeros(0)
        self._seen = np.zeros(0, dtype=np.bool_)

    def add(self, slots: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Take over the values of some rows, in order."""
        if not len(slots):
            return
        size = int(slots.max()) + 1
        self._values, self._seen = _grown(self._values, size), _grown(self._seen, size)
        latest = np.full(size, -1, dtype=np.int64)
        np.maximum.at(latest, slots, np.arange(len(slots)))
        used = np.flatnonzero(latest >= 0)
        self._values[used] = values[latest[used]]
        self._seen[used] = True

    def observed(self, sets: AttributeSets) -> Iterator[Observed]:
        """Every last value, with its attributes."""
        for slot in np.flatnonzero(self._seen).tolist():
            yield self._values[slot].item(), sets.attributes[slot]


def _grown(array: NDArray[Any], size: int) -> NDArray[Any]:
    if len(array) >= size:
        return array
    grown = np.zeros(max(size, 2 * len(array)), dtype=array.dtype)
    grown[: len(array)] = array
    return grown


@dataclass
class Accumulators:
    """All sums and last values of one model on one meter provider; every monitor of that model adds to the same.

    Hold `lock` around every use; it is never held across anything slow. A signal handler may record in the thread that
    holds it, so it can be taken again, and a tally is added to without a call in which a handler could come between.
    """

    sets: AttributeSets
    sums: dict[object, Sums] = field(default_factory=dict)
    lasts: dict[object, Lasts] = field(default_factory=dict)
    tallies: defaultdict[tuple[str, tuple[tuple[str, str], ...]], int] = field(
        default_factory=partial(defaultdict, int)
    )
    lock: threading.RLock = field(default_factory=threading.RLock)

    def tally(self, metric: str, attributes: Mapping[str, str], count: int) -> None:
        """Count something that has no slot, such as a fault by reason."""
        key = (metric, tuple(attributes.items()))
        with self.lock:
            self.tallies[key] += count

    def observed(self, key: object, metric: str) -> list[Observed]:
        """Every value of one metric, with its attributes."""
        with self.lock:
            series = self.sums.get(key) or self.lasts.get(key)
            values = list(series.observed(self.sets)) if series else []
            tallied = ((count, dict(items)) for (name, items), count in self.tallies.items() if name == metric)
            return [*values, *tallied]

    def has_counted(self) -> bool:
        """Whether anything was counted in this process."""
        with self.lock:
            return bool(self.sums or self.tallies)

    def clear(self) -> None:
        """Start anew in a forked child: what the parent counted is the parent's."""
        self.lock = threading.RLock()
        self.sets.clear()
        self.sums.clear()
        self.lasts.clear()
        self.tallies.clear()
