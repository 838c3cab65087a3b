"""The real Collector and the real Prometheus, on free ports of this machine, from the configurations that users get."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).parents[2]
BUILD_TOOLS: Final = ROOT / "scripts" / "build-tools"
COLLECTOR_CONFIG: Final = ROOT / "collector-config.yaml"
COLLECTOR_OVERLAYS: Final = ROOT / "examples" / "deploy" / "collector"
PROMETHEUS_CONFIG: Final = ROOT / "examples" / "deploy" / "prometheus.yml"
# What docker-compose.yml passes to Prometheus as well.
PROMETHEUS_FLAGS: Final = ("--web.enable-otlp-receiver", "--enable-feature=exemplar-storage")

READY_SECONDS: Final = 30.0  # a start takes one or two, more on a busy machine
STOP_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.1
PROMETHEUS_PORTS: Final = 1
COLLECTOR_PORTS: Final = 3
PORT_ATTEMPTS: Final = 3  # somebody else may take a free port before we do

# Loopback never goes through a proxy, whatever the environment says.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StackError(Exception):
    """A program did not start, did not answer, or refused a question; the message has the end of its log."""


@dataclass(frozen=True)
class Tools:
    """Where the programs are."""

    otelcol: Path
    prometheus: Path
    promtool: Path

    @classmethod
    def provided(cls) -> Tools:
        """Find them, or build them once: minutes from an empty cache, at once afterwards."""
        done = subprocess.run([sys.executable, BUILD_TOOLS], check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            message = f"{BUILD_TOOLS} ended with exit code {done.returncode}; what it said stands on stderr."
            raise StackError(message)
        paths = dict(line.split("=", 1) for line in done.stdout.splitlines())
        return cls(**{name: Path(paths[name]) for name in ("otelcol", "prometheus", "promtool")})


@dataclass(frozen=True)
class Series:
    """One time series of an answer: its attributes (Prometheus says labels) and its points, oldest first."""

    attributes: Mapping[str, str]
    points: tuple[tuple[datetime, float], ...]

    @property
    def value(self) -> float:
        """The newest value."""
        return self.points[-1][1]

    @classmethod
    def from_json(cls, result: Mapping[str, Any]) -> Series:
        """Read one element of a vector or matrix."""
        points = result["values"] if "values" in result else [result["value"]]
        return cls(result["metric"], tuple((datetime.fromtimestamp(at, UTC), float(text)) for at, text in points))


@dataclass(frozen=True)
class Exemplar:
    """One value of a series with its trace."""

    value: float
    trace_id: str


@dataclass(frozen=True)
class Prometheus:
    """Questions to a running Prometheus, in PromQL."""

    url: str

    def query(self, expression: str, *, at: datetime | None = None) -> list[Series]:
        """Evaluate at one instant, by default now; a point older than five minutes then is not seen.

        Args:
            expression: PromQL that yields a vector, or a matrix such as `name[1h]` for the raw points.
            at: The instant; for a value stamped with the end of its window, that end.

        Returns:
            The series, sorted by their attributes; empty if nothing matches.

        Raises:
            StackError: Prometheus does not understand the expression.
        """
        return self._ask("query", {"query": expression} | ({"time": str(at.timestamp())} if at else {}))

    def query_range(self, expression: str, *, start: datetime, end: datetime, step: float) -> list[Series]:
        """Evaluate every `step` seconds from start to end, both included."""
        times = {"start": str(start.timestamp()), "end": str(end.timestamp()), "step": str(step)}
        return self._ask("query_range", {"query": expression} | times)

    def exemplars(self, expression: str, *, minutes: float = 10.0) -> list[Exemplar]:
        """The exemplars of the last minutes, of all series that match."""
        end = time.time()
        times = {"start": str(end - 60 * minutes), "end": str(end + 60)}
        found = self._get("query_exemplars", {"query": expression} | times)
        told = [exemplar for series in found for exemplar in series["exemplars"]]
        return [Exemplar(float(exemplar["value"]), exemplar["labels"]["trace_id"]) for exemplar in told]

    def wait_for(self, expression: str, *, at: datetime | None = None, seconds: float = 15.0) -> list[Series]:
        """Ask until there is an answer: live points stay in the Collector's batch for a second.

        Returns:
            The series, at least one.

        Raises:
            StackError: Nothing came in time; the message lists the names that Prometheus does have.
        """
        deadline = time.monotonic() + seconds
        while not (series := self.query(expression, at=at)):
            if time.monotonic() > deadline:
                message = f"No answer to {expression} in {seconds:g} s. Prometheus has: {', '.join(self.names())}."
                raise StackError(message)
            time.sleep(POLL_SECONDS)
        return series

    def names(self) -> list[str]:
        """Return the names of all metrics that were ever received, sorted."""
        return self.label_values("__name__")

    def label_values(self, label: str, selector: str = "") -> list[str]:
        """Return the values of a label, among all series or the selected ones, sorted."""
        return sorted(self._get(f"label/{label}/values", {"match[]": selector} if selector else {}))

    def label_names(self) -> list[str]:
        """Return the names of all labels, sorted."""
        return sorted(self._get("labels", {}))

    def _ask(self, path: str, parameters: Mapping[str, str]) -> list[Series]:
        series = [Series.from_json(result) for result in self._get(path, parameters)["result"]]
        return sorted(series, key=lambda one: sorted(one.attributes.items()))

    def _get(self, path: str, parameters: Mapping[str, str]) -> Any:
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with _http.open(address, timeout=READY_SECONDS) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            message = f"Prometheus answered {error.code} to {dict(parameters)}: {error.read().decode()}"
            raise StackError(message) from error


@dataclass
class Server:
    """One program that runs until its `with` block ends; its output is kept in a file."""

    name: str
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def tail(self, lines: int = 40) -> str:
        """Return the end of what the program said."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until_ready(self, address: str) -> bool:
        """Poll until the address answers 200; False if the program ended first.

        Raises:
            StackError: It runs, but is not ready in time.
        """
        deadline = time.monotonic() + READY_SECONDS
        while self.process.poll() is None:
            with contextlib.suppress(OSError), _http.open(address, timeout=1):
                return self.process.poll() is None
            if time.monotonic() > deadline:
                message = f"{self.name} is not ready after {READY_SECONDS:g} s. {self.log}:\n{self.tail()}"
                raise StackError(message)
            time.sleep(POLL_SECONDS)
        return False

    def kill(self) -> None:
        """End this one process at once, as a machine does that loses its power."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End this one process: politely, then not."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass(frozen=True)
class Stack:
    """Both programs, ready: send OTLP to the Collector, ask Prometheus."""

    otlp_grpc: str
    otlp_http: str
    prometheus: Prometheus
    servers: tuple[Server, ...]

    def logs(self) -> str:
        """Return the end of each program's log, for a failure's report."""
        return "\n".join(f"--- {server.name} ({server.log})\n{server.tail()}" for server in self.servers)


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nobody listens on, all different."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@dataclass(frozen=True)
class Launch:
    """How to start a program, and where it says that it is ready."""

    arguments: tuple[str | Path, ...]
    settings: Mapping[str, str]
    health: str


@contextlib.contextmanager
def _server(
    name: str, folder: Path, ports: int | Sequence[int], launch: Callable[[Sequence[int]], Launch]
) -> Iterator[tuple[Server, Sequence[int]]]:
    """Start a program on these ports, or on so many free ones, and stop it in the end."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    log = folder / f"{name}.log"
    for attempts_left in reversed(range(PORT_ATTEMPTS)):
        chosen = free_ports(ports) if isinstance(ports, int) else ports
        start = launch(chosen)
        with log.open("ab") as output:
            process = subprocess.Popen(
                start.arguments,
                cwd=folder,
                env={**inherited, **start.settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        server = Server(name, log, process)
        try:
            if server.wait_until_ready(start.health):
                yield server, chosen
                return
        finally:
            server.stop()
        if not attempts_left or "address already in use" not in server.tail():
            message = f"{name} ended with exit code {process.returncode} before it was ready. {log}:\n{server.tail()}"
            raise StackError(message)


@contextlib.contextmanager
def running_prometheus(
    program: Path, folder: Path, *, ports: int | Sequence[int] = PROMETHEUS_PORTS, flags: Sequence[str] = ()
) -> Iterator[tuple[Server, Prometheus]]:
    """Run Prometheus with the database in `folder`, which is empty at first; on a port of before, it goes on."""

    def launch(ports: Sequence[int]) -> Launch:
        address = f"127.0.0.1:{ports[0]}"
        storage = f"--storage.tsdb.path={folder / 'prometheus'}"
        files = (f"--config.file={PROMETHEUS_CONFIG}", storage)
        settings = (*files, f"--web.listen-address={address}", *PROMETHEUS_FLAGS, *flags)
        return Launch((program, *settings), {}, f"http://{address}/-/ready")

    with _server("prometheus", folder, ports, launch) as (server, chosen):
        yield server, Prometheus(f"http://127.0.0.1:{chosen[0]}")


def collector_files(overlays: Sequence[str] = ()) -> list[str]:
    """Name to the Collector its configuration, and the files that are merged over it, by their names."""
    return [f"--config={file}" for file in (COLLECTOR_CONFIG, *(COLLECTOR_OVERLAYS / f"{o}.yaml" for o in overlays))]


@contextlib.contextmanager
def running_collector(
    program: Path,
    folder: Path,
    prometheus: str,
    *,
    overlays: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    ports: int | Sequence[int] = COLLECTOR_PORTS,
) -> Iterator[tuple[Server, str, str]]:
    """Run a Collector that sends to the Prometheus at this URL; yields the server and its gRPC and HTTP endpoints.

    Args:
        program: The Collector.
        folder: Of its log, and of the queue that it goes on with if it was there before.
        prometheus: Where Prometheus is.
        overlays: Names of files that are merged over collector-config.yaml.
        settings: Environment variables besides the addresses.
        ports: Of gRPC, HTTP and health, or how many free ones.
    """

    def launch(ports: Sequence[int]) -> Launch:
        grpc, http, health = (f"127.0.0.1:{port}" for port in ports)
        environment = {
            "COLLECTOR_OTLP_GRPC_ENDPOINT": grpc,
            "COLLECTOR_OTLP_HTTP_ENDPOINT": http,
            "COLLECTOR_HEALTH_ENDPOINT": health,
            "COLLECTOR_STORAGE": str(folder / "collector"),
            "PROMETHEUS_OTLP_ENDPOINT": f"{prometheus}/api/v1/otlp",
            "REMOTE_WRITE_ENDPOINT": f"{prometheus}/api/v1/write",
        }
        return Launch((program, *collector_files(overlays)), {**environment, **(settings or {})}, f"http://{health}")

    scheme = "https" if "secured" in overlays else "http"
    with _server("collector", folder, ports, launch) as (server, chosen):
        grpc, http, _ = (f"{scheme}://127.0.0.1:{port}" for port in chosen)
        yield server, grpc, http


@contextlib.contextmanager
def running_stack(tools: Tools, folder: Path) -> Iterator[Stack]:
    """Run both until the block ends; logs and data stay in `folder`."""
    with (
        running_prometheus(tools.prometheus, folder) as (database, prometheus),
        running_collector(tools.otelcol, folder, prometheus.url) as (collector, grpc, http),
    ):
        yield Stack(otlp_grpc=grpc, otlp_http=http, prometheus=prometheus, servers=(collector, database))
