"""Run a statement in an interpreter of its own, and print what it did to the world and what it loaded, as JSON.

Only the environment that files of the package read counts: numpy and the OTel API read theirs when they are imported.
"""

from __future__ import annotations

import json
import os
import sys
import threading

import numpy as np  # noqa: F401  # loaded before the watch begins: a dependency's own effects are its own
import opentelemetry.metrics
import opentelemetry.trace  # noqa: F401  # the same

EFFECTS = ("os.fork", "os.posix_spawn", "os.system", "socket.", "subprocess.")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

effects: list[str] = []
before = frozenset(sys.modules)


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Note an effect. Run with -B: the compiled modules that an interpreter writes are not the package's doing."""
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & WRITING:
            effects.append(f"opened {path} for writing")
    elif event.startswith(EFFECTS):
        effects.append(event)


def asked_by_package() -> bool:
    """Whether a file of the package asked the environment, directly or through `os` and `collections.abc`."""
    frame = sys._getframe(2)  # noqa: SLF001  # no other way to see who asks
    while frame.f_back is not None and frame.f_code.co_filename.startswith(("<frozen", os.__file__)):
        frame = frame.f_back
    return f"{os.sep}otel_ml_metrics{os.sep}" in frame.f_code.co_filename or frame.f_code.co_filename == "<statement>"


class Watched(type(os.environ)):  # type: ignore[misc]  # the class has no public name
    """The environment, noting who reads it."""

    def __getitem__(self, key: str) -> str:
        if asked_by_package():
            effects.append(f"read {key} from the environment")
        value: str = super().__getitem__(key)
        return value


class WatchedThread(threading.Thread):
    """A thread that is noted when it starts: not every Python has an audit event for it."""

    def start(self) -> None:
        """Note the thread, and start it."""
        effects.append("started a thread")
        super().start()


if __name__ == "__main__":
    threading.Thread = WatchedThread  # type: ignore[misc]  # for the statement
    os.environ.__class__ = Watched
    sys.addaudithook(watch)
    exec(compile(sys.argv[1], "<statement>", "exec"), {})  # noqa: S102  # the statement is the test's own
    noted = [*effects]
    loaded = sorted(sys.modules.keys() - before)
    print(json.dumps({"effects": noted, "loaded": loaded, "threads": threading.active_count()}))  # noqa: T201  # its result
