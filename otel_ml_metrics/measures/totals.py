"""What sums add up to: whole numbers inside, values in their own unit outside."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from otel_ml_metrics.measures.sums import Binned, Sum
from otel_ml_metrics.presence import Columns, present_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from otel_ml_metrics.expressions import Kinds

State = Sum | Binned
Counted = int | NDArray[Any]
Derived = TypeVar("Derived")


class Totals:
    """The totals of some states, which can be added and taken back exactly.

    Args:
        whole: By `key` of a sum, the integer sum of its contributions; by `key` of a Binned, that of each cell.
        stand_ins: States that are read in place of others.
        factor: What every total is multiplied by when it is read.
        groups: By slice and its value, the totals of the rows with that value.

    >>> from otel_ml_metrics.expressions import col
    >>> Totals({"sum[fare]@30": 3 << 29})[Sum(col("fare"))]
    1.5
    """

    def __init__(
        self,
        whole: Mapping[str, Counted],
        *,
        stand_ins: Mapping[State, State] | None = None,
        factor: float = 1,
        groups: Mapping[str, Mapping[str, Totals]] | None = None,
    ) -> None:
        self.whole = dict(whole)
        self.by_slice = groups or {}
        self._stand_ins = stand_ins or {}
        self._factor = factor
        self._derived: dict[Callable[[Totals], Any], Any] = {}

    def derived(self, derive: Callable[[Totals], Derived]) -> Derived:
        """What a function makes of these totals, made once: many measures read one table, or one curve."""
        if derive not in self._derived:
            self._derived[derive] = derive(self)
        found: Derived = self._derived[derive]
        return found

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
        return self._stand_ins.get(state, state) if self._stand_ins else state

    def through(self, stand_ins: Mapping[State, State], *, factor: float = 1) -> Totals:
        """The same totals for a measure that asks for other states than were summed."""
        reached = {asked: self.read(state) for asked, state in stand_ins.items()}
        groups = _each(self.by_slice, lambda group: group.through(stand_ins, factor=factor))
        return Totals(self.whole, stand_ins={**self._stand_ins, **reached}, factor=self._factor * factor, groups=groups)

    def groups(self, over: str) -> tuple[Totals, ...]:
        """The totals of each value of a slice; none where they were not added up apart."""
        return tuple(self.by_slice.get(over, {}).values())

    def __bool__(self) -> bool:
        return any(np.any(found) for found in self.whole.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Totals) and _plain(self) == _plain(other) and self.by_slice == other.by_slice

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Totals) -> Totals:
        return _merged(self, other, 1)

    def __sub__(self, other: Totals) -> Totals:
        return _merged(self, other, -1)


def _each(
    by_slice: Mapping[str, Mapping[str, Totals]], change: Callable[[Totals], Totals]
) -> dict[str, dict[str, Totals]]:
    return {over: {value: change(group) for value, group in groups.items()} for over, groups in by_slice.items()}


def _merged(left: Totals, right: Totals, sign: int) -> Totals:
    """The totals of both, or of one without the other; a group that is in one of them alone counts 0 in the other."""
    whole = {key: _added(found, right.whole[key], sign) for key, found in left.whole.items()}
    none = Totals({key: found - found for key, found in whole.items()})
    groups = {}
    for over, mine in left.by_slice.items():
        theirs = right.by_slice[over]
        merged = {each: _merged(mine.get(each, none), theirs.get(each, none), sign) for each in {**mine, **theirs}}
        groups[over] = {value: merged[value] for value in sorted(merged) if merged[value]}
    return Totals(whole, groups=groups)


def _plain(totals: Totals) -> dict[str, Any]:
    return {key: found.tolist() if isinstance(found, np.ndarray) else found for key, found in totals.whole.items()}


def _added(left: Counted, right: Counted, sign: int) -> Counted:
    if isinstance(left, np.ndarray) != isinstance(right, np.ndarray):
        message = "A sum per cell and a plain sum cannot be added."
        raise TypeError(message)
    return left + sign * right


def add_up(states: Iterable[State], columns: Columns, kinds: Kinds, *, over: Sequence[str] = ()) -> Totals:
    """Add up states over rows with numpy; the exact reference for every engine.

    Rows whose label is missing count as unlabelled: only sums over `predictions` see them.

    Args:
        states: What to add up; equal ones are computed once.
        columns: Arrays of shape (n,), as `expressions.evaluate` takes them.
        kinds: Kind of each column.
        over: Columns of texts whose values are added up apart as well; a row without one is in no group.
    """
    states = tuple(states)
    groups = {name: _by_value(np.asarray(columns[name], dtype=object), states, columns, kinds) for name in over}
    labelled = present_in(columns["label"], kinds["label"]) if "label" in kinds else slice(None)
    parts = {name: np.asarray(column)[labelled] for name, column in columns.items()}
    return Totals({state.key: _total(state, parts, columns, kinds) for state in dict.fromkeys(states)}, groups=groups)


def _by_value(values: NDArray[Any], states: Sequence[State], columns: Columns, kinds: Kinds) -> dict[str, Totals]:
    groups = {
        value: add_up(states, {name: np.asarray(column)[values == value] for name, column in columns.items()}, kinds)
        for value in sorted(set(values.tolist()) - {None})
    }
    return {value: group for value, group in groups.items() if group}


def _total(state: State, labelled: Columns, predictions: Columns, kinds: Kinds) -> Counted:
    if isinstance(state, Binned):
        return state.to_numpy(labelled, kinds)
    contributions = state.to_numpy(labelled if state.rows == "labelled" else predictions, kinds)
    return int(sum(contributions.tolist()))
