"""What flows tell of themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from otel_ml_metrics.flows.evaluate_labels import evaluate_labels
from otel_ml_metrics.flows.keep_alive import keep_alive
from otel_ml_metrics.flows.watch_coverage import watch_coverage
from otel_ml_metrics.semconv import FLOW_METRICS
from tests.flows.asking import run_as_due
from tests.flows.material import CLOSED_PORT, SETTLED

if TYPE_CHECKING:
    from otel_ml_metrics.telemetry.received import ReceivedPoint
    from otel_ml_metrics.telemetry.receiver import Receiver
    from tests.flows.material import Material

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_api")]


def told(receiver: Receiver) -> dict[str, ReceivedPoint]:
    """The newest point of each metric about flows."""
    names = {metric.name for metric in FLOW_METRICS}
    return {point.metric: point for point in receiver.points if point.metric in names}


def test_a_run_tells_how_it_went(material: Material, receiver: Receiver) -> None:
    """Duration by outcome, lateness, labels; no attribute names a flow run, which would be a series for each."""
    due = datetime.now(UTC) - timedelta(minutes=10)

    run_as_due(evaluate_labels, due, monitoring=str(material.monitoring), as_of=SETTLED, send_for=0)

    of_flow = {"ml.model.name": "flight-delay", "ml.flow.name": "evaluate-labels"}
    found = told(receiver)
    assert found["ml.flow.labels"].value == 192
    assert found["ml.flow.labels"].attributes == of_flow
    assert found["ml.flow.lateness"].value == pytest.approx(600, abs=60)
    assert found["ml.flow.duration"].attributes == {**of_flow, "ml.flow.outcome": "completed"}
    assert 0 < number(found["ml.flow.duration"].value) < 60
    assert "ml.flow.ledger.age" not in found


def test_a_failed_run_tells_so(material: Material, receiver: Receiver) -> None:
    """An alert on failed runs needs no Prefect."""
    for labels in (material.folder / "labels").iterdir():
        labels.write_bytes(b"torn")

    state: Any = evaluate_labels(str(material.monitoring), SETTLED, send_for=0, return_state=True)

    assert state.is_failed()
    assert told(receiver)["ml.flow.duration"].attributes["ml.flow.outcome"] == "failed"


def test_the_age_of_the_ledger_is_told_by_whoever_looks(material: Material, receiver: Receiver) -> None:
    """Keep-alive runs every few minutes, so a backend sees evaluations stop."""
    evaluate_labels(str(material.monitoring), SETTLED, send_for=0)

    keep_alive(str(material.monitoring))

    age = told(receiver)["ml.flow.ledger.age"]
    assert age.value == pytest.approx((datetime.now(UTC) - SETTLED).total_seconds(), abs=60)
    assert age.attributes == {"ml.model.name": "flight-delay"}


def test_metrics_that_nobody_takes_fail_no_run(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are worth less than the run that they tell of."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", CLOSED_PORT)

    state: Any = watch_coverage(str(material.monitoring), return_state=True)

    assert state.is_completed()


def number(value: float | None) -> float:
    """A value that is there."""
    assert value is not None
    return value
