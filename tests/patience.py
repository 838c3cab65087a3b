"""Waiting for what is about to happen elsewhere, and never for longer than told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

POLL: Final = 0.02
T = TypeVar("T")


def eventually(ask: Callable[[], T | None], *, within: float = 60.0, poll: float = POLL) -> T:
    """Ask again and again until the answer is true in the sense of `bool`; fails after `within` seconds."""
    deadline = time.monotonic() + within
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"no answer within {within:g} s, the last was {answer!r}"
        time.sleep(poll)
    return answer
