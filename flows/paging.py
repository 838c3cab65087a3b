"""Events in Prefect about values beyond a declared threshold: what an automation acts on, once per window."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.filters import EventFilter, EventIDFilter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_ml_metrics.alerting import Breach
    from otel_ml_metrics.evaluation_report import Report

BREACHED: Final = "ml.alert.breached"
"""Name of the event; its resource is the alert, its payload the breach."""

PAGE: Final = 50
"""Events that Prefect's API gives at a time, at most."""

_IDENTITY: Final = ("window_start", "version", "variant", "output", "slice")


def page(report: Report) -> list[Breach]:
    """Emit an event for each breach that is news and that nobody was told of.

    A run judges the newest window again, and a late label may breach a threshold a second time. The id of an event is
    made of what it is about, and Prefect is asked for it first, so a window pages once however often it is judged.

    Args:
        report: Of a run; one that only read pages nobody.

    Returns:
        The breaches of which an event was emitted.
    """
    if report.read_only:
        return []
    news = {event_id(report.evaluation, each): each for each in report.breaches if each.is_news(report.as_of)}
    told = set(_emitted(list(news)))
    fresh = {at: each for at, each in news.items() if at not in told}
    for at, breach in fresh.items():
        resource = {
            "prefect.resource.id": f"ml.alert.{report.evaluation}.{breach.alert.name}",
            "prefect.resource.name": breach.alert.name,
            "ml.model.name": report.model,
            "ml.alert.severity": breach.alert.severity,
        }
        emit_event(BREACHED, resource, payload=breach.to_dict() | {"told": breach.told}, id=at)
    return list(fresh.values())


def event_id(evaluation: str, breach: Breach) -> UUID:
    """The id of the event about a breach: the same for the same alert, series and window, whatever the value."""
    about = breach.to_dict()
    parts = (evaluation, breach.alert.name, breach.alert.rule, *(about[name] for name in _IDENTITY))
    return uuid5(NAMESPACE_URL, json.dumps(parts, sort_keys=True))


def _emitted(ids: Sequence[UUID]) -> Iterator[UUID]:
    with get_client(sync_client=True) as client:
        for start in range(0, len(ids), PAGE):
            some = EventIDFilter(id=list(ids[start : start + PAGE]))
            yield from (event.id for event in client.read_events(EventFilter(id=some), limit=PAGE).events)
