"""What went wrong without reaching the caller: counted by reason, logged once a minute at most, or raised in tests."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_ml_metrics.batch import Fault, Reason

LOG_INTERVAL: Final = 60.0
_SHOWN: Final = 5
_logger: Final = logging.getLogger("otel_ml_metrics")


class FaultLog:
    """Counts the faults of one monitor.

    Args:
        who: The monitor, for the message.
        tally: Counts a fault in `ml.monitor.faults`.
        raising: Raise the first fault of a batch instead, after counting.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        who: str,
        tally: Callable[[str, int], None],
        *,
        raising: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.raising = raising
        self._who = who
        self._tally = tally
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Start anew in a forked child."""
        self._lock = threading.RLock()  # a signal handler may record in the thread that holds it
        self._seen: defaultdict[str, int] = defaultdict(int)
        self._told: dict[str, str] = {}
        self._due_at = -LOG_INTERVAL

    def report(self, faults: Iterable[Fault]) -> None:
        """Count faults.

        Raises:
            OtelMLMetricsError: The first of them, where faults are raised.
        """
        faults = list(faults)
        for fault in faults:
            self.count(fault.reason, fault.count, str(fault.error))
        if faults and self.raising:
            raise faults[0].error

    def count(self, reason: Reason, count: int, message: str = "") -> None:
        """Count a fault that is never raised; without a message it is not logged either."""
        if not count:
            return
        self._tally(reason, count)
        if message:
            self.mention(reason, count, message)

    def mention(self, reason: str, count: int, message: str) -> None:
        """Log something with the next report that is counted elsewhere."""
        with self._lock:
            self._seen[reason] += count
            self._told.setdefault(reason, message)

    def log_when_due(self) -> None:
        """Log what was counted since the last time, if that is a minute ago; called where a slow log does no harm."""
        with self._lock:
            if not self._seen or self._clock() < self._due_at:
                return
            self._due_at = self._clock() + LOG_INTERVAL
            seen, self._seen = self._seen, defaultdict(int)
            told, self._told = self._told, {}
        shown = "; ".join(f"{reason} x{count}: {told[reason]}" for reason, count in list(seen.items())[:_SHOWN])
        _logger.warning("%s: %d faults since the last report. %s", self._who, sum(seen.values()), shown)
