"""The two models: deterministic, better than chance, and not thrown by an airport they never saw."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from otel_ml_metrics.demo.model import FLAGGED, Model, features, train

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from otel_ml_metrics.demo.flights import Flights


def _rows(flights: Flights) -> NDArray[np.object_]:
    return features(flights.carrier, flights.origin, flights.destination, flights.distance, flights.scheduled_at)


def test_the_same_seed_gives_the_same_models(flights: Flights, models: tuple[Model, Model]) -> None:
    """The demo shows the same numbers at every run."""
    again = train(flights.between(date(2013, 1, 1), date(2013, 4, 1)), seed=0)

    rows = _rows(flights.between(date(2013, 4, 1), date(2013, 4, 2)))
    for first, second in zip(models, again, strict=True):
        np.testing.assert_array_equal(first.scores(rows), second.scores(rows))


@pytest.mark.parametrize("arm", [0, 1])
def test_a_model_knows_something_about_april(flights: Flights, models: tuple[Model, Model], arm: int) -> None:
    """On days it was not trained on, a model ranks late flights above others, and flags some but not all."""
    april = flights.between(date(2013, 4, 1), date(2013, 4, 15))
    landed = april.select(april.landed)

    scores = models[arm].scores(_rows(landed))

    assert roc_auc_score(landed.late, scores) > 0.62
    assert 0.05 < (scores >= FLAGGED).mean() < 0.5


@pytest.mark.parametrize("arm", [0, 1])
def test_an_unknown_airport_is_scored(models: tuple[Model, Model], arm: int) -> None:
    """A server answers for a destination that opened after training."""
    rows = features(["ZZ"], ["EWR"], ["XXX"], [700.0], [datetime(2013, 4, 1, 22, tzinfo=UTC)])

    (score,) = models[arm].scores(rows)

    assert 0 < score < 1


def test_the_clock_is_new_yorks() -> None:
    """Delays follow the airport's day, so the hour is the local one, whatever zone the instant was given in."""
    row = features(["UA"], ["EWR"], ["IAH"], [1400.0], [datetime(2013, 4, 2, 2, 30, tzinfo=UTC)])[0]

    assert list(row[3:6]) == [0, 22, 22 * 60 + 30]  # Monday evening in New York, summer time
