"""Play recorded flights against the model server at full speed, and hand out the labels as they became known.

A replayed day is a day in UTC. Its flights are posted in the order of their scheduled departure, which is the instant
that their prediction is recorded under. When the day is over, the labels of all flights that landed in it become one
Parquet file, those predicted on earlier days among them: `prediction_id`, `late`, `landed_at`. What is still in the air
at the end stays without.

    flights = load_flights(date(2013, 1, 1), date(2013, 4, 15))
    models = train(flights.between(date(2013, 1, 1), date(2013, 4, 1)), seed=0)
    with serve(create_app(models, log="data/predictions", replay=True)) as server:
        for day in replay(flights, server, Path("data/labels"), since=date(2013, 4, 1), days=14):
            evaluate_as_of(day.as_of)   # everything of the day is durable in the log, and its labels lie in the folder
"""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastapi import FastAPI
    from numpy.typing import NDArray

    from otel_ml_metrics.demo.flights import Flights

START_SECONDS: Final = 20.0
REQUEST_SECONDS: Final = 30.0
FLUSH_SECONDS: Final = 10.0
PER_REQUEST: Final = 250


@dataclass(frozen=True)
class ReplayedDay:
    """A day that was played to its end.

    Args:
        day: The day, in UTC.
        as_of: Its end: the instant to evaluate as of.
        predictions: Flights that were scored.
        labels: Flights that landed, whenever they were scored.
        label_file: The file with these labels; None when nothing landed.
    """

    day: date
    as_of: datetime
    predictions: int
    labels: int
    label_file: Path | None


@dataclass(frozen=True)
class Server:
    """A running model server.

    Args:
        host: Loopback address.
        port: Where it listens.
        app: The application it runs.
    """

    host: str
    port: int
    app: FastAPI

    @property
    def url(self) -> str:
        """Root of its routes."""
        return f"http://{self.host}:{self.port}"

    def flush(self) -> None:
        """Wait until every recorded prediction is counted, and durable in the prediction log.

        Raises:
            TimeoutError: That took longer than ten seconds.
        """
        flushed = [monitor.force_flush(FLUSH_SECONDS) for monitor in self.app.state.monitors]
        if not all(flushed):
            message = f"The prediction log was not written within {FLUSH_SECONDS:g} s. Is its disk full or very slow?"
            raise TimeoutError(message)


@contextmanager
def serve(app: FastAPI) -> Iterator[Server]:
    """Run the application on a free loopback port, in a thread, for as long as the block lasts.

    Raises:
        TimeoutError: It did not start within 20 seconds.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        runner = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, ws="none"))
        thread = threading.Thread(
            target=runner.run, kwargs={"sockets": [listener]}, name="flight-delay-api", daemon=True
        )
        thread.start()
        try:
            _wait_for(runner, thread)
            yield Server(host, port, app)
        finally:
            runner.should_exit = True
            thread.join()


def replay(
    flights: Flights,
    server: Server,
    labels: Path,
    *,
    since: date,
    days: int,
    on_progress: Callable[[int], None] = lambda _scored: None,
) -> Iterator[ReplayedDay]:
    """Play the days one after another; each is handed out when its predictions and its labels are on disk.

    Args:
        flights: May hold more than the days; what is scheduled outside of them is not played.
        server: Made with `replay=True`.
        labels: Folder for the label files, made if it is missing.
        since: The first day, in UTC.
        days: How many.
        on_progress: Called after each request with the number of flights just scored.

    Raises:
        ConnectionError: The server refused a request.
    """
    labels.mkdir(parents=True, exist_ok=True)
    played = flights.between(since, since + timedelta(days=days))
    ids = np.full(len(played), None, dtype=np.object_)
    for day in (since + timedelta(days=number) for number in range(days)):
        first, last = _rows(played.scheduled_at, day)
        with _connection(server) as connection:  # one a day: the server closes one that idles while a day is evaluated
            for start in range(first, last, PER_REQUEST):
                rows = slice(start, min(start + PER_REQUEST, last))
                ids[rows] = _predict(connection, played.select(rows))
                on_progress(rows.stop - rows.start)
        server.flush()
        label_file, landed = _write_labels(labels, day, played, ids)
        as_of = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        yield ReplayedDay(day, as_of, last - first, landed, label_file)


def _wait_for(runner: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not runner.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            message = f"The model server did not start within {START_SECONDS:g} s; its log says why."
            raise TimeoutError(message)
        thread.join(0.02)


@contextmanager
def _connection(server: Server) -> Iterator[HTTPConnection]:
    connection = HTTPConnection(server.host, server.port, timeout=REQUEST_SECONDS)
    try:
        yield connection
    finally:
        connection.close()


def _rows(instants: NDArray[np.datetime64], day: date) -> tuple[int, int]:
    """First row of a day and the first row after it."""
    first, last = np.searchsorted(instants, [np.datetime64(day, "us"), np.datetime64(day + timedelta(days=1), "us")])
    return int(first), int(last)


def _predict(connection: HTTPConnection, flights: Flights) -> list[str]:
    """Post flights and return the ids of their predictions, in the same order."""
    body = json.dumps({"flights": [_asked(flights, row) for row in range(len(flights))]})
    connection.request("POST", "/predict/batch", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:  # noqa: PLR2004  # OK
        message = f"The model server answered {response.status}: {answer.decode(errors='replace')[:500]}"
        raise ConnectionError(message)
    return [prediction["prediction_id"] for prediction in json.loads(answer)]


def _asked(flights: Flights, row: int) -> dict[str, Any]:
    scheduled_at = f"{np.datetime_as_string(flights.scheduled_at[row], unit='s')}Z"
    return {
        "flight_id": flights.flight_id[row],
        "carrier": flights.carrier[row],
        "origin": flights.origin[row],
        "destination": flights.destination[row],
        "distance": float(flights.distance[row]),
        "scheduled_at": scheduled_at,
        "predicted_at": scheduled_at,
    }


def _write_labels(folder: Path, day: date, played: Flights, ids: NDArray[np.object_]) -> tuple[Path | None, int]:
    """Write the labels of the flights that landed on a day: aside first, so that nobody reads half a file."""
    start, end = np.datetime64(day, "us"), np.datetime64(day + timedelta(days=1), "us")
    landed = np.flatnonzero((played.landed_at >= start) & (played.landed_at < end))
    if not len(landed):
        return None, 0
    order = landed[np.argsort(played.landed_at[landed], kind="stable")]
    table = pa.table(
        {
            "prediction_id": pa.array(ids[order], pa.string()),
            "late": pa.array(played.late[order], pa.bool_()),
            "landed_at": pa.array(played.landed_at[order], pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
        }
    )
    path = folder / f"landed-{day.isoformat()}.parquet"
    aside = folder / f".{path.name}.tmp"
    pq.write_table(table, aside)
    aside.replace(path)
    return path, len(landed)
