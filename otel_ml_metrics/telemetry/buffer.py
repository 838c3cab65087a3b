"""The bounded buffer between the threads that record and the one that drains."""

from __future__ import annotations

import threading
from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING

from otel_ml_metrics.batch import PredictionBatch, Row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_ml_metrics.reading import RowSchema

Item = Row | PredictionBatch


class RecordBuffer:
    """Rows and batches in the order in which they came; appending a row takes no lock.

    Args:
        capacity: Rows that it holds; threads that append at the same instant may exceed it by one row each.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.clear()

    def clear(self) -> None:
        """Start anew in a forked child: what the parent buffered, the parent drains."""
        self._items: deque[Item] = deque()
        self._rows_in_batches = 0  # beyond one each, which the length counts
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
        self._items.append(row)
        return filled + 1

    def append_batch(self, batch: PredictionBatch) -> int:
        """Take a batch of at least one row, if there is room for all of it; the result is as that of `append`."""
        with self._lock:
            filled = len(self)
            if filled + len(batch) > self.capacity:
                return 0
            self._rows_in_batches += len(batch) - 1
            self._items.append(batch)
            return filled + len(batch)

    def take(self) -> list[Item]:
        """Take everything out that stands in it now."""
        items = [self._items.popleft() for _ in range(len(self._items))]
        with self._lock:
            self._rows_in_batches -= sum(len(item) - 1 for item in items if isinstance(item, PredictionBatch))
        return items

    def usage(self) -> float:
        """Filled share, from 0 to 1."""
        return min(1.0, len(self) / self.capacity) if self.capacity else 0.0


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
        rows = [item for item in run if isinstance(item, Row)]
        try:
            batches.append(schema.read_rows(rows))
        except Exception:  # noqa: BLE001  # one hostile row must not take the others with it
            for row in rows:
                try:
                    batches.append(schema.read_rows([row]))
                except Exception as error:  # noqa: BLE001  # this one
                    failures.append(error)
    return batches, failures
