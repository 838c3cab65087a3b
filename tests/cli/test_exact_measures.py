"""Exact measures from monitoring.yaml to the report: a function of scikit-learn, and a metric class of Keras itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.evaluation.material import DAY, HOUR, MODEL, START, Fact, Prediction, World

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.flows.material import Material

CHECKOUT: Final = Path(__file__).parents[2]

KERAS_METRIC: Final = '''\
import keras


class RootMeanSquaredError(keras.metrics.Metric):
    """Keeps a sum of squares and a count."""

    def __init__(self, name="root_mean_squared_error", **others):
        super().__init__(name=name, **others)
        self.squared_sum = self.add_weight(name="squared_sum", initializer="zeros")
        self.total_count = self.add_weight(name="total_count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        error = keras.ops.cast(y_true, self.dtype) - keras.ops.cast(y_pred, self.dtype)
        self.squared_sum.assign_add(keras.ops.sum(keras.ops.square(error)))
        self.total_count.assign_add(keras.ops.cast(keras.ops.size(error), self.dtype))

    def result(self):
        return keras.ops.sqrt(self.squared_sum / self.total_count)
'''

MONITORING: Final = """\
model: {model}
task: regression
predictions: predictions
labels: {{path: labels}}
ledger: sqlite:///ledger.db
attribution_window: 1d
measures:
  - root_mean_squared_error
  - name: by_keras
    unit: min
    description: Root mean squared error of the delay
    direction: lower
    exact: minutes:RootMeanSquaredError
"""


def test_the_report_has_exact_measures(material: Material, run: Run) -> None:
    """`evaluate --format json` shows them like every other, and scikit-learn's log loss is ours."""
    declared = "{name: surprise, unit: '{nat}', exact: log_loss, description: Mean surprise}"
    settings = material.monitoring.read_text().replace("[accuracy, log_loss]", f"[log_loss, {declared}]")
    material.monitoring.write_text(settings)

    done = run("evaluate", material.monitoring, "--as-of", "2013-04-04", "--format", "json")

    assert done.exit_code == 0, done.stderr
    found: dict[str, list[float]] = {}
    for value in json.loads(done.stdout)["values"]:
        found.setdefault(value["measure"], []).append(value["value"])
        assert (value["unit"], value["retired"]) == ("{nat}", False)
    assert found["surprise"] == pytest.approx(found["log_loss"])


@pytest.mark.slow
def test_a_metric_class_of_keras_is_taken_as_it_is(tmp_path: Path) -> None:
    """The pattern's own example, on Keras 3, in a process of its own: the number is that of our measure."""
    world = World(tmp_path, task="regression")
    for day in range(2):
        rows = [
            Prediction(id=f"p-{day}-{at}", predicted_at=START + day * DAY, prediction=3.7 * at - 2.0)
            for at in range(20)
        ]
        world.log(rows)
        world.label(
            Fact(id=row.id, label=float(at * day), received_at=row.predicted_at + HOUR) for at, row in enumerate(rows)
        )
    (tmp_path / "minutes.py").write_text(KERAS_METRIC)
    (tmp_path / "monitoring.yaml").write_text(MONITORING.format(model=MODEL))

    done = subprocess.run(
        [sys.executable, "-m", "otel_ml_metrics.cli", "evaluate", "monitoring.yaml", "--format", "json"],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": "numpy", "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    found: dict[str, list[float]] = {}
    for value in report["values"]:
        found.setdefault(value["measure"], []).append(value["value"])
    assert report["undefined"] == {}
    assert len(found["by_keras"]) == 2
    assert found["by_keras"] == pytest.approx(found["root_mean_squared_error"], rel=1e-6)
