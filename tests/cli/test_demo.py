"""The command `demo`, from an empty folder to values that scikit-learn agrees with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, log_loss, recall_score, roc_auc_score

from otel_ml_metrics.demo.run import MARKER

if TYPE_CHECKING:
    from tests.cli.conftest import Run

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.timeout(400)]

CHECKOUT: Final = Path(__file__).resolve().parents[2]
DEADLINE: Final = 300


@dataclass(frozen=True)
class Done:
    """A demo that ran.

    Args:
        folder: What it kept.
        report: What it printed.
    """

    folder: Path
    report: dict[str, Any]

    def values(self, **facts: object) -> list[dict[str, Any]]:
        """The values with these facts."""
        return [value for value in self.report["values"] if all(value[name] == fact for name, fact in facts.items())]


def demo(folder: Path, *, days: int, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own, as a user would."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PREFECT_"))}
    path = os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    arguments = ["demo", "--days", str(days), "--keep", str(folder), "--format", "json"]
    return subprocess.run(
        [sys.executable, "-m", "otel_ml_metrics.cli", *arguments],
        env=inherited | environ | {"PYTHONPATH": path},
        cwd=folder.parent,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Two days, replayed and evaluated."""
    folder = tmp_path_factory.mktemp("demo") / "kept"
    finished = demo(folder, days=2)
    assert finished.returncode == 0, finished.stderr
    return Done(folder, json.loads(finished.stdout))


@pytest.fixture(scope="module")
def unheard(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """The first day once more, with an endpoint that nobody listens at."""
    folder = tmp_path_factory.mktemp("demo") / "again"
    return demo(folder, days=1, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_TIMEOUT="1")


@pytest.fixture(scope="module")
def joined(done: Done) -> pd.DataFrame:
    """Predictions and labels as they lie in the folder, joined by hand."""
    predictions = pd.read_parquet(done.folder / "predictions" / "model=flight-delay")
    labels = pd.read_parquet(done.folder / "labels")
    return predictions.merge(labels, on="prediction_id", validate="one_to_one")


def test_the_flow_runs_once_per_replayed_day(done: Done) -> None:
    """Prefect ran each of them and says so by name."""
    assert done.report["demo"]["runs"] == [
        {"name": "flight-delay as of 2013-04-02T00:00:00Z", "state": "Completed"},
        {"name": "flight-delay as of 2013-04-06T00:00:00Z", "state": "Completed"},
    ]


def test_it_leaves_a_page_that_sets_the_variants_against_each_other(done: Done) -> None:
    """The demo ends by naming it."""
    page = Path(done.report["demo"]["report"])

    assert page.parent == done.folder
    assert "challenger against champion" in page.read_text(encoding="utf-8")


def test_every_day_has_values_of_both_variants_at_every_age(done: Done) -> None:
    """The table at the end has no holes."""
    found = {
        (value["window_start"], value["variant"], value["maturity"])
        for value in done.values(measure="accuracy", slice={})
    }

    assert found == {
        (f"2013-04-0{day}T00:00:00Z", variant, maturity)
        for day in (1, 2)
        for variant in ("champion", "challenger")
        for maturity in ("6h", "1d", "3d")
    }


@pytest.mark.parametrize("variant", ["champion", "challenger"])
@pytest.mark.parametrize("day", ["2013-04-01", "2013-04-02"])
def test_the_values_are_those_of_scikit_learn(done: Done, joined: pd.DataFrame, day: str, variant: str) -> None:
    """On the joined rows of a complete day, everybody comes to the same numbers."""
    of_day = joined.predicted_at.dt.strftime("%Y-%m-%d") == day
    rows = joined[of_day & (joined.variant == variant)]
    found = {
        value["measure"]: value
        for value in done.values(window_start=f"{day}T00:00:00Z", variant=variant, maturity="3d", slice={})
    }

    assert found["accuracy"]["support"] == len(rows)
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(rows.late, rows.prediction), abs=1e-12)
    assert found["recall"]["value"] == pytest.approx(recall_score(rows.late, rows.prediction), abs=1e-12)
    assert found["log_loss"]["value"] == pytest.approx(log_loss(rows.late, rows.score), abs=1e-8)
    assert found["roc_auc"]["value"] == pytest.approx(
        roc_auc_score(rows.late, rows.score), abs=found["roc_auc"]["certificate"] + 1e-12
    )
    missed = rows.fare[rows.late & ~rows.prediction.astype(bool)].sum()
    assert found["missed_refunds"]["value"] == pytest.approx(missed, abs=1e-6)


def test_slices_are_those_of_scikit_learn(done: Done, joined: pd.DataFrame) -> None:
    """A slice is the same arithmetic on fewer rows."""
    of_day = joined.predicted_at.dt.strftime("%Y-%m-%d") == "2013-04-01"
    rows = joined[of_day & (joined.variant == "champion") & (joined.origin == "EWR")]

    (found,) = done.values(
        measure="accuracy",
        slice={"origin": "EWR"},
        window_start="2013-04-01T00:00:00Z",
        variant="champion",
        maturity="3d",
    )

    assert found["support"] == len(rows)
    assert found["value"] == pytest.approx(accuracy_score(rows.late, rows.prediction), abs=1e-12)


def test_coverage_grows_with_age_and_never_reaches_cancelled_flights(done: Done) -> None:
    """Fresh values miss flights in the air, complete ones those that never landed."""
    coverage = {
        value["maturity"]: value["coverage"]
        for value in done.values(measure="accuracy", slice={}, variant="champion", window_start="2013-04-01T00:00:00Z")
    }

    assert coverage["6h"] < coverage["1d"] <= coverage["3d"] < 1


def test_live_and_lagging_metrics_reach_the_receiver(done: Done) -> None:
    """Without an endpoint, a receiver in the process stands for it."""
    received = done.report["demo"]["received"]

    assert {"ml.predictions", "ml.prediction.score", "expected_refund", "risky_flights"} <= set(received["live"])
    assert {"ml.evaluation.accuracy", "ml.label.coverage", "ml.label.delay"} <= set(received["lagging"])


def test_the_same_seed_gives_the_same_values(done: Done, unheard: subprocess.CompletedProcess[str]) -> None:
    """A demo that is run again, and only for its first day, comes to the same numbers."""
    again = json.loads(unheard.stdout)

    first = [value for value in done.report["values"] if value["window_start"] == "2013-04-01T00:00:00Z"]
    assert again["values"] == first


def test_an_endpoint_that_is_down_is_exit_code_3(unheard: subprocess.CompletedProcess[str]) -> None:
    """The demo goes through, and says that nobody took its metrics."""
    assert unheard.returncode == 3, unheard.stderr
    assert json.loads(unheard.stdout)["demo"]["runs"][0]["state"] == "PointsKept"
    assert "safe in the outbox" in unheard.stderr


def test_the_kept_folder_is_an_evaluation_like_any_other(done: Done, run: Run) -> None:
    """What the demo suggests next works on what it kept."""
    asked = run("evaluate", done.folder / "monitoring.yaml", "--as-of", "2013-04-04", "--format", "json")

    assert asked.exit_code == 0, asked.output
    assert {value["maturity"] for value in json.loads(asked.stdout)["values"]} == {"6h", "1d"}


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path, run: Run) -> None:
    """Whoever mistypes a folder loses nothing."""
    (tmp_path / "thesis.txt").write_text("the only copy", encoding="utf-8")

    refused = run("demo", "--keep", tmp_path)

    assert refused.exit_code == 2
    assert "--keep" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert not (tmp_path / MARKER).exists()
