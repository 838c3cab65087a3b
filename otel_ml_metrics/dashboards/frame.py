"""What every dashboard has around its panels: title, uid, links to the others, choices, rows."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationContainer,
    DashboardCursorSync,
    DashboardLinkType,
    RowPanel,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.models.dashboard import Dashboard

    from otel_ml_metrics.dashboards.panels import Panel
    from otel_ml_metrics.dashboards.subject import Subject
    from otel_ml_metrics.dashboards.variables import Variable

TITLES: Final = {
    "live": "live traffic",
    "quality": "quality, fresh to complete",
    "labels": "labels and coverage",
    "comparison": "versions and variants",
    "slices": "slices",
}
"""The dashboards, in the order in which they link to each other."""

_CARRIED: Final = ("datasource", "job", "model")  # what stands for the same on each of them


class Frame:
    """A dashboard to be filled, row by row.

    Args:
        name: One of `TITLES`.
        subject: What it is about.
        told: What it answers.
        variables: What can be chosen.
        since: Start of the time range, such as `now-6h`.
        refresh: How often it asks anew.
    """

    def __init__(
        self, name: str, subject: Subject, told: str, *, variables: Sequence[Variable], since: str, refresh: str
    ) -> None:
        board = dashboard.Dashboard(f"{subject.title}: {TITLES[name]}").uid(uid_of(name, subject)).description(told)
        board = board.tags(["otel-ml-metrics"]).timezone("utc").time(since, "now").refresh(refresh)
        board = board.tooltip(DashboardCursorSync.CROSSHAIR).variables(list(variables))
        for other, title in TITLES.items():
            if other != name and is_shown(other, subject):
                board = board.link(_link(other, title, subject))
        self._board = board

    def row(self, title: str, *panels: Panel, collapsed: bool = False) -> None:
        """Add a row of panels, which is closed at first where that is asked for."""
        row = dashboard.Row(title).collapsed(collapsed)
        if collapsed:
            for panel in panels:
                row = row.with_panel(panel)
        self._board = self._board.with_row(row)
        if not collapsed:
            for panel in panels:
                self._board = self._board.with_panel(panel)

    def built(self) -> Dashboard:
        """The dashboard, with its panels numbered in their order."""
        board = self._board.build()
        board.annotations = AnnotationContainer(list_val=[])
        numbers = count(1)
        for panel in board.panels or []:
            panel.id_val = next(numbers)
            for inner in panel.panels if isinstance(panel, RowPanel) else ():
                inner.id_val = next(numbers)
        return board


def uid_of(name: str, subject: Subject) -> str:
    """By which a dashboard is found, and replaced by its next version."""
    return f"{subject.uid}-{name}"


def is_shown(name: str, subject: Subject) -> bool:
    """Whether there is something to show: an evaluation without slices has no dashboard of them."""
    return name != "slices" or subject.slicing.fields != ()


def written(board: Dashboard) -> str:
    """The dashboard as JSON, which is the same whenever its content is."""
    return f"{JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(board)}\n"


def _link(name: str, title: str, subject: Subject) -> dashboard.DashboardLink:
    chosen = "&".join(f"${{{variable}:queryparam}}" for variable in _CARRIED)
    link = dashboard.DashboardLink(title.capitalize()).type(DashboardLinkType.LINK)
    return link.url(f"/d/{uid_of(name, subject)}?{chosen}").keep_time(keep_time=True)
