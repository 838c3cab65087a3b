"""What sums add up to: whole numbers inside, values in their own unit outside."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from otel_ml_metrics.expressions import Columns, Kinds, present_in
from otel_ml_metrics.measures.sums import Binned, Sum

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

State = Sum | Binned
Counted = int | NDArray[Any]


class Totals:
    """The totals of some states, which can be added and taken back exactly.

    Args:
        whole: By `key` of a sum, the integer sum of its contributions; by `key` of a Binned, that of each cell.
        stand_ins: States that are read in place of others.
        factor: What every total is multiplied by when it is read.

    >>> from otel_ml_metrics.expressions import col
    >>> Totals({"sum[fare]@30": 3 << 29})[Sum(col("fare"))]
    1.5
    """

    def __init__(
        self, whole: Mapping[str, Counted], *, stand_ins: Mapping[State, State] | None = None, factor: float = 1
    ) -> None:
        self.whole = dict(whole)
        self._stand_ins = stand_ins or {}
        self._factor = factor

    @overload
    def __getitem__(self, state: Sum) -> float: ...
    @overload
    def __getitem__(self, state: Binned) -> NDArray[Any]: ...
    def __getitem__(self, state: State) -> float | NDArray[Any]:
        """Total of a sum: an int at scale 0, else the nearest float; of a Binned: an array of them."""
        state = self.read(state)
        found = self.whole[state.key]
        if isinstance(found, np.ndarray):
            if found.dtype != np.int64 or state.scale or self._factor != 1:
                return found.astype(np.float64) * (self._factor / (1 << state.scale))
            return found
        read = found / (1 << state.scale) if state.scale else found
        return read * self._factor if self._factor != 1 else read

    def exact(self, summed: Sum) -> Fraction:
        """Total of a sum without rounding, for differences in which floats cancel out."""
        summed_ = self.read(summed)
        return Fraction(self._factor) * Fraction(int(self.whole[summed_.key]), 1 << summed_.scale)

    def read(self, state: State) -> State:
        """The state that is read where this one is asked for."""
        return self._stand_ins.get(state, state)

    def through(self, stand_ins: Mapping[State, State], *, factor: float = 1) -> Totals:
        """The same totals for a measure that asks for other states than were summed."""
        reached = {asked: self.read(state) for asked, state in stand_ins.items()}
        return Totals(self.whole, stand_ins={**self._stand_ins, **reached}, factor=self._factor * factor)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Totals) and _plain(self) == _plain(other)

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Totals) -> Totals:
        return Totals({key: _added(found, other.whole[key], 1) for key, found in self.whole.items()})

    def __sub__(self, other: Totals) -> Totals:
        return Totals({key: _added(found, other.whole[key], -1) for key, found in self.whole.items()})


def _plain(totals: Totals) -> dict[str, Any]:
    return {key: found.tolist() if isinstance(found, np.ndarray) else found for key, found in totals.whole.items()}


def _added(left: Counted, right: Counted, sign: int) -> Counted:
    if isinstance(left, np.ndarray) != isinstance(right, np.ndarray):
        message = "A sum per cell and a plain sum cannot be added."
        raise TypeError(message)
    return left + sign * right


def add_up(states: Iterable[State], columns: Columns, kinds: Kinds) -> Totals:
    """Add up states over rows with numpy; the exact reference for every engine.

    Rows whose label is missing count as unlabelled: only sums over `predictions` see them.

    Args:
        states: What to add up; equal ones are computed once.
        columns: Arrays of shape (n,), as `expressions.evaluate` takes them.
        kinds: Kind of each column.
    """
    labelled = present_in(columns["label"], kinds["label"]) if "label" in kinds else slice(None)
    parts = {name: np.asarray(column)[labelled] for name, column in columns.items()}
    return Totals({state.key: _total(state, parts, columns, kinds) for state in dict.fromkeys(states)})


def _total(state: State, labelled: Columns, predictions: Columns, kinds: Kinds) -> Counted:
    if isinstance(state, Binned):
        return state.to_numpy(labelled, kinds)
    contributions = state.to_numpy(labelled if state.rows == "labelled" else predictions, kinds)
    return int(sum(contributions.tolist()))
