"""What sums add up to: whole numbers inside, values in their own unit outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from otel_ml_metrics.expressions import Columns, Kinds, col, evaluate
from otel_ml_metrics.measures.sums import Binned, Sum

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

State = Sum | Binned
Counted = int | tuple[NDArray[Any], NDArray[Any]]


class Totals:
    """The totals of some states, which can be added and taken back exactly.

    Args:
        whole: By `key` of a sum, the integer sum of its contributions; by `key` of a Binned, its positives and
            negatives per bin.

    >>> Totals({"sum[fare]@30": 3 << 29})[Sum(col("fare"))]
    1.5
    """

    def __init__(self, whole: Mapping[str, Counted]) -> None:
        self.whole = dict(whole)

    @overload
    def __getitem__(self, state: Sum) -> float: ...
    @overload
    def __getitem__(self, state: Binned) -> tuple[NDArray[Any], NDArray[Any]]: ...
    def __getitem__(self, state: State) -> float | tuple[NDArray[Any], NDArray[Any]]:
        """Total of a sum: an int at scale 0, else the nearest float; of a Binned: its two arrays."""
        found = self.whole[state.key]
        if isinstance(state, Binned) or isinstance(found, tuple):
            return found
        return found / (1 << state.scale) if state.scale else found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Totals) and _plain(self) == _plain(other)

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Totals) -> Totals:
        return Totals({key: _added(found, other.whole[key], 1) for key, found in self.whole.items()})

    def __sub__(self, other: Totals) -> Totals:
        return Totals({key: _added(found, other.whole[key], -1) for key, found in self.whole.items()})


def _plain(totals: Totals) -> dict[str, Any]:
    return {
        key: [part.tolist() for part in found] if isinstance(found, tuple) else found
        for key, found in totals.whole.items()
    }


def _added(left: Counted, right: Counted, sign: int) -> Counted:
    if isinstance(left, tuple) and isinstance(right, tuple):
        return left[0] + sign * right[0], left[1] + sign * right[1]
    if isinstance(left, tuple) or isinstance(right, tuple):
        message = "Counts per bin and a plain sum cannot be added."
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
    labelled = evaluate(col("label"), columns, kinds)[1] if kinds.get("label") in {"boolean", "number"} else slice(None)
    parts = {name: np.asarray(column)[labelled] for name, column in columns.items()}
    return Totals({state.key: _total(state, parts, columns, kinds) for state in dict.fromkeys(states)})


def _total(state: State, labelled: Columns, predictions: Columns, kinds: Kinds) -> Counted:
    if isinstance(state, Binned):
        return state.to_numpy(labelled, kinds)
    contributions = state.to_numpy(labelled if state.rows == "labelled" else predictions, kinds)
    return int(sum(contributions.tolist()))
