"""Serves the deployed flow of one evaluation, as an operator with one machine would: `serving.py MONITORING`."""

from __future__ import annotations

import sys

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.types.entrypoint import EntrypointType

from otel_ml_metrics.flows.evaluate_labels import evaluate_labels

if __name__ == "__main__":
    evaluate_labels.serve(
        name="served",
        cron="7 * * * *",
        parameters={"monitoring": sys.argv[1], "send_for": 0},
        global_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        limit=2,
        pause_on_shutdown=False,
        entrypoint_type=EntrypointType.MODULE_PATH,  # by path, the flow could not import its neighbours
    )
