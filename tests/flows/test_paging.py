"""Events about values beyond a declared threshold, in Prefect's API."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.events.schemas.automations import AutomationCore

from otel_ml_metrics.flows.paging import BREACHED, page
from tests.flows.asking import artifact_of, evaluate
from tests.flows.material import SETTLED
from tests.patience import eventually

if TYPE_CHECKING:
    from prefect.events.schemas.events import ReceivedEvent

    from tests.flows.material import Material

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_api")]

AUTOMATION: Final = Path(__file__).parents[2] / "examples" / "automations" / "page-on-breach.yaml"


def declare(material: Material, alert: str, *, name: str) -> None:
    """Add an alert, and name the evaluation anew: events of other tests stay in Prefect."""
    text = material.monitoring.read_text().replace("name: flight-delay-api/flight-delay", f"name: {name}")
    material.monitoring.write_text(f"{text}alerts: [{alert}]\n")


def events_of(name: str, *, at_least: int) -> list[ReceivedEvent]:
    """The breaches that Prefect knows of an evaluation, waited for: events travel beside the run."""
    wanted = EventFilter(event=EventNameFilter(name=[BREACHED]))

    def enough() -> list[ReceivedEvent]:
        with get_client(sync_client=True) as client:
            events = client.read_events(wanted, limit=50).events
        found = [event for event in events if f".{name}." in event.resource.id]
        return found if len(found) >= at_least else []

    return eventually(enough, poll=0.2)


def test_a_breach_is_an_event(material: Material) -> None:
    """With the alert as its resource and the value, its rows and its window beside it; and the run says so."""
    declare(material, "{measure: accuracy, below: 0.999, minimum_support: 1, severity: critical}", name="one")

    state = evaluate(material)

    breaches = [each for each in state.result().breaches if each.is_news(SETTLED)]
    events = events_of("one", at_least=len(breaches))
    assert breaches
    assert {event.payload["told"] for event in events} == {breach.told for breach in breaches}
    assert {event.resource["ml.alert.severity"] for event in events} == {"critical"}
    assert "beyond a declared threshold" in str(state.message)
    assert "accuracy_below" in str(artifact_of(state, "table").description)


def test_a_window_pages_once(material: Material) -> None:
    """The newest window is judged by every run; what was told is not told again."""
    declare(material, "{measure: accuracy, below: 0.999, minimum_support: 1}", name="two")
    first = evaluate(material).result()
    events_of("two", at_least=len([each for each in first.breaches if each.is_news(SETTLED)]))

    again = evaluate(material, as_of=SETTLED + timedelta(hours=1)).result()

    assert again.breaches
    assert page(again) == []


def test_nobody_is_paged_by_a_dry_run(material: Material) -> None:
    """It shows the breach and tells no automation."""
    declare(material, "{measure: accuracy, below: 0.999, minimum_support: 1}", name="three")

    shown = evaluate(material, dry_run=True).result()

    assert shown.breaches
    assert page(shown) == []


def test_prefect_takes_the_automation_of_the_examples() -> None:
    """It waits for the events that the flows emit."""
    automation = AutomationCore.model_validate(yaml.safe_load(AUTOMATION.read_text()))

    with get_client(sync_client=True) as client:
        kept = client.read_automation(client.create_automation(automation))

    assert kept is not None
    assert kept.trigger == automation.trigger
    assert f"[{BREACHED}]" in AUTOMATION.read_text()
