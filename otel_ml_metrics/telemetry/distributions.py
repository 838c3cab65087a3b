"""Histograms of one metric, one per set of attributes: buckets, sum, smallest and largest value. Pure numpy."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from otel_ml_metrics.telemetry.exponential import Exponential

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Distribution:
    """The histogram of one set of attributes.

    Args:
        slot: The set.
        count: How many values.
        sum: Of them; None where one is negative, since the protocol wants sums that only grow.
        smallest: The smallest value.
        largest: The largest.
        buckets: Count of each bucket, the last one above all bounds; or exponential ones.
    """

    slot: int
    count: int
    sum: float | None
    smallest: float
    largest: float
    buckets: tuple[int, ...] | Exponential


class Distributions:
    """The histograms of one metric.

    Args:
        bounds: Upper bounds of the buckets, ascending; None for exponential ones.
    """

    def __init__(self, bounds: tuple[float, ...] | None) -> None:
        self._bounds = None if bounds is None else np.array(bounds)
        self._moments = _Moments.empty()
        self._counts = np.zeros((0, 0 if bounds is None else len(bounds) + 1), dtype=np.int64)
        self._exponential: dict[int, Exponential] = {}

    def add(self, values: NDArray[np.float64], slots: NDArray[np.int64]) -> None:
        """Take values, shape (n,), finite, and the set of attributes of each."""
        if not len(values):
            return
        first = int(slots[0])
        alone = first if (slots == first).all() else None
        size = (first if alone is not None else int(slots.max())) + 1
        self._moments = self._moments.grown(size)
        self._moments.add(values, slots, alone)
        if self._bounds is None:
            self._add_exponential(values, slots, alone)
            return
        self._counts = _grown(self._counts, size, 0)
        if alone is not None:
            self._counts[alone] += _counted(values, self._bounds)
            return
        width = len(self._bounds) + 1
        buckets = np.searchsorted(self._bounds, values)
        counted = np.bincount(slots * width + buckets, minlength=size * width)
        self._counts[:size] += counted.reshape(size, width)

    def merge(self, other: Distributions) -> None:
        """Take what another one took; the buckets are the same."""
        size = len(other._moments.counts)
        self._moments = self._moments.grown(size)
        self._moments.merge(other._moments)
        self._counts = _grown(self._counts, size, 0)
        self._counts[: len(other._counts)] += other._counts
        for slot, each in other._exponential.items():
            self._exponential.setdefault(slot, Exponential(each.scale)).merge(each)

    def emptied(self) -> Distributions:
        """A new one with the same bounds."""
        return Distributions(None if self._bounds is None else tuple(self._bounds))

    def places(self, values: NDArray[np.float64]) -> NDArray[np.int64] | None:
        """Which bucket each value is in; None for exponential ones, which move."""
        return None if self._bounds is None else np.searchsorted(self._bounds, values)

    def __iter__(self) -> Iterator[Distribution]:
        """Every histogram that has values, by slot."""
        moments = self._moments
        for slot in np.flatnonzero(moments.counts).tolist():
            smallest = float(moments.smallest[slot])
            yield Distribution(
                slot,
                int(moments.counts[slot]),
                float(moments.sums[slot]) if smallest >= 0 else None,
                smallest,
                float(moments.largest[slot]),
                copy(self._exponential[slot]) if self._bounds is None else tuple(self._counts[slot].tolist()),
            )

    def _add_exponential(self, values: NDArray[np.float64], slots: NDArray[np.int64], alone: int | None) -> None:
        if alone is not None:
            self._exponential.setdefault(alone, Exponential()).add(values)
            return
        order = np.argsort(slots, kind="stable")
        found, starts = np.unique(slots[order], return_index=True)
        for slot, part in zip(found.tolist(), np.split(values[order], starts[1:]), strict=True):
            self._exponential.setdefault(slot, Exponential()).add(part)


class _Moments(NamedTuple):
    """Count, sum, smallest and largest value of each slot."""

    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    smallest: NDArray[np.float64]
    largest: NDArray[np.float64]

    @classmethod
    def empty(cls) -> _Moments:
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0))

    def grown(self, size: int) -> _Moments:
        return _Moments(*(_grown(column, size, start) for column, start in zip(self, _STARTS, strict=True)))

    def add(self, values: NDArray[np.float64], slots: NDArray[np.int64], alone: int | None) -> None:
        if alone is not None:
            self.counts[alone] += len(values)
            self.sums[alone] += values.sum()
            self.smallest[alone] = min(self.smallest[alone], values.min())
            self.largest[alone] = max(self.largest[alone], values.max())
            return
        counted = np.bincount(slots)
        self.counts[: len(counted)] += counted
        self.sums[: len(counted)] += np.bincount(slots, weights=values)
        np.minimum.at(self.smallest, slots, values)
        np.maximum.at(self.largest, slots, values)

    def merge(self, other: _Moments) -> None:
        size = len(other.counts)
        self.counts[:size] += other.counts
        self.sums[:size] += other.sums
        np.minimum(self.smallest[:size], other.smallest, out=self.smallest[:size])
        np.maximum(self.largest[:size], other.largest, out=self.largest[:size])


def _counted(values: NDArray[np.float64], bounds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Values per bucket, shape (m + 1,); of few bounds, comparing all values with each is quicker than a search."""
    if len(bounds) > _FEW_BOUNDS:
        return np.bincount(np.searchsorted(bounds, values), minlength=len(bounds) + 1)
    above = np.array([len(values), *(np.count_nonzero(values > bound) for bound in bounds), 0], dtype=np.int64)
    counts: NDArray[np.int64] = above[:-1] - above[1:]
    return counts


_FEW_BOUNDS: Final = 32
_STARTS: Final = (0, 0.0, np.inf, -np.inf)


def _grown(array: NDArray[Any], size: int, start: float) -> NDArray[Any]:
    if len(array) >= size:
        return array
    grown = np.full((max(size, 2 * len(array)), *array.shape[1:]), start, dtype=array.dtype)
    grown[: len(array)] = array
    return grown
