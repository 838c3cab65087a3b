"""Two models that say how likely a flight is to come late, from what is known at its scheduled departure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from otel_ml_metrics.demo.flights import NEW_YORK, Flights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FLAGGED: Final = 0.3
"""A flight is flagged as late from this probability on: about a quarter of all flights come late."""

TRAINED_ON: Final = 40_000
"""Flights that each model learns from at most: more adds seconds and hardly any accuracy."""

_NAMES: Final = [0, 1, 2]  # carrier, origin, destination
_CLOCK: Final = [3, 4]  # day of the week, hour
_NUMBERS: Final = [5, 6]  # minute of the day, distance


@dataclass(frozen=True)
class Model:
    """A trained model under the version and the variant that it serves as.

    Args:
        version: Version of the model.
        variant: The arm of the experiment: `champion` or `challenger`.
        pipeline: A fitted scikit-learn pipeline over the rows of `features`.
    """

    version: str
    variant: str
    pipeline: Pipeline

    def scores(self, rows: NDArray[np.object_]) -> NDArray[np.float64]:
        """Probability of coming late, shape (n,), for rows made by `features`."""
        probabilities: NDArray[np.float64] = self.pipeline.predict_proba(rows)[:, 1]
        return probabilities


def features(
    carrier: Sequence[str] | NDArray[np.object_],
    origin: Sequence[str] | NDArray[np.object_],
    destination: Sequence[str] | NDArray[np.object_],
    distance: Sequence[float] | NDArray[np.float64],
    scheduled_at: Sequence[datetime] | NDArray[np.datetime64],
) -> NDArray[np.object_]:
    """What the models look at, shape (n, 7). The month is left out: April is none that they were trained on.

    Args:
        carrier: Shape (n,).
        origin: Shape (n,).
        destination: Shape (n,).
        distance: Shape (n,), miles.
        scheduled_at: Shape (n,), scheduled departure: aware datetimes, or datetime64 in UTC.
    """
    clocks = [_new_york(instant) for instant in np.asarray(scheduled_at).tolist()]
    rows = np.empty((len(clocks), 7), dtype=np.object_)
    rows[:, 0], rows[:, 1], rows[:, 2] = carrier, origin, destination
    rows[:, 3] = [clock.weekday() for clock in clocks]
    rows[:, 4] = [clock.hour for clock in clocks]
    rows[:, 5] = [clock.hour * 60 + clock.minute for clock in clocks]
    rows[:, 6] = distance
    return rows


def train(flights: Flights, *, seed: int = 0) -> tuple[Model, Model]:
    """Train the champion (logistic regression) and the challenger (boosted trees) on flights whose outcome is known.

    The same flights and the same seed give the same models.

    Args:
        flights: Those that never landed are left out.
        seed: Which sample is drawn, and how the trees are grown.
    """
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(flights.landed)
    sample = flights.select(np.sort(rng.choice(known, size=min(TRAINED_ON, len(known)), replace=False)))
    rows = features(sample.carrier, sample.origin, sample.destination, sample.distance, sample.scheduled_at)
    champion, challenger = _logistic(), _boosted(seed)
    champion.fit(rows, sample.late)
    challenger.fit(rows, sample.late)
    return Model("2013.04-logistic", "champion", champion), Model("2013.04-boosted", "challenger", challenger)


def _logistic() -> Pipeline:
    columns = ColumnTransformer(
        [
            ("names", OneHotEncoder(handle_unknown="ignore"), [*_NAMES, *_CLOCK]),
            ("numbers", StandardScaler(), _NUMBERS),
        ]
    )
    return make_pipeline(columns, LogisticRegression(max_iter=300))


def _boosted(seed: int) -> Pipeline:
    unseen: dict[str, Any] = {"handle_unknown": "use_encoded_value", "unknown_value": np.nan}
    columns = ColumnTransformer(
        [
            ("names", OrdinalEncoder(**unseen), _NAMES),
            ("numbers", StandardScaler(), [*_CLOCK, *_NUMBERS]),
        ]
    )
    trees = HistGradientBoostingClassifier(
        categorical_features=_NAMES, max_iter=80, learning_rate=0.1, max_leaf_nodes=31, random_state=seed
    )
    return make_pipeline(columns, trees)


def _new_york(instant: datetime) -> datetime:
    """The clock at the three origins; a datetime without zone is UTC, as numpy hands it out."""
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(NEW_YORK)
