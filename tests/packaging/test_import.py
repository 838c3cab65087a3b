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
API: Final = {
    "attributes",
    "baggage",
    "context",
    "environment_variables",
    "metrics",
    "propagate",
    "trace",
    "util",
    "version",
}
"""What opentelemetry-api has; the SDK, exporters and instrumentations stand beside it."""

STANDARD: Final = {"difflib", "heapq", "queue", "unicodedata"}
"""Modules of Python that numpy and the API have not loaded anyway; parts whose names begin with `_` come with them."""


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


def _is_allowed(module: str) -> bool:
    top, _, rest = module.partition(".")
    if top == "opentelemetry":
        return rest.partition(".")[0] in API
    return top in {"numpy", "otel_ml_metrics"} | STANDARD or (top.startswith("_") and top in sys.stdlib_module_names)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_import_loads_what_is_listed(statement: str) -> None:
    """Beside numpy and the OTel API a model server pays for our own modules: no SDK, no engine, no Prefect."""
    found = _watched(statement)

    assert [module for module in found["loaded"] if not _is_allowed(module)] == []


@pytest.mark.parametrize(
    "statement",
    ["import secrets", "import sqlite3", "import opentelemetry.sdk.metrics", "import pyarrow", "import yaml"],
)
def test_another_module_would_be_noticed(statement: str) -> None:
    """The list above leaves out what costs more than it gives, be it of Python itself."""
    found = _watched(statement)

    assert [module for module in found["loaded"] if not _is_allowed(module)] != []


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
