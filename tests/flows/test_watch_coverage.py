"""The flow `watch-coverage`: a warning days before the value that it is about."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.flows.watch_coverage import COVERAGE_LAGS, LEDGER_BEHIND, watch_coverage
from tests.flows.asking import artifacts_of
from tests.flows.material import START, lay_down

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from prefect.client.schemas.objects import State

    from otel_ml_metrics.coverage_watch import Watch
    from tests.flows.material import Material

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_api")]

SECOND_DAY = START + timedelta(days=1)
SECOND_IS_OPEN = START + timedelta(days=2, hours=6)
"""The first window is complete, and the second has ended, but has no value at its last maturity before another day."""


def run(material: Material, **parameters: Any) -> State[Watch]:
    """Run the flow and return its final state, whatever it is."""
    return cast("State[Watch]", watch_coverage(str(material.monitoring), **parameters, return_state=True))


def evaluate(material: Material, as_of: datetime) -> None:
    """Advance the ledger."""
    with Evaluator(Evaluation.from_file(material.monitoring), environ={}) as evaluator:
        evaluator.run(as_of=as_of)


def test_labels_that_come_in_as_ever_lag_nowhere(material: Material) -> None:
    """The open window has about what the complete one had at its age."""
    evaluate(material, SECOND_IS_OPEN)

    state = run(material)

    (window,) = state.result().windows
    assert (state.is_completed(), state.name) == (True, "Completed")
    assert (window.start, window.predictions, window.labelled) == (SECOND_DAY, 96, 96)
    assert window.expected == pytest.approx(96, abs=1)
    assert len(artifacts_of(state)) == 1


def test_labels_that_stop_are_told_before_there_is_a_value(material: Material) -> None:
    """The state and its name say which window, how many labels it has, and how many it should have."""
    material.lose_labels(SECOND_DAY + timedelta(hours=4))
    evaluate(material, SECOND_DAY + timedelta(hours=20))
    evaluate(material, SECOND_IS_OPEN)

    state = run(material)

    assert (state.is_completed(), state.name) == (True, COVERAGE_LAGS)
    assert "2013-04-02T00:00:00Z to 2013-04-03T00:00:00Z lags: 8 of 96" in str(state.message)


def test_a_window_that_still_fills_is_judged_by_the_age_of_its_predictions(tmp_path: Path) -> None:
    """Predictions of the last two hours can have no label yet, and that is no lag."""
    (tmp_path / "so-far").mkdir()
    material = lay_down(tmp_path / "so-far", days=1.625)
    material.declare("\nwindow: 1d", "\nwindow: 12h")
    evaluate(material, SECOND_DAY + timedelta(hours=15))

    state = run(material)

    filling = state.result().windows[-1]
    assert state.name == "Completed"
    assert (filling.predictions, filling.labelled) == (12, 5)
    assert filling.expected == pytest.approx(filling.labelled, abs=3)


def test_with_no_complete_window_there_is_nothing_to_compare(material: Material) -> None:
    """A young evaluation says so, and warns of nothing."""
    evaluate(material, SECOND_DAY)

    state = run(material)

    assert state.name == "Completed"
    assert "nothing to compare" in str(state.message)


def test_a_ledger_that_nobody_advances_is_reported(material: Material) -> None:
    """Else the watch would look at the same old windows for ever, and find them in order."""
    evaluate(material, SECOND_IS_OPEN)

    state = run(material, every="1h")

    assert (state.is_completed(), state.name) == (True, LEDGER_BEHIND)
    assert "nobody advanced the ledger from 2013-04-03T06:00:00Z on" in str(state.message)


def test_a_watch_changes_nothing(material: Material) -> None:
    """It only looks, so it needs no ledger, and makes none."""
    state = run(material, every="1h")

    assert state.is_completed()
    assert not material.ledger.exists()
