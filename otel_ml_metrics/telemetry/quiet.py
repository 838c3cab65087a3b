"""Keeps an exporter's log lines to itself while its result is checked anyway."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def quiet(logger: str) -> Iterator[None]:
    """Drop what this thread logs to `logger`; other threads, and the application's own exporters in them, are heard."""
    thread = threading.get_ident()
    target = logging.getLogger(logger)

    def is_of_others(record: logging.LogRecord) -> bool:
        return record.thread != thread

    target.addFilter(is_of_others)
    try:
        yield
    finally:
        target.removeFilter(is_of_others)
