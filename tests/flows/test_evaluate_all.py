"""The flow `evaluate-all`: several models, each in a run of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from otel_ml_metrics.flows.evaluate_all import evaluate_all
from tests.flows.material import lay_down

if TYPE_CHECKING:
    from pathlib import Path

    from prefect.client.schemas.objects import State

    from tests.flows.material import Material

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_api")]


@pytest.fixture
def other(tmp_path: Path) -> Material:
    """A second evaluation beside the first."""
    folder = tmp_path / "other"
    folder.mkdir()
    return lay_down(folder)


def run(*monitoring: object, **parameters: Any) -> State[None]:
    """Run the flow and return its final state, whatever it is."""
    given = {"send_for": 0} | parameters
    return cast("State[None]", evaluate_all(list(map(str, monitoring)), **given, return_state=True))


def test_each_model_is_evaluated(material: Material, other: Material) -> None:
    """All ledgers stand where their own run put them."""
    state = run(material.monitoring, other.monitoring)

    assert state.is_completed(), state.message
    assert material.ledger.exists()
    assert other.ledger.exists()


def test_one_that_fails_does_not_keep_the_others_from_running(material: Material, other: Material) -> None:
    """The final state names the one, and the others have their values."""
    broken = other.folder / "missing.yaml"

    state = run(broken, material.monitoring, other.monitoring)

    assert state.is_failed()
    assert "1 of 3 models failed" in str(state.message)
    assert f"{broken}: " in str(state.message)
    assert "cannot read the file" in str(state.message)
    assert material.ledger.exists()
    assert other.ledger.exists()


def test_a_cluster_that_is_not_installed_is_named_with_what_to_do(material: Material) -> None:
    """Nobody has to read a traceback to learn which package is missing where."""
    state = run(material.monitoring, runner="ray")

    assert state.is_failed()
    assert "pip install prefect-ray" in str(state.message)
    assert not material.ledger.exists()
