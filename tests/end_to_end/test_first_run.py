"""From `init` to values in Prometheus: the commands of docs/getting-started.md, with every real part around them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from otel_ml_metrics.ledger.store import schema_of
from tests.end_to_end.stack import ROOT

if TYPE_CHECKING:
    from tests.end_to_end.stack import Stack
    from tests.postgresql import Server

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.postgresql,
    pytest.mark.prefect,
    pytest.mark.slow,
    pytest.mark.xdist_group("first-run"),  # mostly waiting for the next minute, so beside the other groups
]

LONGEST: Final = 300
"""Seconds that a new user may have to wait."""


@pytest.mark.timeout(2 * LONGEST)
def test_the_commands_of_the_page_lead_to_values_in_prometheus(stack: Stack, postgresql_server: Server) -> None:
    """Flows, Prefect with a password, it and the ledger on PostgreSQL, Collector and Prometheus, in five minutes."""
    ledger, database = (postgresql_server.url(postgresql_server.new_database()) for _ in range(2))
    options = {
        "within": str(LONGEST),
        "collector": stack.otlp_http,
        "database": database.replace("+psycopg", "+asyncpg"),
        "ledger": ledger,
        "login": "admin:s3cr3t",
    }

    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "init_to_run.py", *(f"--{name}={of}" for name, of in options.items())],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=2 * LONGEST,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^(\w+) +schedule ", done.stdout, re.MULTILINE) == [
        "warn",
        "ok",
    ]  # before and after it is served
    assert re.findall(r"^(\w+) +Prefect ", done.stdout, re.MULTILINE) == ["ok", "ok"]
    whole = '{ml_model_name="my-model", ml_evaluation_maturity="1d", ml_slice_country=""}'
    for name in ("ml_evaluation_accuracy_ratio", "ml_evaluation_roc_auc", "ml_label_coverage_ratio"):
        (series,) = stack.prometheus.wait_for(f"{name}{whole}")
        assert 0.5 < series.value < 1, name
    assert schema_of(ledger) is not None
