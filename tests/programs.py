"""Programs that run beside a test and end with it."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CHECKOUT: Final = Path(__file__).resolve().parents[1]
PATIENCE: Final = 20.0
"""Seconds that a program has to end once it is interrupted."""


@contextmanager
def running(
    command: Sequence[str], *, environ: Mapping[str, str], log: Path, folder: Path = CHECKOUT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in the background and end it, with all that it started, at the end of the block."""
    with log.open("ab") as written:
        process = subprocess.Popen(
            command, env=environ, stdout=written, stderr=written, cwd=folder, start_new_session=True
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
