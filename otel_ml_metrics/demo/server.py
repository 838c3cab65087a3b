"""The model server of the demo: two variants behind HTTP, each with its monitor.

Nothing in it knows the OTel SDK, labels or Prefect. `create_app` gives an application for any ASGI server; `/predict`
scores one flight, `/predict/batch` many. A flight's variant follows from its id, so that a client that asks again is
answered by the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from fastapi import FastAPI, HTTPException
from numpy.typing import NDArray
from opentelemetry.metrics import MeterProvider
from pydantic import AwareDatetime, BaseModel, Field

from otel_ml_metrics.demo.model import FLAGGED, Model, features
from otel_ml_metrics.expressions import col
from otel_ml_metrics.monitor import ModelMonitor
from otel_ml_metrics.telemetry.custom import counter, histogram

MODEL: Final = "flight-delay"
SERVICE: Final = "flight-delay-api"
LARGEST_BATCH: Final = 2_000
EVEN_ODDS: Final = 0.5

_Text = Annotated[str, Field(min_length=1, max_length=100)]


class Flight(BaseModel):
    """What is known about a flight at its scheduled departure."""

    flight_id: _Text
    carrier: _Text
    origin: _Text
    destination: _Text
    distance: Annotated[float, Field(gt=0, le=20_000, description="Miles")]
    scheduled_at: Annotated[AwareDatetime, Field(description="Scheduled departure")]
    predicted_at: Annotated[
        AwareDatetime | None, Field(description="Instant to record the prediction under: in a replay only")
    ] = None


class Flights(BaseModel):
    """Several flights at once."""

    flights: Annotated[list[Flight], Field(min_length=1, max_length=LARGEST_BATCH)]


class Prediction(BaseModel):
    """What the model says about one flight."""

    prediction_id: str
    score: Annotated[float, Field(description="Probability of coming more than 15 minutes late")]
    late: Annotated[bool, Field(description=f"Whether the score is at least {FLAGGED}")]
    version: str
    variant: str


@dataclass(frozen=True)
class Arm:
    """One variant at work: its model, and the monitor that its predictions go through."""

    model: Model
    monitor: ModelMonitor


def create_app(
    models: Sequence[Model], *, log: Path | str, replay: bool = False, meter_provider: MeterProvider | None = None
) -> FastAPI:
    """Make the application.

    Args:
        models: The variants that share the traffic, in equal parts.
        log: Folder of the prediction log; every variant writes to it.
        replay: Let the client say when a prediction was made. Off, a request that tries is refused with 422.
        meter_provider: Where the metrics go; the global one by default.
    """
    arms = [Arm(model, monitor_of(model, log=log, meter_provider=meter_provider)) for model in models]

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        for arm in arms:
            arm.monitor.shutdown()

    app = FastAPI(title="Flight delays", lifespan=lifespan)
    app.state.monitors = [arm.monitor for arm in arms]

    @app.get("/health")
    def health() -> dict[str, str]:
        """Say that requests can be answered."""
        return {"status": "ok"}

    @app.post("/predict")
    def predict(flight: Flight) -> Prediction:
        """Say how likely a flight is to come late."""
        return answer(arms, [flight], replay=replay)[0]

    @app.post("/predict/batch")
    def predict_batch(request: Flights) -> list[Prediction]:
        """Say how likely each flight is to come late, in the order of the request."""
        return answer(arms, request.flights, replay=replay)

    return app


def answer(arms: Sequence[Arm], flights: Sequence[Flight], *, replay: bool) -> list[Prediction]:
    """Let each flight's variant score it; the predictions come in the order of the flights.

    Raises:
        HTTPException: A flight names the instant of its prediction, and this is no replay.
    """
    if not replay and any(flight.predicted_at for flight in flights):
        raise HTTPException(
            422, "predicted_at is the server's own clock; it can be given in a replay only. Leave it out."
        )
    answers: dict[int, Prediction] = {}
    chosen = [variant_of(flight.flight_id, len(arms)) for flight in flights]
    for position, arm in enumerate(arms):
        rows = [row for row, variant in enumerate(chosen) if variant == position]
        if rows:
            answers.update(zip(rows, predictions(arm, [flights[row] for row in rows]), strict=True))
    return [answers[row] for row in range(len(flights))]


def monitor_of(model: Model, *, log: Path | str, meter_provider: MeterProvider | None) -> ModelMonitor:
    """The monitor of one variant: what it counts, and what it writes to the prediction log."""
    return ModelMonitor(
        MODEL,
        version=model.version,
        variant=model.variant,
        slices=["carrier", "origin"],
        fields=["fare"],
        metrics=[
            histogram(
                "expected_refund",
                unit="USD",
                value=col("score") * col("fare"),
                description="Refund at risk per flight: probability of coming late times fare",
            ),
            counter(
                "risky_flights",
                unit="{flight}",
                value=col("score") > EVEN_ODDS,
                description="Flights more likely late than not",
            ),
        ],
        log=log,
        meter_provider=meter_provider,
    )


def predictions(arm: Arm, flights: Sequence[Flight]) -> list[Prediction]:
    """Score flights with the model of an arm, and record the predictions with its monitor."""
    carriers = [flight.carrier for flight in flights]
    origins = [flight.origin for flight in flights]
    distances = np.array([flight.distance for flight in flights])
    destinations = [flight.destination for flight in flights]
    departures = [flight.scheduled_at for flight in flights]
    scores = arm.model.scores(features(carriers, origins, destinations, distances, departures))
    late = scores >= FLAGGED
    ids = arm.monitor.record_batch(
        score=scores,
        prediction=late,
        predicted_at=_instants(flights),
        carrier=carriers,
        origin=origins,
        fare=fares(distances),
    )
    version, variant = arm.model.version, arm.model.variant
    return [
        Prediction(prediction_id=prediction_id, score=score, late=flag, version=version, variant=variant)
        for prediction_id, score, flag in zip(ids, scores.tolist(), late.tolist(), strict=True)
    ]


def fares(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Made-up fares in USD, for the flight data has none: 50 dollars and 11 cents a mile."""
    return np.round(50 + 0.11 * distance, 2)


def variant_of(flight_id: str, variants: int) -> int:
    """The arm that serves a flight: the same at every call, in every process."""
    digest = hashlib.blake2b(flight_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % variants


def _instants(flights: Sequence[Flight]) -> list[datetime] | None:
    """When the predictions were made; None, so that the monitor takes its clock, unless every flight says so."""
    given = [flight.predicted_at for flight in flights if flight.predicted_at]
    return given if len(given) == len(flights) else None
