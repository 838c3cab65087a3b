"""From `otel-ml-metrics init` to the first finished scheduled run: the commands of docs/getting-started.md, timed.

    python benchmarks/init_to_run.py [--within SECONDS] [--collector URL] [--database URL] [--ledger URL]
        [--login USER:PASSWORD]

Runs every command of the page in a fresh folder with a Prefect of its own, but for `pip install`: the environment that
runs this script is the one that is tried. Ports are free ones of 127.0.0.1; without --collector a receiver in this
process takes its place. Exit code 1: a command failed, or the first scheduled run did not complete in time.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from otel_ml_metrics.semconv import SCOPE_LAGGING
from otel_ml_metrics.telemetry.receiver import Receiver

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.programs import running  # noqa: E402 - a script does not see the checkout by itself

PAGE: Final = ROOT / "docs" / "getting-started.md"
SERVERS: Final = ("prefect server", "python -m otel_ml_metrics.flows.serve")
"""Commands that go on until they are interrupted."""

POLL: Final = 0.5


def commands(page: str) -> list[str]:
    """Every command of the page's shell blocks, in their order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


class FirstRun:
    """One walk through the page.

    Args:
        home: A fresh folder.
        collector: URL of OTLP over HTTP.
        within: Seconds for everything.
        database: SQLAlchemy URL of Prefect's database; None for its own SQLite file.
        ledger: SQLAlchemy URL of the ledger; None for the file that the project names.
        login: `user:password` that Prefect asks for; None for a Prefect that anybody may use.
    """

    def __init__(
        self,
        home: Path,
        collector: str,
        *,
        within: float,
        database: str | None = None,
        ledger: str | None = None,
        login: str | None = None,
    ) -> None:
        self._started = time.monotonic()
        self._deadline = self._started + within
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        self._ports = {"4200": port, "4318": collector.rpartition(":")[2]}
        self._ledger = ledger
        self._folder = home
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "OTEL_"))}
        self._environ = inherited | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "DO_NOT_TRACK": "1",
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_SERVER_API_PORT": port,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        if database is not None:
            self._environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
        self._headers = {"Content-Type": "application/json"}
        if login is not None:
            self._environ |= {"PREFECT_SERVER_API_AUTH_STRING": login, "PREFECT_API_AUTH_STRING": login}
            self._headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        self._log = home / "servers.log"

    def walk(self, page: str) -> None:
        """Run the commands; servers go on in the background until all is done."""
        with ExitStack() as servers:
            for command in commands(page):
                if command.startswith("pip install"):
                    continue
                if command.startswith("export "):
                    name, _, value = command.removeprefix("export ").partition("=")
                    self._environ[name] = self._moved(value)
                elif command.startswith("cd "):
                    self._folder /= command.removeprefix("cd ")
                elif command.startswith(SERVERS):
                    words = shlex.split(command)
                    servers.enter_context(running(words, environ=self._environ, log=self._log, folder=self._folder))
                    self._await(command)
                else:
                    self._run(command)
                self._tell(command)

    def _moved(self, text: str) -> str:
        """A text with the ports of the page replaced by free ones."""
        return re.sub("|".join(self._ports), lambda port: self._ports[port[0]], text)

    def _run(self, command: str) -> None:
        subprocess.run(shlex.split(command), cwd=self._folder, env=self._environ, check=True)
        if self._ledger is not None and " init " in command:
            settings = self._folder / command.split()[2] / "monitoring.yaml"
            known = settings.read_text(encoding="utf-8")
            settings.write_text(known.replace("sqlite:///data/ledger.db", self._ledger), encoding="utf-8")

    def _await(self, command: str) -> None:
        """Wait until a server has done what the page says of it."""
        done = self._answers if command.startswith("prefect server") else self._has_run
        while not done():
            if time.monotonic() > self._deadline:
                sys.exit(f"Not in time: {command}\n{self._log.read_text(encoding='utf-8')[-3000:]}")
            time.sleep(POLL)

    def _answers(self) -> bool:
        return self._ask("health") is not None

    def _has_run(self) -> bool:
        """Whether a run of the schedule has completed; one that fails ends everything."""
        ended = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}
        asked = {"flow_runs": ended, "flows": {"name": {"any_": ["evaluate-labels"]}}}
        runs = [run for run in self._ask("flow_runs/filter", asked) or [] if run["auto_scheduled"]]
        for run in runs:
            if run["state"]["type"] != "COMPLETED":
                sys.exit(f"{run['name']} is {run['state']['name']}: {run['state']['message']}")
        return bool(runs)

    def _ask(self, path: str, content: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - whatever JSON says
        body = None if content is None else json.dumps(content).encode()
        url = f"http://127.0.0.1:{self._ports['4200']}/api/{path}"
        request = urllib.request.Request(url, data=body, headers=self._headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - the same
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

    def _tell(self, command: str) -> None:
        print(f"{time.monotonic() - self._started:7.1f} s  {command}", flush=True)


def main() -> None:
    """Walk through the page, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--within", type=float, default=300, help="seconds for everything (default: 300)")
    parser.add_argument("--collector", help="URL of OTLP over HTTP on 127.0.0.1")
    parser.add_argument("--database", help="SQLAlchemy URL of an empty database for Prefect")
    parser.add_argument("--ledger", help="SQLAlchemy URL of an empty database for the ledger")
    parser.add_argument("--login", metavar="USER:PASSWORD", help="that Prefect asks for (default: it asks for none)")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, Receiver() as receiver:
        first = FirstRun(
            Path(home),
            given.collector or receiver.endpoint,
            within=given.within,
            database=given.database,
            ledger=given.ledger,
            login=given.login,
        )
        first.walk(PAGE.read_text(encoding="utf-8"))
        lagging = [point for point in receiver.points if point.scope == SCOPE_LAGGING]
    seconds = time.monotonic() - started
    print(f"{seconds:.0f} s from init to a finished scheduled run, at most {given.within:g} s")
    if seconds > given.within or not (lagging or given.collector):
        sys.exit(1)


if __name__ == "__main__":
    main()
