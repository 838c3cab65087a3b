"""Importing the package does nothing, and loads nothing that the core does not depend on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

WATCH: Final = Path(__file__).with_name("watch.py")
CHECKOUT: Final = WATCH.parents[2]
STATEMENTS: Final = [
    "import otel_ml_metrics",
    "from otel_ml_metrics import ModelMonitor, col, counter, gauge, histogram",
]
HEAVY: Final = {
    "click",
    "duckdb",
    "fastapi",
    "grpc",
    "pandas",
    "prefect",
    "pyarrow",
    "requests",
    "rich",
    "sklearn",
    "sqlalchemy",
    "sqlglot",
    "uvicorn",
    "yaml",
}


def _watched(statement: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-B", str(WATCH), statement],
        cwd=CHECKOUT,
        env={"PYTHONPATH": str(CHECKOUT), "OTEL_SERVICE_NAME": "somebody"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("statement", STATEMENTS)
def test_import_has_no_effects(statement: str) -> None:
    """Importing starts no thread and no process, opens no file for writing and no socket, and reads no environment."""
    found = _watched(statement)

    assert found["effects"] == []
    assert found["threads"] == 1


@pytest.mark.parametrize("statement", STATEMENTS)
def test_import_loads_nothing_heavy(statement: str) -> None:
    """A model server pays for numpy and the OTel API only: no SDK, no engine, no Prefect."""
    found = _watched(statement)

    loaded = {name.partition(".")[0] for name in found["modules"]}
    assert loaded & HEAVY == set()
    assert [name for name in found["modules"] if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))] == []


@pytest.mark.parametrize(
    ("statement", "effect"),
    [
        ("import threading; threading.Thread(target=int).start()", "started a thread"),
        ("import socket; socket.socket()", "socket."),
        ("import os; os.open(os.devnull, os.O_WRONLY)", "opened /dev/null for writing"),
        ("import os; os.environ.get('OTEL_SERVICE_NAME')", "read OTEL_SERVICE_NAME from the environment"),
        ("import os; 'OTEL_SERVICE_NAME' in os.environ", "read OTEL_SERVICE_NAME from the environment"),
        ("import subprocess, sys; subprocess.run([sys.executable, '-c', ''])", "subprocess."),
    ],
)
def test_an_effect_would_be_noticed(statement: str, effect: str) -> None:
    """The watch behind the tests above reports each kind of effect when there is one."""
    found = _watched(statement)

    assert any(noted.startswith(effect) for noted in found["effects"])
