"""The model server: what it answers, what it refuses, and what it leaves behind."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pyarrow.dataset
import pytest

from otel_ml_metrics.demo.replay import Server, serve
from otel_ml_metrics.demo.server import create_app, variant_of
from otel_ml_metrics.demo.standalone import LOG_VARIABLE, application

if TYPE_CHECKING:
    from pathlib import Path

    from otel_ml_metrics.demo.model import Model

FLIGHT = {
    "flight_id": "2013-04-01T10:15Z/UA1545/EWR/IAH",
    "carrier": "UA",
    "origin": "EWR",
    "destination": "IAH",
    "distance": 1400.0,
    "scheduled_at": "2013-04-01T10:15:00Z",
}


def _post(server: Server, path: str, body: Any) -> tuple[int, Any]:
    connection = HTTPConnection(server.host, server.port, timeout=10)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def _logged(log: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.dataset.dataset(log, format="parquet").to_table().to_pylist()
    return rows


def test_one_flight_is_scored_and_logged(server: Server, log: Path) -> None:
    """The answer carries the id under which the prediction lies in the log, so that a label can find it."""
    status, answer = _post(server, "/predict", FLIGHT | {"predicted_at": "2013-04-01T10:15:00Z"})

    server.flush()
    (row,) = _logged(log)
    assert status == 200
    assert row["prediction_id"] == answer["prediction_id"]
    assert (row["score"], row["prediction"], row["variant"]) == (answer["score"], answer["late"], answer["variant"])
    assert row["predicted_at"].isoformat() == "2013-04-01T10:15:00+00:00"
    assert (row["carrier"], row["origin"], row["fare"]) == ("UA", "EWR", 204.0)


def test_a_batch_is_answered_in_its_order(server: Server) -> None:
    """Two variants answer one batch, and nobody gets the answer of another flight."""
    flights = [FLIGHT | {"flight_id": f"f{number}", "distance": 200.0 + number} for number in range(40)]

    _, together = _post(server, "/predict/batch", {"flights": flights})
    apart = [_post(server, "/predict", flight)[1] for flight in flights]

    assert {answer["variant"] for answer in together} == {"champion", "challenger"}
    for one, other in zip(together, apart, strict=True):
        assert one | {"prediction_id": ""} == pytest.approx(other | {"prediction_id": ""})


def test_a_flight_keeps_its_variant() -> None:
    """The variant follows from the id alone: a change of the rule would mix the arms of a running experiment."""
    assert [variant_of(f"f{number}", 2) for number in range(12)] == [0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert sum(variant_of(f"f{number}", 2) for number in range(10_000)) == pytest.approx(5_000, abs=200)


def test_only_a_replay_names_the_instant(models: tuple[Model, Model], log: Path) -> None:
    """In service the clock is the server's: a client that says otherwise is told so and nothing is recorded."""
    with serve(create_app(models, log=log)) as server:
        status, answer = _post(server, "/predict", FLIGHT | {"predicted_at": "2013-04-01T10:15:00Z"})
        server.flush()

    assert status == 422
    assert "predicted_at" in answer["detail"]
    assert list(log.rglob("s-*.parquet")) == []


@pytest.mark.parametrize(
    "wrong", [{"distance": -1}, {"scheduled_at": "2013-04-01T10:15:00"}, {"carrier": None}, {"origin": ""}]
)
def test_a_malformed_flight_is_refused(server: Server, wrong: dict[str, Any]) -> None:
    """The answer names the field; an instant without zone is one of them."""
    status, answer = _post(server, "/predict", FLIGHT | wrong)

    assert status == 422
    assert answer["detail"][0]["loc"][-1] in wrong


def test_the_server_stands_on_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compose file starts it by its factory and asks for its health."""
    monkeypatch.setenv(LOG_VARIABLE, str(tmp_path))
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")

    with serve(application()) as server:
        with urlopen(f"http://{server.host}:{server.port}/health", timeout=10) as health:
            assert json.loads(health.read()) == {"status": "ok"}
        status, answer = _post(server, "/predict", FLIGHT)
        server.flush()

    assert status == 200
    assert _logged(tmp_path)[0]["prediction_id"] == answer["prediction_id"]
