"""Servers with several workers, the clients that ask them, and what has arrived of what they recorded."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow.parquet as pq

from otel_ml_metrics.prediction_log.layout import SEGMENT_PATTERN
from tests.patience import eventually
from tests.processes.served import LOG
from tests.programs import CHECKOUT, running

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from otel_ml_metrics.telemetry.grpc_receiver import GrpcReceiver
    from otel_ml_metrics.telemetry.received import ReceivedPoint
    from otel_ml_metrics.telemetry.receiver import Receiver, Record

WORKERS: Final = 2
CLIENTS: Final = 4
END: Final = 120.0
"""Seconds that a server has to end: many times what it takes, so that only one that hangs fails."""

GUNICORN: Final = ("-m", "gunicorn", "tests.processes.wsgi:make()", "--workers", str(WORKERS), "--bind", "unix:{0}")
UVICORN: Final = (
    "-m",
    "uvicorn",
    "tests.processes.asgi:make",
    "--factory",
    "--workers",
    str(WORKERS),
    "--uds",
    "{0}",
)


class _Connection(HTTPConnection):
    """A connection to a socket that has a name and no port."""

    def __init__(self, name: str) -> None:
        super().__init__("server", timeout=END)
        self._name = name

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._name)


class Answer(NamedTuple):
    """Who answered, and with which predictions."""

    process: int
    ids: tuple[str, ...]


@dataclass
class Server:
    """A server that runs.

    Args:
        process: Its first process, which starts and ends the others.
        listens_at: Name of its socket.
        answers: What it answered to those who asked it to predict.
    """

    process: subprocess.Popen[bytes]
    listens_at: str
    answers: list[Answer] = field(default_factory=list)

    def ask(self, path: str) -> Answer:
        """Ask on a connection of its own, so that any of the workers may answer."""
        with closing(_Connection(self.listens_at)) as connection:
            connection.request("POST", path)
            response = connection.getresponse()
            said = json.loads(response.read())
        assert response.status == HTTPStatus.OK, said
        return Answer(said["process"], tuple(said["ids"]))

    def load(self, each: int, *, doomed: int = 0) -> None:
        """Let several clients ask at once, until so many workers as there should be have answered so many times.

        Args:
            each: Answers of each worker.
            doomed: A worker that is killed meanwhile: it is not one of them, and its connections may break.
        """
        answered: Counter[int] = Counter()

        def ask() -> None:
            while len(answered) < WORKERS or min(answered.values()) < each:
                try:
                    found = self.ask("/predict")
                except (OSError, HTTPException):
                    if not doomed:
                        raise
                    continue
                self.answers.append(found)
                if found.process != doomed:
                    answered[found.process] += 1

        with ThreadPoolExecutor(CLIENTS) as pool:
            for done in [pool.submit(ask) for _ in range(CLIENTS)]:
                done.result(END)

    def end(self) -> None:
        """Tell the server to end, as supervisors do, and wait until it has."""
        self.process.terminate()
        self.process.wait(END)

    @property
    def recorded(self) -> dict[int, int]:
        """How many predictions each worker recorded."""
        return dict(Counter(answer.process for answer in self.answers))

    @property
    def ids(self) -> list[str]:
        """Every prediction that a client was told of."""
        return [each for answer in self.answers for each in answer.ids]


def environment(receiver: Receiver | GrpcReceiver, folder: Path, **variables: str) -> dict[str, str]:
    """The environment of a program whose metrics go to a receiver and whose log is in a folder."""
    search = os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, **receiver.environment, LOG: str(folder / "log"), "PYTHONPATH": search, **variables}


@contextmanager
def serving(command: Sequence[str], receiver: Receiver, folder: Path, **variables: str) -> Iterator[Server]:
    """Run a server, whose metrics go to a receiver and whose log is in a folder, from its first answer on."""
    environ = environment(receiver, folder, **variables)
    complaints = folder / "server.log"
    with tempfile.TemporaryDirectory() as short:  # names of sockets may not be long
        name = f"{short}/socket"
        filled = [sys.executable, *(part.format(name) for part in command)]
        with running(filled, environ=environ, log=complaints) as process:
            server = Server(process, name)

            def answered() -> Answer | None:
                assert process.poll() is None, complaints.read_text(encoding="utf-8")
                try:
                    return server.ask("/ready")
                except OSError:
                    return None

            eventually(answered)
            yield server


def logged_ids(folder: Path) -> list[str]:
    """The id of each row in the log."""
    segments = sorted((folder / "log").rglob(SEGMENT_PATTERN))
    columns = [pq.read_table(segment, columns=["prediction_id"], partitioning=None) for segment in segments]
    return [str(each) for column in columns for each in column["prediction_id"].to_pylist()]


def exported(receiver: Record, metric: str) -> list[int]:
    """What each process said of a metric when it had said everything: sums, and the counts of histograms; no zeros."""
    totals: dict[Any, int] = {}
    for point in receiver.points:
        if point.metric == metric:
            instance = point.resource["service.instance.id"]
            before = 0 if point.cumulative else totals.get(instance, 0)
            totals[instance] = before + _amount(point)
    return sorted(total for total in totals.values() if total)


def _amount(point: ReceivedPoint) -> int:
    amount = point.value if point.count is None else point.count
    assert isinstance(amount, int)
    return amount
