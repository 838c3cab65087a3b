"""Real flights and trained models, made once: nothing in the tests changes them."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from otel_ml_metrics.demo.flights import Flights, load_flights
from otel_ml_metrics.demo.model import Model, train
from otel_ml_metrics.demo.replay import Server, serve
from otel_ml_metrics.demo.server import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def flights() -> Flights:
    """Flights from January to the middle of April."""
    return load_flights(date(2013, 1, 1), date(2013, 4, 15))


@pytest.fixture(scope="session")
def models(flights: Flights) -> tuple[Model, Model]:
    """The champion and the challenger, trained on January to March."""
    return train(flights.between(date(2013, 1, 1), date(2013, 4, 1)), seed=0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Folder of the prediction log."""
    return tmp_path / "predictions"


@pytest.fixture
def server(models: tuple[Model, Model], log: Path) -> Iterator[Server]:
    """A running server that lets a replay name the instants."""
    with serve(create_app(models, log=log, replay=True)) as running:
        yield running
