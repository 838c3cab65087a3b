"""Late, doubled and missed runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.flows.evaluate_labels import evaluate_labels
from otel_ml_metrics.flows.measuring import NOTHING_TO_DO
from otel_ml_metrics.flows.punctuality import gap
from otel_ml_metrics.standing import Standing, standing_of
from tests.flows.asking import run_as_due

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from otel_ml_metrics.evaluation_report import Report
    from otel_ml_metrics.telemetry.receiver import Receiver
    from tests.flows.material import Material

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATE_RUNS = 20


@pytest.mark.parametrize(
    ("hours", "every", "missed"),
    [(1.0, "1h", None), (1.4, "1h", None), (2.0, "1h", 1), (5.0, "1h", 4), (5.0, None, None), (5.0, "6h", None)],
)
def test_a_gap_is_longer_than_a_late_run(hours: float, every: str | None, missed: int | None) -> None:
    """A run that begins a little late is none, and without a schedule there is none."""
    found = Standing(version=7, as_of=NOON - timedelta(hours=hours), committed_at=NOON)

    told = gap(found, every=every, now=NOON)

    assert (told is None) == (missed is None)
    assert missed is None or f"; {missed} runs were missed" in str(told)


def run(material: Material, **parameters: Any) -> State[Report]:
    """Run the flow as its schedule does."""
    return cast("State[Report]", evaluate_labels(str(material.monitoring), **parameters, return_state=True))


@pytest.mark.prefect
@pytest.mark.usefixtures("prefect_api")
def test_twenty_late_runs_do_the_work_of_one(material: Material, receiver: Receiver) -> None:
    """After an outage Prefect runs them all, oldest first: the first takes everything, and the others say that it did.

    They read nothing, commit nothing and send nothing but how they went.
    """
    now = datetime.now(UTC)

    states = [
        run_as_due(evaluate_labels, now - timedelta(hours=hour), monitoring=str(material.monitoring))
        for hour in range(LATE_RUNS, 0, -1)
    ]

    assert [state.is_completed() for state in states] == [True] * LATE_RUNS
    assert [state.name for state in states] == ["Completed", *[NOTHING_TO_DO] * (LATE_RUNS - 1)]
    assert "the one that committed ledger version 1 at" in str(states[1].message)
    assert standing_of(Evaluation.from_file(material.monitoring)).version == 1
    accuracies = [point for point in receiver.points if point.metric == "ml.evaluation.accuracy"]
    assert len(accuracies) == len({str(point.attributes) for point in accuracies})


@pytest.mark.prefect
@pytest.mark.usefixtures("prefect_api")
def test_a_run_that_is_due_after_the_last_one_is_done(material: Material) -> None:
    """Only what somebody took already is left out."""
    run(material)

    state = run(material)

    assert state.name == "Completed"


@pytest.mark.prefect
@pytest.mark.usefixtures("prefect_api")
def test_a_run_after_a_gap_says_how_long_it_was(material: Material) -> None:
    """The values of the missed hours come with this run, and somebody learns why they came late."""
    run(material, as_of=datetime.now(UTC) - timedelta(hours=5))

    state = run(material, every="1h")

    assert state.is_completed()
    assert str(state.message).startswith("gap: nobody advanced the ledger from ")
    assert "; 4 runs were missed; " in str(state.message)


@pytest.mark.prefect
@pytest.mark.usefixtures("prefect_api")
def test_an_interval_that_is_none_is_refused(material: Material) -> None:
    """A slip in prefect.yaml must not switch the report of gaps off."""
    state = run(material, every="hourly")

    assert state.is_failed()
    assert "hourly" in str(state.message)
    assert not material.ledger.exists()
