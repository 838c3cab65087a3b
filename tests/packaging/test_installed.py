"""The installed wheel works outside the checkout: on the newest versions, on the lowest declared, on the core alone."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.packaging.conftest import CHECKOUT

if TYPE_CHECKING:
    from tests.packaging.conftest import Environment

pytestmark = [pytest.mark.registry, pytest.mark.timeout(900)]

UNITS = (
    "demo",
    "evaluation/test_emission.py",
    "evaluation/test_label_files.py",
    "evaluation/test_measures.py",
    "evaluation/test_settings.py",
    "expressions",
    "labels/test_functions.py",
    "labels/test_tables.py",
    "ledger/test_store.py",
    "measures",
    "online",
    "prediction_log/test_compaction.py",
    "telemetry",
)
"""What is tried on the lowest versions: each library that we use, once; laws and crashes are the same on all."""

RECORD_ONE = """
from otel_ml_metrics import ModelMonitor, col, counter
monitor = ModelMonitor(
    "fraud", version="7", slices=["country"], fields=["amount"],
    metrics=[counter("risk", unit="USD", value=col("score") * col("amount"), description="Amount at risk")],
)
monitor.record(score=0.9, prediction=True, country="NL", amount=20.0)
print(monitor.force_flush(5))
monitor.shutdown()
"""


def test_the_wheel_is_what_runs(newest: Environment) -> None:
    """The environment holds the package itself, not a path back into the checkout."""
    place = newest.python("import otel_ml_metrics; print(otel_ml_metrics.__file__)")

    assert place.startswith(str(newest.folder))


@pytest.mark.parametrize("flow", ["evaluate_labels", "backfill"])
def test_flows_are_found_by_module_path(newest: Environment, flow: str) -> None:
    """A deployment names a module of the installed package and needs no clone."""
    kind = newest.python(f"from otel_ml_metrics.flows.{flow} import {flow}; print(type({flow}).__name__)")

    assert kind == "Flow"


def test_help_names_every_command(newest: Environment) -> None:
    """The installed script starts, and its help lists the commands."""
    shown = newest.run("otel-ml-metrics", "--help").stdout

    assert [command for command in ("demo", "init", "check", "evaluate", "backfill") if command not in shown] == []


def test_a_starting_project_is_written_by_the_wheel(newest: Environment) -> None:
    """Templates and deployment files are found where a package is installed, and the project evaluates there."""
    newest.run("otel-ml-metrics", "init", "monitoring", "--example")

    shown = newest.run("otel-ml-metrics", "evaluate", "monitoring/monitoring.yaml", "--format", "json").stdout

    assert json.loads(shown)["values"]
    assert (newest.workspace / "monitoring" / "deploy" / "prometheus.yml").is_file()


@pytest.mark.slow
def test_the_demo_runs(newest: Environment) -> None:
    """The main job works from the wheel: server, log, late labels, a Prefect flow by its module path, and values."""
    shown = newest.run("otel-ml-metrics", "demo", "--days", "2", "--format", "json").stdout

    assert json.loads(shown)["values"]


@pytest.mark.parametrize("example", sorted(path.name for path in (CHECKOUT / "examples").glob("*.py")))
def test_examples_run(newest: Environment, example: str) -> None:
    """Every example script runs as it stands, in an empty folder."""
    shutil.copy(CHECKOUT / "examples" / example, newest.workspace)

    newest.run("python", example)


def test_the_core_records_alone(core: Environment) -> None:
    """Without any extra a prediction can be recorded: the telemetry goes wherever the process sends it."""
    assert core.python(RECORD_ONE) == "True"


def test_a_missing_extra_says_what_to_install(core: Environment) -> None:
    """Whoever evaluates on the core alone reads the line to paste, not a traceback about duckdb."""
    done = core.attempt("python", "-c", "from otel_ml_metrics import Evaluator; Evaluator")

    assert done.returncode != 0
    assert "pip install 'otel-ml-metrics[evaluate]'" in done.stderr


def test_the_script_without_its_extra_says_what_to_install(core: Environment) -> None:
    """The script is installed with the core; it says which extra it needs and exits 2."""
    done = core.attempt("otel-ml-metrics", "--help")

    assert done.returncode == 2
    assert "pip install 'otel-ml-metrics[evaluate]'" in done.stderr


@pytest.mark.slow
def test_the_lowest_declared_versions_work(lowest: Environment) -> None:
    """Unit tests pass on the lowest versions that pyproject.toml names: a floor that was never tried is a guess."""
    for needed in ("tests", "pyproject.toml"):
        target = lowest.workspace / needed
        source = CHECKOUT / needed
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)

    lowest.run(
        *("python", "-m", "pytest", *(f"tests/{part}" for part in UNITS), "--quiet", "--numprocesses=2"),
        "--ignore=tests/measures/test_conformance.py",  # its references are those of the newest scikit-learn
        "--deselect=tests/measures/test_catalogue.py::test_the_page_is_fresh",  # the page stays in the checkout
        *("--override-ini=filterwarnings=default", "-m", "not (postgresql or registry or slow or soak)"),
        HYPOTHESIS_PROFILE="smoke",
        timeout=840,
    )
