"""The flow `maintain-log` against Prefect's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from otel_ml_metrics.flows.evaluate_labels import evaluate_labels
from otel_ml_metrics.flows.maintain_log import maintain_log
from tests.flows.material import SETTLED

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from otel_ml_metrics.maintenance import Upkeep
    from tests.flows.material import Material

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_api")]


def run(material: Material, **parameters: Any) -> State[Upkeep]:
    """Run the flow and return its final state, whatever it is."""
    return cast("State[Upkeep]", maintain_log(str(material.monitoring), **parameters, return_state=True))


def test_files_are_merged_and_old_dates_retired(material: Material) -> None:
    """Both arms wrote a file a day: each day becomes one file, or leaves by the declared retention."""
    material.declare("slices:", "retention: 2d\nslices:")
    evaluate_labels(str(material.monitoring), SETTLED, send_for=0)

    state = run(material)

    assert state.is_completed(), state.message
    assert state.result().retired is not None
    assert "2 files of 1 dates merged; 1 dates retired, all before 2013-04-02" in str(state.message)


def test_a_dry_run_says_what_would_be_done(material: Material) -> None:
    """Twice the same answer: the first time changed nothing."""
    first = run(material, dry_run=True)

    second = run(material, dry_run=True)

    assert "this would be: 4 files of 2 dates merged" in str(first.message)
    assert second.message == first.message
