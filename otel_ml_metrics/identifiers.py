"""Ids of predictions: UUIDv7 whose 48 bits are the prediction's own instant in milliseconds, replays included.

Behind the instant stand 26 bits that count up, so ids of one millisecond sort in the order in which they were made, and
a lane of 48 bits. Lanes start at random in every process and each batch takes one of its own, so ids differ without
coordination.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, overload

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEQUENCE_BITS: Final = 26
LANE_BITS: Final = 48
_LANE_MASK: Final = (1 << LANE_BITS) - 1
_CHUNK: Final = 4096
_HEX_PAIRS: Final = np.frombuffer(bytes(range(256)).hex().encode(), dtype=np.uint16)
_TRIPLES: Final = [f"{number:03x}" for number in range(1 << 12)]
_VARIANTS: Final = "89ab"
_LAST_BYTES: Final = [f"{number:02x}-7" for number in range(1 << 8)]
_STAMP_US: Final = 256_000  # how long all of an instant but its last byte stays the same
_BLOCKS: Final = (1 << SEQUENCE_BITS) // len(_TRIPLES)
_GROUPS: Final = ((0, 8), (9, 13), (14, 18), (19, 23), (24, 36))


class IdSource:
    """Makes the ids of one process; safe to share between threads.

    >>> source = IdSource()
    >>> first, second = source.next_id(1_364_774_400_000_000), source.next_id(1_364_774_400_000_999)
    >>> first < second, instant_ms(first)
    (True, 1364774400000)
    """

    def __init__(self) -> None:
        self._lanes = itertools.count(int.from_bytes(os.urandom(8)) % (1 << LANE_BITS))
        self._stamp = _stamped(0)
        self._blocks: Iterator[tuple[str, int]] = iter(())
        self._block = self._open_block()

    def next_id(self, predicted_at: int) -> str:
        """Make the id of one prediction.

        Args:
            predicted_at: Microseconds of Unix time, at least 0 and below 2^48 milliseconds.
        """
        since, stamp = self._stamp
        if not 0 <= (passed := predicted_at - since) < _STAMP_US:
            since, stamp = self._stamp = _stamped(predicted_at)
            passed = predicted_at - since
        before, triples, lane = self._block
        triple = next(triples, None)
        if triple is None:
            self._block = self._open_block()
            return self.next_id(predicted_at)
        return f"{stamp}{_LAST_BYTES[passed // 1000]}{before}{triple}{lane}"

    def take_lane(self) -> int:
        """Reserve a lane for the ids of one batch."""
        return next(self._lanes) & _LANE_MASK

    def _open_block(self) -> tuple[str, Iterator[str], str]:
        """What goes before the next numbers, the numbers, and what goes behind.

        No two threads get the same ones, and no signal handler those of the thread that it interrupts: a block is taken
        in one step together with its lane, and who finds none left opens a lane of its own.
        """
        found = next(self._blocks, None)
        if found is None:
            blocks = zip(itertools.repeat(f"-{self.take_lane():012x}"), range(_BLOCKS), strict=False)
            found = next(blocks)
            self._blocks = blocks
        lane, block = found
        return f"{block >> 2:03x}-{_VARIANTS[block & 3]}", iter(_TRIPLES), lane


def _stamped(predicted_at: int) -> tuple[int, str]:
    """From when on instants begin an id in this way, and how."""
    number = predicted_at // _STAMP_US
    digits = f"{number:010x}"
    return number * _STAMP_US, f"{digits[:8]}-{digits[8:]}"


class PredictionIds(Sequence[str]):
    """The ids of one batch, made only when they are looked at: a million texts cost more than a million predictions.

    Args:
        predicted_at: Shape (n,), microseconds of Unix time; what is below 0, such as `NO_INSTANT`, counts as 0.
        lane: The batch's own lane.
    """

    def __init__(self, predicted_at: NDArray[np.int64], lane: int) -> None:
        self._predicted_at = predicted_at
        self._lane = lane

    def __len__(self) -> int:
        return len(self._predicted_at)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        rows = np.arange(len(self))[index]
        return self._texts(np.atleast_1d(rows))[0] if isinstance(index, int) else self._texts(rows)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _CHUNK):
            yield from self._texts(np.arange(start, min(start + _CHUNK, len(self))))

    def __repr__(self) -> str:
        return f"<{len(self)} prediction ids>"

    def characters(self) -> NDArray[np.uint8]:
        """All ids as ASCII, shape (n, 36)."""
        return self._characters(np.arange(len(self)))

    def _texts(self, rows: NDArray[np.int64]) -> list[str]:
        texts: list[str] = self._characters(rows).view("S36").ravel().astype(str).tolist()
        return texts

    def _characters(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        milliseconds = (np.maximum(self._predicted_at[rows], 0) // 1000).astype(np.uint64)
        sequence = rows.astype(np.uint64)
        tail = (np.uint64(self._lane) + ((sequence >> SEQUENCE_BITS) << 40)) & np.uint64(_LANE_MASK)
        halves = np.empty((len(rows), 2), dtype=">u8")
        halves[:, 0] = (milliseconds << 16) | np.uint64(0x7000) | ((sequence >> 14) & np.uint64(0xFFF))
        halves[:, 1] = ((np.uint64(0x8000) | (sequence & np.uint64(0x3FFF))) << 48) | tail
        characters = np.full((len(rows), 36), ord("-"), dtype=np.uint8)
        digits = _HEX_PAIRS[halves.view(np.uint8)].view(np.uint8)
        for dashes, (start, end) in enumerate(_GROUPS):
            characters[:, start:end] = digits[:, start - dashes : end - dashes]
        return characters


def instant_ms(prediction_id: str) -> int | None:
    """Milliseconds of Unix time that an id of ours carries; None for an id of another form.

    >>> instant_ms("order-17") is None
    True
    """
    digits = prediction_id.replace("-", "")
    if len(prediction_id) != 36 or len(digits) != 32 or digits[12] != "7":  # the form of a UUIDv7  # noqa: PLR2004  # the form of a UUID
        return None
    try:
        return int(digits[:12], 16)
    except ValueError:
        return None
