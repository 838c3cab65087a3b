"""One batch of predictions as columns that were validated once, on entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from otel_ml_metrics.semconv import OUTCOME_ERROR, OUTCOME_NOT_FINITE, OUTCOME_OK

if TYPE_CHECKING:
    from otel_ml_metrics.columns import Categories
    from otel_ml_metrics.errors import OtelMLMetricsError
    from otel_ml_metrics.expressions import Kind

Task = Literal["binary", "multiclass", "multilabel", "quantile", "ranking", "regression"]
Reason = Literal[
    "unknown_field",
    "wrong_length",
    "wrong_type",
    "not_finite",
    "negative_value",
    "missing_value",
    "bad_instant",
    "value_failed",
    "log_failed",
    "internal",
]

_OBJECTS_BYTES: Final = 256
"""What the objects of a column take beside its values: most of a batch of one row."""

OUTCOMES: Final = (OUTCOME_OK, OUTCOME_NOT_FINITE, OUTCOME_ERROR)


@dataclass(frozen=True)
class Fault:
    """Something in a batch that could not be used.

    Args:
        reason: Value of the attribute `reason` of `ml.monitor.faults`.
        count: How often.
        error: What is raised instead where faults are raised; its text is what is logged.
    """

    reason: Reason
    count: int
    error: OtelMLMetricsError


Row = tuple[int, str, object, Mapping[str, object], int]
"""One recorded prediction, as it waits in the buffer: instant, id, context (None for an empty one), fields, and the
bytes that it holds beyond those that any row may hold. A plain tuple is made in a quarter of the time of a named one,
and leaves the garbage collector nothing to look at."""


@dataclass(frozen=True)
class PredictionBatch:
    """Rows that were recorded, as columns.

    Args:
        predicted_at: Shape (n,), microseconds of Unix time; `NO_INSTANT` where it could not be read.
        ids: One id per row.
        values: Columns that at least one row has: numbers with NaN for missing, booleans, texts with None for missing.
        scores: Shape (n,), one array per row, for a model that gives one score per class; otherwise None.
        slices: Every declared slice.
        kinds: Kind of every column that an expression can use.
        outcomes: Shape (n,), position in `OUTCOMES`.
        contexts: The OpenTelemetry context of every row, or one for all of them.
        faults: What could not be used.
    """

    predicted_at: NDArray[np.int64]
    ids: Sequence[str]
    values: Mapping[str, NDArray[Any]]
    scores: NDArray[np.object_] | None
    slices: Mapping[str, Categories]
    kinds: Mapping[str, Kind]
    outcomes: NDArray[np.int8]
    contexts: Sequence[object]
    faults: tuple[Fault, ...]

    def __len__(self) -> int:
        return len(self.predicted_at)

    @cached_property
    def size(self) -> int:
        """Bytes that it holds, about."""
        texts = sum(sum(map(len, column.values)) + column.codes.nbytes for column in self.slices.values())
        vectors = 0 if self.scores is None else sum(each.nbytes for each in self.scores if each is not None)
        objects = _OBJECTS_BYTES * (2 + len(self.slices) + len(self.values))
        return texts + vectors + objects + self.predicted_at.nbytes + sum(map(_size_of_column, self.values.values()))

    def blocks(self, rows: int) -> Iterator[PredictionBatch]:
        """Views of so many rows each, without ids and faults, which belong to the whole."""
        if len(self) <= rows:
            yield self
            return
        for start in range(0, len(self), rows):
            block = slice(start, start + rows)
            yield replace(
                self,
                predicted_at=self.predicted_at[block],
                ids=(),
                values={name: column[block] for name, column in self.values.items()},
                scores=None if self.scores is None else self.scores[block],
                slices={name: replace(column, codes=column.codes[block]) for name, column in self.slices.items()},
                outcomes=self.outcomes[block],
                contexts=self.contexts[block] if len(self.contexts) > 1 else self.contexts,
                faults=(),
            )

    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Every column that a row expression can use; one that no row has is missing throughout."""
        return _Columns(self)


def _size_of_column(column: NDArray[Any]) -> int:
    texts = sum(len(value) for value in column if isinstance(value, str)) if column.dtype == object else 0
    return column.nbytes + texts


class _Columns(Mapping[str, NDArray[Any]]):
    """Columns made when they are looked at: most slices are in no expression."""

    def __init__(self, batch: PredictionBatch) -> None:
        self._batch = batch

    def __getitem__(self, name: str) -> NDArray[Any]:
        batch = self._batch
        if name in batch.slices:
            return batch.slices[name].texts()
        if name in batch.values:
            return batch.values[name]
        if batch.kinds[name] == "string":
            return np.full(len(batch), None, dtype=np.object_)
        return np.full(len(batch), np.nan)

    def __iter__(self) -> Iterator[str]:
        return iter(self._batch.kinds)

    def __len__(self) -> int:
        return len(self._batch.kinds)
