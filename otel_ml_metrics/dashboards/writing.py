"""Every file of a set of dashboards and rules, as text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.dashboards.comparison import comparison
from otel_ml_metrics.dashboards.frame import is_shown, written
from otel_ml_metrics.dashboards.labels import labels
from otel_ml_metrics.dashboards.live import live
from otel_ml_metrics.dashboards.quality import quality
from otel_ml_metrics.dashboards.rules import rules
from otel_ml_metrics.dashboards.slices import slices

if TYPE_CHECKING:
    from otel_ml_metrics.dashboards.subject import Subject

_BOARDS: Final = {"live": live, "quality": quality, "labels": labels, "comparison": comparison, "slices": slices}


def files(subject: Subject) -> dict[str, str]:
    """The text of each file, by its path with `/`: the same subject gives the same bytes.

    Grafana makes a folder of a directory, so that several evaluations can share the place.
    """
    name = re.sub(r"[^A-Za-z0-9._]+", "-", subject.title).strip("-.").lower()
    boards = {
        f"dashboards/{name}/{kind}.json": written(board(subject))
        for kind, board in _BOARDS.items()
        if is_shown(kind, subject)
    }
    return boards | {f"rules/{name}.yml": rules(subject)}
