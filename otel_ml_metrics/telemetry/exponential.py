"""Base-2 exponential buckets: which scale some values need, and how often each bucket was hit. Pure numpy.

Bucket i at scale s holds the values in (b^i, b^(i+1)] with b = 2^(2^-s), as the OpenTelemetry data model defines it
(https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram). A bucket at s - 1 is a pair of
those at s, so indices are computed once, at the finest scale, and shifted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_BUCKETS: Final = 160
"""Buckets of either sign, as many as the SDK has; the scale gives way."""

FINEST_SCALE: Final = 20

_SMALLEST_NORMAL: Final = float(np.finfo(np.float64).tiny)
_PER_NATURAL_LOG: Final = math.ldexp(1 / math.log(2), FINEST_SCALE)
_FIRST_INDEX: Final = (-1022 << FINEST_SCALE) - 1
_LAST_INDEX: Final = (1024 << FINEST_SCALE) - 1


@dataclass(frozen=True)
class Buckets:
    """Counts of one sign.

    Args:
        offset: Index of the first bucket, at the scale of the histogram.
        counts: Shape (k,), k at most `MOST_BUCKETS`; empty where there are none.
    """

    offset: int = 0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last index; None where there are none."""
        return (self.offset, self.offset + len(self.counts) - 1) if len(self.counts) else None

    def coarser(self, steps: int) -> Buckets:
        """The same counts, so many scales down."""
        if not steps or not len(self.counts):
            return self
        at = (self.offset + np.arange(len(self.counts))) >> steps
        return Buckets(int(at[0]), _summed(at - at[0], self.counts))

    def plus(self, other: Buckets) -> Buckets:
        """Both together; they are of one scale."""
        parts = [each for each in (self, other) if len(each.counts)]
        if len(parts) <= 1:
            return parts[0] if parts else self
        at = np.concatenate([each.offset + np.arange(len(each.counts)) for each in parts])
        first = int(at.min())
        return Buckets(first, _summed(at - first, np.concatenate([each.counts for each in parts])))


class Exponential:
    """How often values came, by bucket; as fine as they allow, and never finer again.

    Args:
        scale: Of the buckets.
    """

    def __init__(self, scale: int = FINEST_SCALE) -> None:
        self.scale = scale
        self.zeros = 0
        self.positive = Buckets()
        self.negative = Buckets()

    def add(self, values: NDArray[np.float64]) -> None:
        """Count values, shape (n,), finite."""
        above, below = values[values > 0], -values[values < 0]
        self.zeros += len(values) - len(above) - len(below)
        down = FINEST_SCALE - self.scale
        self._make_room(_span(above, down), _span(below, down))
        self.positive = self.positive.plus(_buckets(above, self.scale))
        self.negative = self.negative.plus(_buckets(below, self.scale))

    def merge(self, other: Exponential) -> None:
        """Count what another one counted."""
        self._coarsen(max(0, self.scale - other.scale))
        apart = other.scale - self.scale
        self._make_room(other.positive.coarser(apart).span, other.negative.coarser(apart).span)
        self.zeros += other.zeros
        self.positive = self.positive.plus(other.positive.coarser(other.scale - self.scale))
        self.negative = self.negative.plus(other.negative.coarser(other.scale - self.scale))

    def _make_room(self, above: tuple[int, int] | None, below: tuple[int, int] | None) -> None:
        """Lower the scale until what comes fits beside what is there; spans are indices at the scale that it has."""
        self._coarsen(max(_excess(self.positive.span, above), _excess(self.negative.span, below)))

    def _coarsen(self, steps: int) -> None:
        self.positive, self.negative = self.positive.coarser(steps), self.negative.coarser(steps)
        self.scale -= steps


def _excess(known: tuple[int, int] | None, new: tuple[int, int] | None) -> int:
    """How many scales down two spans fit into the buckets together."""
    spans = [span for span in (known, new) if span is not None]
    if not spans:
        return 0
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    steps = 0
    while (high >> steps) - (low >> steps) >= MOST_BUCKETS:
        steps += 1
    return steps


def _span(values: NDArray[np.float64], down: int) -> tuple[int, int] | None:
    if not len(values):
        return None
    ends = _indices(np.array([values.min(), values.max()]), FINEST_SCALE) >> down
    return int(ends[0]), int(ends[1])


def _buckets(values: NDArray[np.float64], scale: int) -> Buckets:
    if not len(values):
        return Buckets()
    indices = _indices(values, scale)
    first = int(indices.min())
    return Buckets(first, np.bincount(indices - first))


def _indices(values: NDArray[np.float64], scale: int) -> NDArray[np.int64]:
    """Index of the bucket of each value, which is above 0."""
    normal = np.maximum(values, _SMALLEST_NORMAL)
    mantissas, exponents = np.frexp(normal)
    is_bound = mantissas == 0.5  # noqa: PLR2004  # a power of two is the upper bound of its bucket
    octaves: NDArray[np.int64] = exponents.astype(np.int64) - 1 - is_bound
    if scale <= 0:
        return octaves >> -scale
    logs = np.floor(np.log(normal) * _PER_NATURAL_LOG).astype(np.int64)
    between = np.clip(logs, _FIRST_INDEX, _LAST_INDEX)
    finest: NDArray[np.int64] = np.where(is_bound, ((octaves + 1) << FINEST_SCALE) - 1, between)
    return finest >> (FINEST_SCALE - scale)


def _summed(at: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    summed = np.zeros(int(at.max()) + 1, dtype=np.int64)
    np.add.at(summed, at, counts)
    return summed
