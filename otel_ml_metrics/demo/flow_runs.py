"""Flow runs for a process that must not import Prefect: another one loads the flow by its entrypoint and runs it."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any, Final, Self

from otel_ml_metrics.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

ENTRYPOINT: Final = "otel_ml_metrics.flows.evaluate_labels.evaluate_labels"
START_SECONDS: Final = 120.0
RUN_SECONDS: Final = 120.0
STOP_SECONDS: Final = 15.0


@dataclass(frozen=True)
class FlowRun:
    """How one run of a flow went.

    Args:
        name: Of the run, as Prefect's UI shows it.
        state: Name of its final state.
        ok: Whether that is a completed one.
        message: Of the state.
    """

    name: str
    state: str
    ok: bool
    message: str


class FlowRuns:
    """Runs one flow again and again against an API of Prefect that lives as long as the block, on the loopback.

    Starting that API takes ten to twenty seconds, so start early and do something else: only `run` waits for it.

    Args:
        home: Folder for Prefect's database and settings; those of the user are not touched.
        log: File for what Prefect logs.
        environ: Environment of the flow; settings of Prefect in it are left out.
        entrypoint: Module path of the flow.

    Raises:
        MissingExtraError: Prefect is not installed.
    """

    def __init__(self, home: Path, *, log: Path, environ: Mapping[str, str], entrypoint: str = ENTRYPOINT) -> None:
        if find_spec("prefect") is None:
            raise MissingExtraError(package="prefect", extra="demo", purpose="Running the flow")
        self._log = log
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ready = False
        with log.open("ab") as logged:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "otel_ml_metrics.flows.sequence", entrypoint],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=logged,
                env=_private(environ, home),
                text=True,
            )
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    def wait_until_ready(self) -> None:
        """Wait until Prefect's API answers, for at most two minutes.

        Raises:
            RuntimeError: It did not start; its log says why.
        """
        if not self._ready:
            self._answer(START_SECONDS)
            self._ready = True

    def run(self, **parameters: Any) -> FlowRun:  # noqa: ANN401 - what the flow takes
        """Run the flow once and wait for its end.

        Args:
            parameters: Of the flow, as plain values that JSON can carry.

        Raises:
            RuntimeError: The process ended, or did not answer in time; a failed run is an answer.
        """
        self.wait_until_ready()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # the process is gone: the answer says so
                self._process.stdin.write(json.dumps(parameters) + "\n")
                self._process.stdin.flush()
        return FlowRun(**self._answer(RUN_SECONDS))

    def close(self) -> None:
        """End the process, and with it Prefect's API; one that is still busy is interrupted."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        if not self._ended() and not self._ended(signal.SIGINT):
            self._process.kill()
            self._process.wait()

    def _ended(self, signal_first: signal.Signals | None = None) -> bool:
        if signal_first is not None:
            self._process.send_signal(signal_first)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.send_signal(signal.SIGINT)
        self.close()

    def _listen(self, lines: IO[str] | None) -> None:
        for line in lines or ():
            self._lines.put(line)
        self._lines.put("")

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            message = f"Prefect did not answer within {seconds:g} s. Its log: {self._log}"
            raise RuntimeError(message) from None
        if not line:
            message = f"Prefect's process ended with exit code {self._process.wait()}. Its log: {self._log}"
            raise RuntimeError(message)
        answer: dict[str, Any] = json.loads(line)
        return answer


def _private(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """Environment in which Prefect keeps to itself: own folder, own API, nothing sent home, few words."""
    inherited = {name: value for name, value in environ.items() if not name.startswith("PREFECT_")}
    return inherited | {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(home),
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": f"{START_SECONDS:.0f}",  # 20 are too few on a busy machine
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    }
