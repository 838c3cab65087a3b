"""The bounded buffer between the threads that record and the one that drains."""

from __future__ import annotations

import sys
import threading
from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otel_ml_metrics.batch import PredictionBatch, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_ml_metrics.reading import RowSchema

Item = Row | PredictionBatch

FREE_BYTES: Final = 512
"""Bytes of texts, lists and arrays that any row may hold: with the rest of it about a kilobyte."""

_FLAT: Final = frozenset({float, bool, type(None), np.float64, np.float32, np.int64, np.bool_})
"""Kinds of values that are of one small size."""
_WORD: Final = 1 << 63


def is_light(fields: Mapping[str, Any]) -> bool:
    """Whether a row holds numbers, truth values and short texts only, as almost every row does: asked of each of them.

    What it looks at first is what there is most of: of a record this was a third, and is a fifth.
    """
    size = 0
    for value in fields.values():
        kind = type(value)
        if kind is str:
            size += len(value)
        elif kind is not float and kind not in _FLAT and not (kind is int and -_WORD < value < _WORD):
            return False
    return size <= FREE_BYTES


def large_bytes(fields: Mapping[str, Any]) -> int:
    """What the values of a row hold beyond what any row may, in bytes; 0 for an ordinary one."""
    size = 0
    for value in fields.values():
        size += len(value) if type(value) is str else 0 if type(value) in _FLAT else sys.getsizeof(value)
    return size if size > FREE_BYTES else 0


class RecordBuffer:
    """Rows and batches in the order in which they came; appending a row takes no lock.

    Args:
        capacity: Rows that it holds; threads that append at the same instant may exceed it by one row each.
        most_bytes: Bytes that batches and large rows hold together.
    """

    def __init__(self, capacity: int, most_bytes: int) -> None:
        self.capacity = capacity
        self.most_bytes = most_bytes
        self.clear()

    def clear(self) -> None:
        """Start anew in a forked child: what the parent buffered, the parent drains."""
        self._items: deque[Item] = deque()
        self._rows_in_batches = 0  # beyond one each, which the length counts
        self._bytes = 0  # of what is large
        self._lock = threading.Lock()

    def close(self) -> None:
        """Take nothing any more."""
        self.capacity = 0

    def __len__(self) -> int:
        return len(self._items) + self._rows_in_batches

    def append(self, row: Row) -> int:
        """Take a row, if there is room.

        Returns:
            Rows in the buffer; 0 if the row was not taken.
        """
        filled = len(self._items) + self._rows_in_batches
        if filled >= self.capacity:
            return 0
        if row[-1]:
            return self._append_large(row, 1, row[-1])
        self._items.append(row)
        return filled + 1

    def append_batch(self, batch: PredictionBatch) -> int:
        """Take a batch of at least one row, if there is room for all of it; the result is as that of `append`."""
        return self._append_large(batch, len(batch), batch.size)

    def _append_large(self, item: Item, rows: int, size: int) -> int:
        with self._lock:
            filled = len(self)
            if filled + rows > self.capacity or self._bytes + size > self.most_bytes:
                return 0
            self._rows_in_batches += rows - 1
            self._bytes += size
            self._items.append(item)
            return filled + rows

    def take(self) -> list[Item]:
        """Take everything out that stands in it now."""
        items = [self._items.popleft() for _ in range(len(self._items))]
        with self._lock:
            self._rows_in_batches -= sum(len(item) - 1 for item in items if isinstance(item, PredictionBatch))
            self._bytes -= sum(item.size if isinstance(item, PredictionBatch) else item[-1] for item in items)
        return items

    def usage(self) -> float:
        """Filled share, from 0 to 1, of rows or of bytes, whichever is more."""
        return min(1.0, max(len(self) / self.capacity, self._bytes / self.most_bytes)) if self.capacity else 0.0


def batches_of(items: Iterable[Item], schema: RowSchema) -> tuple[list[PredictionBatch], list[Exception]]:
    """Turn what was taken out into batches, in order; neighbouring rows become one.

    Returns:
        The batches, and what was raised by each row that could not be read: values may be objects of any kind.
    """
    batches: list[PredictionBatch] = []
    failures: list[Exception] = []
    for is_batch, run in groupby(items, key=lambda item: isinstance(item, PredictionBatch)):
        if is_batch:
            batches.extend(item for item in run if isinstance(item, PredictionBatch))
            continue
        rows = [item for item in run if isinstance(item, tuple)]
        try:
            batches.append(schema.read_rows(rows))
        except Exception:  # noqa: BLE001  # one hostile row must not take the others with it
            for row in rows:
                try:
                    batches.append(schema.read_rows([row]))
                except Exception as error:  # noqa: BLE001  # this one
                    failures.append(error)
    return batches, failures
