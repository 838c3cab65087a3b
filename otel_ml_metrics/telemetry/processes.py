"""What happens to every monitor of a process when it forks or ends."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from otel_ml_metrics.telemetry.instruments import (
    clear_after_fork,
    providers_that_counted,
    rest_before_fork,
    resume_after_fork,
)

if TYPE_CHECKING:
    from multiprocessing.util import Finalize

    from opentelemetry.metrics import MeterProvider

    from otel_ml_metrics.telemetry.drain import Drain

EXIT_TIMEOUT: Final = 5.0


class Recorder(Protocol):
    """A monitor, as its process sees it."""

    @property
    def meter_provider(self) -> MeterProvider | None:
        """Where its metrics go."""
        ...

    def force_flush(self, timeout: float = ...) -> bool:
        """Drain what was recorded."""
        ...

    def before_fork(self) -> None:
        """Come to rest: what another thread holds at the fork, the child never gets."""
        ...

    def after_fork(self, *, in_child: bool) -> None:
        """Go on in the parent; start anew in the child."""
        ...


class Recorders:
    """The monitors of this process, and their drains, which may outlive them for a moment."""

    def __init__(self) -> None:
        self._living: weakref.WeakSet[Recorder] = weakref.WeakSet()
        self._drains: weakref.WeakSet[Drain] = weakref.WeakSet()
        self._hooked = False
        self._knows_children = False
        self._finalizer: Finalize | None = None

    def add(self, recorder: Recorder, drain: Drain) -> None:
        """Look after a monitor as long as it lives."""
        self._living.add(recorder)
        self._drains.add(drain)
        # Hooks run newest first. The client of an object store, imported for this monitor, ends with a hook of its own.
        atexit.unregister(self.flush)
        atexit.register(self.flush)
        if not self._hooked:  # not on import: that does nothing
            self._hooked = True
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(
                    before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._in_child
                )
        self._end_with_multiprocessing()

    def living(self) -> list[Recorder]:
        """Those that are not garbage."""
        return list(self._living)

    def flush(self, timeout: float = EXIT_TIMEOUT) -> None:
        """Drain what every monitor recorded, also one that is garbage by now, within a bounded time."""
        deadline = time.monotonic() + timeout
        for drain in list(self._drains):
            drain.flush(max(0.0, deadline - time.monotonic()))

    def export(self, timeout: float = EXIT_TIMEOUT) -> None:
        """Drain what every monitor recorded, and let their meter providers export it, within a bounded time.

        A process that counted nothing, such as a child that only reads data, exports nothing.
        """
        deadline = time.monotonic() + timeout
        self.flush(timeout)
        providers = providers_that_counted()
        threads = [threading.Thread(target=_force_flush, args=(each,), daemon=True) for each in providers]
        for thread in threads:
            thread.start()
        for thread in threads:  # an exporter that cannot reach its receiver tries for longer than it is told
            thread.join(max(0.0, deadline - time.monotonic()))

    def _before_fork(self) -> None:
        rest_before_fork()
        for recorder in self.living():
            recorder.before_fork()

    def _after_fork(self) -> None:
        for recorder in self.living():
            recorder.after_fork(in_child=False)
        resume_after_fork()

    def _in_child(self) -> None:
        clear_after_fork()
        self._drains.clear()
        for recorder in self.living():
            recorder.after_fork(in_child=True)
        resume_after_fork()

    def _end_with_multiprocessing(self) -> None:
        """Export at the end of its children too: unless they are spawned, they leave without atexit."""
        util, process = (sys.modules.get(f"multiprocessing.{name}") for name in ("util", "process"))
        if util is None or process is None:
            return
        if not self._knows_children:  # a child forgets the finalizers of its parent, and then calls this
            self._knows_children = True
            util.register_after_fork(self, Recorders._finalize)
        if process.parent_process() is not None:
            self._finalize()

    def _finalize(self) -> None:
        if self._finalizer is None or not self._finalizer.still_active():
            self._finalizer = sys.modules["multiprocessing.util"].Finalize(None, self.export, exitpriority=100)


def _force_flush(provider: object) -> None:
    force_flush = getattr(provider, "force_flush", None)  # the API alone has none
    with suppress(Exception):  # it says itself what went wrong
        if force_flush is not None:
            force_flush(EXIT_TIMEOUT * 1e3)


recorders: Final = Recorders()
