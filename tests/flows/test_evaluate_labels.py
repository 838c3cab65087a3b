"""The flow `evaluate-labels` against Prefect's API, with the real evaluator behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.metrics import get_meter_provider
from prefect.flows import load_flow_from_entrypoint

from otel_ml_metrics.flows.running import POINTS_KEPT
from otel_ml_metrics.flows.showing import MOST_ROWS
from otel_ml_metrics.telemetry.receiver import ACCEPT, Receiver, Reply
from tests.flows.asking import artifact_of, artifacts_of, evaluate, name_of
from tests.flows.material import CLOSED_PORT, SETTLED

if TYPE_CHECKING:
    from datetime import datetime

    from prefect import Flow

    from tests.flows.material import Material

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_api")]


def test_a_run_evaluates_commits_and_sends(material: Material, receiver: Receiver) -> None:
    """One run takes everything that was final at as_of, and its points reach the endpoint."""
    state = evaluate(material)

    assert state.is_completed(), state.message
    accuracies = [value for value in state.result().values if value.measure == "accuracy" and not value.slice]
    assert {(value.variant, value.maturity) for value in accuracies} == {
        ("champion", "6h"),
        ("champion", "1d"),
        ("challenger", "6h"),
        ("challenger", "1d"),
    }
    assert {point.metric for point in receiver.points} >= {"ml.evaluation.accuracy", "ml.label.coverage"}


def test_a_run_is_named_by_model_and_instant(material: Material) -> None:
    """An operator reads in the list of runs what each was about."""
    state = evaluate(material)

    assert name_of(state) == "flight-delay as of 2013-04-04T00:00:00Z"


def test_a_run_leaves_a_table(material: Material) -> None:
    """The values stand in the UI, under one key per evaluation, with the words that explain them."""
    state = evaluate(material)

    artifact = artifact_of(state, "table")
    assert artifact.key == "flight-delay-api-flight-delay"
    assert "flight-delay-api/flight-delay" in str(artifact.description)
    assert '"measure": "accuracy"' in str(artifact.data)
    assert str(artifact.data).count('"measure"') <= MOST_ROWS


def test_a_second_run_finds_nothing_to_do(material: Material) -> None:
    """Late, lost and doubled runs are harmless, because a run takes what came in since the last commit."""
    first = evaluate(material).result()

    second = evaluate(material)

    assert second.is_completed()
    assert first.values
    assert second.result().values == ()
    assert artifacts_of(second) == []


def test_a_dry_run_changes_nothing(material: Material) -> None:
    """It shows what would become final, and leaves it to become so."""
    shown = evaluate(material, dry_run=True).result()

    done = evaluate(material).result()

    assert shown.values == done.values


def test_an_endpoint_that_is_down_fails_the_run_and_keeps_the_points(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody should look, so the run fails by a name of its own; the values are safe and say so."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", CLOSED_PORT)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")

    state = evaluate(material)

    assert (state.is_failed(), state.name) == (True, POINTS_KEPT)
    assert "safe in the outbox" in str(state.message)


def test_kept_points_are_sent_by_the_next_run(
    material: Material, monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    """A run that finds nothing new still sends what an earlier one could not."""
    with monkeypatch.context() as down:
        down.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", CLOSED_PORT)
        down.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        evaluate(material)
    heard = len(receiver.points)

    state = evaluate(material)

    assert heard == 0
    assert state.is_completed(), state.message
    assert "ml.evaluation.accuracy" in {point.metric for point in receiver.points}


def test_a_run_outlasts_a_short_outage(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Collector that restarts fails no run: it tries again for as long as `send_for` says."""
    replies = iter([Reply(status=503)] * 2)
    with Receiver(reply=lambda _: next(replies, ACCEPT)) as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")

        state = evaluate(material, send_for=10)

    assert state.is_completed(), state.message
    assert "ml.evaluation.accuracy" in {point.metric for point in receiver.points}


def test_a_broken_setting_fails_at_once(material: Material) -> None:
    """What a second try cannot mend is not tried again, and the state says what to do."""
    known = material.monitoring.read_text(encoding="utf-8")
    material.monitoring.write_text(known.replace("task: binary", "task: binery"), encoding="utf-8")

    state = evaluate(material)

    assert state.is_failed()
    assert "monitoring.yaml:3: task: found 'binery'" in str(state.message)


def test_an_instant_without_a_zone_is_refused(material: Material) -> None:
    """A naive instant names no moment, so it never reaches the ledger."""
    naive: datetime = SETTLED.replace(tzinfo=None)

    state = evaluate(material, as_of=naive)

    assert state.is_failed()
    assert "timezone" in str(state.message)
    assert not material.ledger.exists()


def test_the_form_in_the_ui_teaches() -> None:
    """Every parameter is a plain typed value with a sentence about it."""
    flow: Flow[..., Any] = load_flow_from_entrypoint("otel_ml_metrics.flows.evaluate_labels.evaluate_labels")

    fields = flow.parameters.properties

    assert flow.parameters.required == ["monitoring"]
    assert {name: field.get("type") for name, field in fields.items()} == {
        "monitoring": "string",
        "as_of": None,
        "every": None,
        "dry_run": "boolean",
        "send_for": "integer",
    }
    assert {"type": "string", "format": "date-time"} in fields["as_of"]["anyOf"]
    assert all(field["description"].endswith(".") for field in fields.values())


def test_a_run_leaves_the_global_meter_provider_alone(material: Material) -> None:
    """The provider of a process belongs to its main program; a flow is a guest in it."""
    before = get_meter_provider()

    evaluate(material)

    assert get_meter_provider() is before
