"""The bounded buffer between the threads that record and the one that drains."""

from __future__ import annotations

import sys
import threading
from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from otel_ml_metrics.batch import PredictionBatch, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_ml_metrics.reading import RowSchema

Item = Row | PredictionBatch

ROW_BYTES: Final = 1024
"""What an ordinary row is taken to hold; six short fields take two thirds of it."""
_FREE_TEXT: Final = 512
"""Characters that an ordinary row may hold."""
_FREE_BYTES: Final = 768
"""Bytes of fields that an ordinary row may hold: its id, instant and tuple take the rest of a kilobyte."""
_MANY: Final = 20
"""Fields beyond which a row is measured: each takes a hundred bytes, whatever is in it."""

_PORTIONS: Final = 8
"""In how many portions a full buffer is worked off: columns and log files of all at once would take its bytes again."""
_LEAST_PORTION: Final = 1_024
"""Rows that are taken at once if they are small: a segment of a few rows costs as much as one of a thousand."""

_FLAT: Final = frozenset({float, bool, type(None), np.float64, np.float32, np.int64, np.bool_})
"""Kinds of values that are of one small size."""
_WORD: Final = 1 << 63


def is_light(fields: Mapping[str, Any]) -> bool:
    """Whether a row holds numbers, truth values and short texts only, as almost every row does: asked of each of them.

    What it looks at first is what there is most of: of a record this was a third, and is a fifth.
    """
    if len(fields) > _MANY:
        return False
    size = 0
    for value in fields.values():
        kind = type(value)
        if kind is str:
            size += len(value)
        elif kind is not float and kind not in _FLAT and not (kind is int and -_WORD < value < _WORD):
            return False
    return size <= _FREE_TEXT


def large_bytes(fields: Mapping[str, Any]) -> int:
    """What the fields of a row hold, in bytes; 0 for an ordinary row, which is taken to hold `ROW_BYTES`."""
    values = fields.values()
    scores = sum(sum(map(sys.getsizeof, value)) for value in values if isinstance(value, list))
    size = sys.getsizeof(fields) + sum(map(sys.getsizeof, values)) + scores
    return size if size > _FREE_BYTES else 0


class RecordBuffer:
    """Rows and batches in the order in which they came; appending an ordinary row takes no lock.

    What was taken out counts until it is let go: it is in memory as long as it is worked off.

    Args:
        capacity: Rows that it holds; threads that append at the same instant may exceed it by one row each.
        most_bytes: Bytes that it holds, of which each row and each batch takes `ROW_BYTES` and what is large in it.
    """

    def __init__(self, capacity: int, most_bytes: int) -> None:
        self.capacity = max(1, min(capacity, most_bytes // ROW_BYTES))
        self.most_bytes = most_bytes
        self._half = max(1, self.capacity // 2)
        self.clear()

    def clear(self) -> None:
        """Start anew in a forked child: what the parent buffered, the parent drains."""
        self._items: deque[Item] = deque()
        self._rows_in_batches = 0  # beyond one each, which the length counts
        self._bytes = 0  # of what is large
        self._taken, self._taken_rows, self._taken_bytes = 0, 0, 0  # of the above, what is worked off
        self._alarm = 1  # rows at which the drain must be told; the first one starts it
        self._lock = threading.RLock()  # a signal handler or a finalizer may record in the thread that holds it
        self._make_room()

    def close(self) -> None:
        """Take nothing any more."""
        with self._lock:
            self.capacity = 0
            self._make_room()

    def __len__(self) -> int:
        return len(self._items) + self._taken + self._rows_in_batches

    def append(self, row: Row) -> bool:
        """Take an ordinary row, if there is room and nobody has to be told; where not, `insist`.

        Almost every row comes this way, so it asks for nothing else.
        """
        if len(self._items) >= self._room:
            return False
        self._items.append(row)
        return True

    def insist(self, item: Item) -> bool:
        """Take a row or a batch of at least one row, if there is room for all of it."""
        rows, size = (len(item), item.size) if isinstance(item, PredictionBatch) else (1, item[-1])
        with self._lock:
            if len(self) + rows > self.capacity or self._held_bytes() + ROW_BYTES + size > self.most_bytes:
                return False
            self._rows_in_batches += rows - 1
            self._bytes += size
            self._items.append(item)
            self._make_room()
            return True

    def rings(self) -> bool:
        """Whether the drain must be told, once: of the first row, and whenever rows or bytes get half full."""
        with self._lock:
            waiting = len(self._items) + self._rows_in_batches
            if max(waiting, self._held_bytes() * self.capacity // self.most_bytes) < self._alarm:
                return False
            self._alarm = self._half if self._alarm < self._half else self.capacity + 1
            self._make_room()
            return True

    def take(self) -> list[Item]:
        """Take a portion of the oldest out, about an eighth of the bytes; they count until `let_go`.

        Rows of batches take less room here than ordinary ones, but as much as those where they are worked off.
        """
        portion = self.most_bytes // _PORTIONS
        most = max(_LEAST_PORTION, portion // ROW_BYTES)
        items: list[Item] = []
        rows = large = 0
        while self._items and len(items) + rows < most and large < portion:
            item = self._items.popleft()
            items.append(item)
            if isinstance(item, PredictionBatch):
                rows += len(item) - 1
                large += item.size
            else:
                large += item[-1]
        with self._lock:
            self._taken += len(items)
            self._taken_rows += rows
            self._taken_bytes += large
            self._alarm = self._half
            self._make_room()
        return items

    def let_go(self) -> int:
        """Count no longer what was taken out; how many rows that was."""
        with self._lock:
            rows = self._taken + self._taken_rows
            self._rows_in_batches -= self._taken_rows
            self._bytes -= self._taken_bytes
            self._taken, self._taken_rows, self._taken_bytes = 0, 0, 0
            self._make_room()
            return rows

    def usage(self) -> float:
        """Filled share, from 0 to 1, of rows or of bytes, whichever is more."""
        return min(1.0, max(len(self) / self.capacity, self._held_bytes() / self.most_bytes)) if self.capacity else 0.0

    def _held_bytes(self) -> int:
        return (len(self._items) + self._taken) * ROW_BYTES + self._bytes

    def _make_room(self) -> None:
        """Work out how many items may wait before `append` takes no more."""
        rows = self.capacity - self._rows_in_batches
        room = min(rows, (self.most_bytes - self._bytes) // ROW_BYTES) - self._taken
        self._room = min(room, self._alarm - 1 - self._rows_in_batches)


def batches_of(items: Iterable[Item], schema: RowSchema) -> tuple[list[PredictionBatch], list[Exception]]:
    """Turn what was taken out into batches, in order; neighbouring rows become one.

    Returns:
        The batches, and what was raised by each row that could not be read: values may be objects of any kind.
    """
    batches: list[PredictionBatch] = []
    failures: list[Exception] = []
    for kind, run in groupby(items, key=type):
        if kind is PredictionBatch:
            batches.extend(cast("Iterable[PredictionBatch]", run))
            continue
        rows = cast("list[Row]", list(run))
        try:
            batches.append(schema.read_rows(rows))
        except Exception:  # noqa: BLE001  # one hostile row must not take the others with it
            for row in rows:
                try:
                    batches.append(schema.read_rows([row]))
                except Exception as error:  # noqa: BLE001  # this one
                    failures.append(error)
    return batches, failures
