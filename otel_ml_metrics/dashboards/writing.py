"""Every file of a set of dashboards and rules, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics.dashboards.comparison import comparison
from otel_ml_metrics.dashboards.frame import is_shown, written
from otel_ml_metrics.dashboards.labels import labels
from otel_ml_metrics.dashboards.live import live
from otel_ml_metrics.dashboards.quality import quality
from otel_ml_metrics.dashboards.slices import slices

if TYPE_CHECKING:
    from otel_ml_metrics.dashboards.subject import Subject

_BOARDS: Final = {"live": live, "quality": quality, "labels": labels, "comparison": comparison, "slices": slices}


def files(subject: Subject) -> dict[str, str]:
    """The text of each file, by its path with `/`: the same subject gives the same bytes."""
    return {
        f"dashboards/{name}.json": written(board(subject)) for name, board in _BOARDS.items() if is_shown(name, subject)
    }
