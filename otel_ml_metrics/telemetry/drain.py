"""The background thread of a monitor: wakes every second, or earlier when asked, and drains."""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_AGAIN: Final = 0.1


class _Ticket:
    """A wish to know when everything recorded so far is drained."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self.good = False

    def fulfil(self, *, good: bool) -> None:
        """Tell the waiting thread."""
        self.good = good
        self._done.set()

    def wait(self, timeout: float) -> bool:
        """Wait for it; whether it came in time."""
        return self._done.wait(timeout)


class Drain:
    """Runs the work of a monitor in a daemon thread, which starts with the first wake-up and ends with its owner.

    Args:
        work: Drains everything that stands in the buffer; returns whether nothing was lost. It must not raise.
        interval: Seconds between two runs.
        owner: When it is garbage, the work runs a last time and the thread ends.
    """

    def __init__(self, work: Callable[[], bool], *, interval: float, owner: object) -> None:
        self._work = work
        self._interval = interval
        self._owner = weakref.ref(owner)  # no callback: a lock taken during garbage collection may never be free
        self.clear()

    def clear(self) -> None:
        """Start anew in a forked child: threads do not survive a fork, and their locks may be held for ever."""
        self._starting = threading.Lock()  # never given back once there is a thread
        # An event would take a lock to be set; into this queue a signal handler may put, whatever it comes between.
        self._wishes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._tickets: deque[_Ticket] = deque()
        self._thread: threading.Thread | None = None
        self._stopped = False

    @property
    def running(self) -> bool:
        """Whether the thread was started."""
        return self._thread is not None

    def wake(self) -> None:
        """Make the work run soon."""
        if self._thread is None:
            self._start()
        if self._wishes.empty():
            self._wishes.put(None)

    def flush(self, timeout: float) -> bool:
        """Run the work, and wait for it at most `timeout` seconds.

        Returns:
            Whether everything that was recorded before is drained, and nothing was lost.
        """
        ticket = _Ticket()
        self._tickets.append(ticket)
        self.wake()
        deadline = time.monotonic() + timeout
        while not ticket.wait(min(_LOOK_AGAIN, max(0.0, deadline - time.monotonic()))):
            if self._thread is None or not self._thread.is_alive():  # the monitor or the interpreter shuts down
                self._run_once()
            elif time.monotonic() >= deadline:
                return False
        return ticket.good

    def stop(self, timeout: float) -> bool:
        """Flush, then end the thread; a later flush runs in the thread that asks for it."""
        good = self.flush(timeout)
        self._stopped = True
        self.wake()
        return good

    def _start(self) -> None:
        if self._thread is not None or self._stopped or not self._starting.acquire(blocking=False):
            return
        thread = threading.Thread(target=self._loop, name="otel-ml-metrics-drain", daemon=True)
        try:
            thread.start()
            self._thread = thread
        except RuntimeError:  # too late: the interpreter shuts down
            self._starting.release()

    def _loop(self) -> None:
        while not self._stopped:
            orphaned = self._owner() is None
            with suppress(queue.Empty):
                self._wishes.get(timeout=0 if orphaned else self._interval)
            self._run_once()
            if orphaned:
                return

    def _run_once(self) -> None:
        tickets = [self._tickets.popleft() for _ in range(len(self._tickets))]
        good = self._work()
        for ticket in tickets:
            ticket.fulfil(good=good)
