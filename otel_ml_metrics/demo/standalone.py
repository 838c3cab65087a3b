"""The demo's model server on its own, as the compose file runs it: `uvicorn --factory …demo.standalone:application`.

It trains its two models when it starts. The prediction log is the folder in `OTEL_ML_METRICS_LOG` (default
`data/predictions`); metrics go where the `OTEL_*` settings say.
"""

from __future__ import annotations

import os
from datetime import date
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.demo.flights import load_flights
from otel_ml_metrics.demo.model import train
from otel_ml_metrics.demo.server import SERVICE, create_app
from otel_ml_metrics.provider import meter_provider_from_environment

if TYPE_CHECKING:
    from fastapi import FastAPI

LOG_VARIABLE: Final = "OTEL_ML_METRICS_LOG"
TRAINED_SINCE: Final = date(2013, 1, 1)
TRAINED_UNTIL: Final = date(2013, 4, 1)


def application() -> FastAPI:
    """Train the models on the first quarter of 2013, and serve them."""
    return create_app(
        train(load_flights(TRAINED_SINCE, TRAINED_UNTIL)),
        log=os.environ.get(LOG_VARIABLE, "data/predictions"),
        meter_provider=meter_provider_from_environment(SERVICE),
    )
