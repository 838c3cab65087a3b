"""The flow `backfill` against Prefect's API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from otel_ml_metrics.flows.backfill import backfill
from otel_ml_metrics.flows.evaluate_labels import evaluate_labels
from tests.flows.asking import name_of
from tests.flows.material import SETTLED, START

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from otel_ml_metrics.evaluation_report import Report
    from tests.flows.material import Material

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_api")]

UNTIL = datetime(2013, 4, 3, tzinfo=UTC)


def run(material: Material, **parameters: Any) -> State[Report]:
    """Run the flow over both days and return its final state."""
    given = {"since": START, "until": UNTIL, "send_for": 0} | parameters
    return cast("State[Report]", backfill(str(material.monitoring), **given, return_state=True))


def test_a_new_measure_gets_its_past(material: Material) -> None:
    """A measure starts with windows that are not final yet; the backfill gives it those that are."""
    evaluate_labels(str(material.monitoring), SETTLED, send_for=0)
    known = material.monitoring.read_text(encoding="utf-8")
    material.monitoring.write_text(known.replace("[accuracy,", "[accuracy, recall,"), encoding="utf-8")

    state = run(material)

    assert state.is_completed(), state.message
    assert {value.measure for value in state.result().values} == {"recall"}


def test_repeating_it_changes_nothing(material: Material) -> None:
    """A backfill that was cut off, or that nobody remembers, is simply run again."""
    evaluate_labels(str(material.monitoring), SETTLED, send_for=0)

    state = run(material)

    assert state.is_completed(), state.message
    assert state.result().values == ()


def test_a_run_is_named_by_model_and_range(material: Material) -> None:
    """An operator reads in the list of runs what each was about."""
    evaluate_labels(str(material.monitoring), SETTLED, send_for=0)

    state = run(material)

    assert name_of(state) == "flight-delay from 2013-04-01T00:00:00Z to 2013-04-03T00:00:00Z"
