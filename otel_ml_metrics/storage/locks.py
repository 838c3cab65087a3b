"""Locks between the processes of one machine; each dies with the process that holds it."""

from __future__ import annotations

import fcntl
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOOK_AGAIN: Final = 0.1


@contextmanager
def file_lock(path: Path, *, patience: float = 0.0) -> Iterator[bool]:
    """Hold the lock of a file; False where another process holds it.

    Args:
        path: Of the file, which is made if it is not there.
        patience: Seconds to wait for the other process.

    Raises:
        OSError: The file cannot be made.
    """
    with path.open("w") as file:
        yield _is_taken(file, time.monotonic() + patience)


def _is_taken(file: IO[str], deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_AGAIN)  # the system's own waiting has no end that could be set
        else:
            return True
