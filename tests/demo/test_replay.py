"""The replay: every flight is posted once, and a label comes on the day on which the plane landed."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.dataset
import pyarrow.parquet
import pytest

from otel_ml_metrics.demo.replay import ReplayedDay, Server, replay, serve
from otel_ml_metrics.demo.server import create_app

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import pyarrow as pa
    from fastapi import Request, Response

    from otel_ml_metrics.demo.flights import Flights
    from otel_ml_metrics.demo.model import Model

SINCE, DAYS = date(2013, 4, 1), 2


def _replay(flights: Flights, server: Server, labels: Path) -> list[ReplayedDay]:
    return list(replay(flights, server, labels, since=SINCE, days=DAYS))


def _table(folder: Path) -> pa.Table:
    return pyarrow.dataset.dataset(folder, format="parquet").to_table()


def _by_id(folder: Path, column: str) -> dict[str, Any]:
    rows = _table(folder).select(["prediction_id", column]).to_pylist()
    return {row["prediction_id"]: row[column] for row in rows}


def test_every_flight_is_predicted_once(flights: Flights, server: Server, log: Path, tmp_path: Path) -> None:
    """What the days say they played is what lies in the log, under the instants of 2013."""
    days = _replay(flights, server, tmp_path / "labels")

    played = flights.between(SINCE, date(2013, 4, 3))
    logged = _table(log)
    assert sum(day.predictions for day in days) == len(played) == logged.num_rows
    assert sorted(logged.column("predicted_at").to_numpy()) == sorted(played.scheduled_at)
    assert [day.as_of for day in days] == [datetime(2013, 4, 2, tzinfo=UTC), datetime(2013, 4, 3, tzinfo=UTC)]


def test_a_label_is_known_when_the_plane_has_landed(
    flights: Flights, server: Server, log: Path, tmp_path: Path
) -> None:
    """Each file holds the landings of its day, late ones of earlier days too, and none of what never landed."""
    days = _replay(flights, server, tmp_path / "labels")

    predicted = _by_id(log, "predicted_at")
    for day in days:
        assert day.label_file is not None
        labels = pyarrow.parquet.read_table(day.label_file).to_pylist()
        assert len(labels) == day.labels
        assert all(label["landed_at"].date() == day.day for label in labels)
        assert all(label["landed_at"] > predicted[label["prediction_id"]] for label in labels)
    played = flights.between(SINCE, date(2013, 4, 3))
    expected = played.landed & (played.landed_at < np.datetime64("2013-04-03"))
    assert sum(day.labels for day in days) == expected.sum()


def test_a_replay_is_repeatable(
    flights: Flights, models: tuple[Model, Model], server: Server, log: Path, tmp_path: Path
) -> None:
    """Scores, variants and labels are the same at every run: ids differ, because they are the monitor's."""
    _replay(flights, server, tmp_path / "labels")
    with serve(create_app(models, log=tmp_path / "again", replay=True)) as other:
        _replay(flights, other, tmp_path / "labels-again")

    assert _outcomes(log, tmp_path / "labels") == _outcomes(tmp_path / "again", tmp_path / "labels-again")


def _outcomes(log: Path, labels: Path) -> list[str]:
    late = _by_id(labels, "late")
    rows = _table(log).to_pylist()
    told = ("predicted_at", "score", "variant", "carrier", "origin", "fare")
    return sorted(repr([*(row[name] for name in told), late.get(row["prediction_id"])]) for row in rows)


def test_progress_counts_flights(flights: Flights, server: Server, tmp_path: Path) -> None:
    """The calls add up to the flights that were played."""
    seen: list[int] = []

    days = list(replay(flights, server, tmp_path / "labels", since=SINCE, days=1, on_progress=seen.append))

    assert sum(seen) == days[0].predictions
    assert len(seen) > 1


def test_a_server_that_refuses_stops_the_replay(
    flights: Flights, models: tuple[Model, Model], log: Path, tmp_path: Path
) -> None:
    """A server that was not made for replays answers 422, and the error carries what it said."""
    with serve(create_app(models, log=log)) as server, pytest.raises(ConnectionError, match=r"422.*predicted_at"):
        _replay(flights, server, tmp_path / "labels")


def test_each_day_has_its_own_connection(
    flights: Flights, models: tuple[Model, Model], log: Path, tmp_path: Path
) -> None:
    """Between two days an evaluation may run for minutes, and a server closes a connection that idles for seconds."""
    app = create_app(models, log=log, replay=True)
    ports: list[int] = []

    @app.middleware("http")
    async def note_port(request: Request, respond: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.client is not None:
            ports.append(request.client.port)
        return await respond(request)

    with serve(app) as server:
        by_day = [
            (len(set(ports)), day.predictions) for day in replay(flights, server, tmp_path, since=SINCE, days=DAYS)
        ]

    assert [connections for connections, predictions in by_day if predictions] == [1, 2]
