"""Programs that know nothing of us: `opentelemetry-instrument`, and the environment or a file, do the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from otel_ml_metrics.telemetry.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM: Final = """
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

features = np.random.default_rng(0).random((40, 2))
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, features.sum(axis=1) > 1)
print(model.predict_proba(features[:5]).shape)
"""

FILE: Final = """
file_format: "1.0"
meter_provider:
  readers:
    - periodic:
        exporter:
          otlp_ml: {{endpoint: "{endpoint}/v1/metrics", protocol: http/protobuf}}
instrumentation/development:
  python:
    sklearn_ml: {{model: fraud, version: "7"}}
"""

PLAIN_FILE: Final = FILE.replace("otlp_ml: {{", "otlp_http: {{").replace(", protocol: http/protobuf", "")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A real OTLP receiver."""
    with Receiver() as receiver:
        yield receiver


def run(folder: Path, **settings: str) -> str:
    """Run the program under `opentelemetry-instrument`; what it printed."""
    app = folder / "app.py"
    app.write_text(PROGRAM)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, str(app)],
        env=os.environ | {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"} | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def scores(receiver: Receiver) -> list[tuple[str, int | None, dict[str, str]]]:
    """Scope, count and attributes of the histograms of scores that came."""
    found = [point for point in receiver.points if point.metric == "ml.prediction.score"]
    return [(point.scope, point.count, dict(point.attributes)) for point in found]


def test_the_environment_is_all_it_takes(receiver: Receiver, tmp_path: Path) -> None:
    """Exporter and model are named by variables; the program is as it was."""
    printed = run(
        tmp_path,
        **receiver.environment,
        OTEL_METRICS_EXPORTER="otlp_ml",
        OTEL_ML_METRICS_MODEL="fraud",
        OTEL_ML_METRICS_VERSION="7",
    )

    assert printed == "(5, 2)\n"
    attributes = {"ml.model.name": "fraud", "ml.model.version": "7"}
    assert scores(receiver) == [("otel_ml_metrics.histograms", 5, attributes)]


def test_a_program_without_a_named_model_sends_nothing_of_ours(receiver: Receiver, tmp_path: Path) -> None:
    """The instrumentor is loaded with all others, and waits to be asked."""
    printed = run(tmp_path, **receiver.environment, OTEL_METRICS_EXPORTER="otlp_ml")

    assert printed == "(5, 2)\n"
    assert [point.metric for point in receiver.points] == []


def test_the_instrumentor_can_be_switched_off_as_all_others(receiver: Receiver, tmp_path: Path) -> None:
    """`OTEL_PYTHON_DISABLED_INSTRUMENTATIONS` knows it by the name of its entry point."""
    run(
        tmp_path,
        **receiver.environment,
        OTEL_METRICS_EXPORTER="otlp_ml",
        OTEL_ML_METRICS_MODEL="fraud",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="sklearn_ml",
    )

    assert scores(receiver) == []


@pytest.mark.parametrize(
    ("text", "scope"), [(FILE, "otel_ml_metrics.histograms"), (PLAIN_FILE, "otel_ml_metrics")], ids=["ours", "plain"]
)
def test_a_declarative_file_configures_the_same(text: str, scope: str, receiver: Receiver, tmp_path: Path) -> None:
    """`OTEL_CONFIG_FILE` names exporter and model; with the exporter of somebody else the SDK's histograms serve."""
    pytest.importorskip("opentelemetry.configuration", reason="the SDK reads the file by a package of its own")
    file = tmp_path / "otel.yaml"
    file.write_text(text.format(endpoint=receiver.endpoint))

    run(tmp_path, OTEL_CONFIG_FILE=str(file))

    assert scores(receiver) == [(scope, 5, {"ml.model.name": "fraud", "ml.model.version": "7"})]
