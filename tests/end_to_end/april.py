"""Days of April in New York, moved to the days before today, played against the demo's server and evaluated.

They are moved because a live point counts as of now, and because Prometheus refuses a lagging one that is older than
its out-of-order window. Where points go is read from `OTEL_EXPORTER_OTLP_*`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.demo.flights import Flights, load_flights
from otel_ml_metrics.demo.model import Model, train
from otel_ml_metrics.demo.replay import replay, serve
from otel_ml_metrics.demo.server import MODEL, create_app, variant_of
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.provider import meter_provider_from_environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from otel_ml_metrics.evaluation_report import Report, Value

TRAIN_FROM: Final = date(2013, 3, 18)
FIRST_DAY: Final = date(2013, 4, 1)
DAYS: Final = 3
VARIANTS: Final = ("champion", "challenger")
ORIGINS: Final = ("EWR", "JFK", "LGA")
MATURITIES: Final = ("6h", "2d")
"""When the third day ends, the second is the newest that is final at the first of them, the first day at the other."""

NAMES: Final = {
    "accuracy": "ml_evaluation_accuracy_ratio",
    "log_loss": "ml_evaluation_log_loss",
    "roc_auc": "ml_evaluation_roc_auc",
    "missed_refunds": "ml_evaluation_missed_refunds_USD",
}
"""The measures, under the names that the catalogue promises for Prometheus."""


@dataclass(frozen=True)
class Evaluated:
    """What one evaluation said, run by run.

    Args:
        service: Whose points these are; Prometheus calls it the job.
        reports: One per replayed day.
    """

    service: str
    reports: tuple[Report, ...]

    @property
    def values(self) -> list[Value]:
        """Every final value; labels come in order here, so that none is revised."""
        return [value for report in self.reports for value in report.values]

    @property
    def current(self) -> list[Value]:
        """Those of the newest final window at each maturity."""
        newest = {maturity: max(v.window_end for v in self.values if v.maturity == maturity) for maturity in MATURITIES}
        return [value for value in self.values if value.window_end == newest[value.maturity]]


@dataclass(frozen=True)
class April:
    """The days, played and evaluated.

    Args:
        service: Of the model server's live metrics.
        flights: That the server was asked about.
        log: Folder of the prediction log.
        event: The evaluation whose points carry their window's end, under a service of its own.
        emit: The evaluation whose gauges are the current state, under the server's service.
    """

    service: str
    flights: Flights
    log: Path
    event: Evaluated
    emit: Evaluated

    @property
    def requested(self) -> Mapping[str, int]:
        """How many predictions each variant was asked for: a flight's variant follows from its id."""
        return Counter(VARIANTS[variant_of(flight, len(VARIANTS))] for flight in self.flights.flight_id)


def flights_and_models(until: date) -> tuple[Flights, tuple[Model, Model]]:
    """The flights, moved to the days before `until`, and models that know the weeks before."""
    end = FIRST_DAY + timedelta(days=DAYS)
    flights = load_flights(TRAIN_FROM, end)
    models = train(flights.between(TRAIN_FROM, FIRST_DAY), seed=0)
    return _moved(flights.between(FIRST_DAY, end), until - end), models


def _moved(flights: Flights, shift: timedelta) -> Flights:
    by = np.timedelta64(shift)
    return replace(flights, scheduled_at=flights.scheduled_at + by, landed_at=flights.landed_at + by)


def play(folder: Path, service: str, *, until: date, flights: Flights, models: tuple[Model, Model]) -> April:
    """Play the days over HTTP, and run both evaluations at the end of each."""
    log = folder / "predictions"
    reports: dict[str, list[Report]] = {"event": [], "emit": []}
    services = {"event": f"{service}-event", "emit": service}
    provider = meter_provider_from_environment(service)
    try:
        with serve(create_app(models, log=log, replay=True, meter_provider=provider)) as server:
            for day in replay(flights, server, folder / "labels", since=until - timedelta(days=DAYS), days=DAYS):
                for timestamps, told in reports.items():
                    with Evaluator(evaluation_of(folder, services[timestamps], timestamps)) as evaluator:
                        told.append(evaluator.run(as_of=day.as_of))
                provider.force_flush()  # a point of live metrics per day: rates need two
    finally:
        provider.shutdown()
    event, emit = (Evaluated(services[timestamps], tuple(told)) for timestamps, told in reports.items())
    return April(service=service, flights=flights, log=log, event=event, emit=emit)


def evaluation_of(folder: Path, service: str, timestamps: str) -> Evaluation:
    """An evaluation with a ledger of its own."""
    return Evaluation(
        model=MODEL,
        service=service,
        predictions=folder / "predictions",
        labels={"path": f"{folder}/labels/*.parquet", "label": "late", "received_at": "landed_at"},
        ledger=f"sqlite:///{folder}/{timestamps}.db",
        attribution_window=MATURITIES[-1],
        maturities=MATURITIES,
        slices=["origin"],
        by=["version", "variant"],
        timestamps=timestamps,
        measures=[
            *(name for name in NAMES if name != "missed_refunds"),
            {
                "name": "missed_refunds",
                "unit": "USD",
                "sum": "fare * (label & ~prediction)",
                "description": "Fares of late flights that were not flagged",
            },
        ],
    )
