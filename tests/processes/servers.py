"""Servers with several workers, the clients that ask them, and what has arrived of what they recorded."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection
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

    from otel_ml_metrics.telemetry.received import ReceivedPoint
    from otel_ml_metrics.telemetry.receiver import Receiver

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

    def load(self, each: int) -> None:
        """Let several clients ask at once, until every worker has answered so many times and is asked no more."""
        answered: Counter[int] = Counter()

        def ask() -> None:
            while len(answered) < WORKERS or min(answered.values()) < each:
                found = self.ask("/predict")
                self.answers.append(found)
                answered[found.process] += 1

        with ThreadPoolExecutor(CLIENTS) as pool:
            for done in [pool.submit(ask) for _ in range(CLIENTS)]:
                done.result(END)

    def end(self, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """Tell the server to end, and wait until it has."""
        self.process.send_signal(with_signal)
        self.process.wait(END)

    @property
    def recorded(self) -> dict[int, int]:
        """How many predictions each worker recorded."""
        return dict(Counter(answer.process for answer in self.answers))

    @property
    def ids(self) -> list[str]:
        """Every prediction that a client was told of."""
        return [each for answer in self.answers for each in answer.ids]


@contextmanager
def serving(command: Sequence[str], receiver: Receiver, folder: Path, **variables: str) -> Iterator[Server]:
    """Run a server, whose metrics go to a receiver and whose log is in a folder, from its first answer on."""
    environ = {**os.environ, **receiver.environment, LOG: str(folder / "log"), **variables}
    environ["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
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


def exported(receiver: Receiver, metric: str) -> list[int]:
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
