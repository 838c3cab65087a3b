"""Flow runs over JSON lines, for programs that must not import Prefect."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from otel_ml_metrics.flows.sequence import run_sequence
from tests.flows.material import SETTLED

if TYPE_CHECKING:
    from tests.flows.material import Material

ENTRYPOINT = "otel_ml_metrics.flows.evaluate_labels.evaluate_labels"


@pytest.mark.prefect
@pytest.mark.usefixtures("prefect_api")
def test_each_line_is_a_run_and_a_failed_one_is_an_answer(material: Material) -> None:
    """The program that asks learns how each run went; one that fails does not end the sequence."""
    requests = [
        json.dumps({"monitoring": str(material.folder / "missing.yaml")}),
        json.dumps({"monitoring": str(material.monitoring), "as_of": SETTLED.isoformat()}),
    ]
    answers = io.StringIO()

    run_sequence(ENTRYPOINT, requests=requests, answers=answers)

    ready, failed, done = (json.loads(line) for line in answers.getvalue().splitlines())
    assert ready == {"ready": "evaluate-labels"}
    assert (failed["ok"], failed["state"]) == (False, "Failed")
    assert "missing.yaml" in failed["message"]
    assert (done["ok"], done["name"]) == (True, "flight-delay as of 2013-04-04T00:00:00Z")
