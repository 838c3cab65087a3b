"""The flow `keep-alive`: backends that forget hear the same values again."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from otel_ml_metrics.flows.evaluate_labels import evaluate_labels
from otel_ml_metrics.flows.keep_alive import keep_alive
from otel_ml_metrics.flows.measuring import NOTHING_TO_DO
from otel_ml_metrics.flows.running import POINTS_KEPT
from tests.flows.material import CLOSED_PORT, SETTLED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prefect.client.schemas.objects import State

    from otel_ml_metrics.renewal import Renewal
    from otel_ml_metrics.telemetry.received import ReceivedPoint
    from otel_ml_metrics.telemetry.receiver import Receiver
    from tests.flows.material import Material

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_api")]


def run(material: Material) -> State[Renewal]:
    """Run the flow and return its final state, whatever it is."""
    return cast("State[Renewal]", keep_alive(str(material.monitoring), return_state=True))


def series_of(points: Iterable[ReceivedPoint]) -> dict[tuple[str, str], object]:
    """What stands in each series, whenever it was; flows tell of themselves besides."""
    return {
        (point.metric, str(sorted(point.attributes.items()))): (point.value, point.counts)
        for point in points
        if not point.metric.startswith("ml.flow.")
    }


def test_the_current_points_are_sent_again(material: Material, receiver: Receiver) -> None:
    """Every series of the newest run, with the same value and a later time, however often."""
    evaluate_labels(str(material.monitoring), SETTLED, send_for=0)
    evaluated = receiver.points

    states = [run(material), run(material)]

    renewed = receiver.points[len(evaluated) :]
    half = [point for point in renewed if not point.metric.startswith("ml.flow.")]
    assert all(state.is_completed() for state in states)
    assert series_of(renewed) == series_of(evaluated)
    assert len(half) == 2 * len(series_of(evaluated))
    assert min(point.time_unix_nano for point in half) > max(point.time_unix_nano for point in evaluated)


def test_history_is_not_sent_again(material: Material, receiver: Receiver) -> None:
    """Points that carry their window's end have one value for ever; only the counts are kept alive."""
    material.declare("measures:", "timestamps: event\nmeasures:")
    evaluate_labels(str(material.monitoring), SETTLED, send_for=0)
    evaluated = len(receiver.points)

    run(material)

    renewed = {point.metric for point in receiver.points[evaluated:]}
    assert "ml.labels" in renewed
    assert not any(metric.startswith("ml.evaluation.accuracy") for metric in renewed)


def test_kept_points_go_first(material: Material, monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """What an evaluation could not send is sent minutes later, not with the next evaluation."""
    with monkeypatch.context() as down:
        down.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", CLOSED_PORT)
        evaluate_labels(str(material.monitoring), SETTLED, send_for=0, return_state=True)

    renewal = run(material).result()

    assert renewal.caught_up.sent == renewal.points > 0
    assert "ml.evaluation.accuracy" in {point.metric for point in receiver.points}


def test_an_endpoint_that_is_down_fails_the_run(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gauges that fade are something to look at."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", CLOSED_PORT)
    evaluate_labels(str(material.monitoring), SETTLED, send_for=0, return_state=True)

    state = run(material)

    assert (state.is_failed(), state.name) == (True, POINTS_KEPT)


@pytest.mark.usefixtures("receiver")
def test_before_the_first_evaluation_there_is_nothing_to_do(material: Material) -> None:
    """It is deployed with the others and may run first; it makes no ledger."""
    state = run(material)

    assert (state.is_completed(), state.name) == (True, NOTHING_TO_DO)
    assert not material.ledger.exists()
