"""When labels come: how many at which delay, and what share of a window has one at which age."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from otel_ml_metrics.charts.canvas import Canvas
from otel_ml_metrics.charts.palette import ARMS, INK
from otel_ml_metrics.semconv import LABEL_DELAY_BOUNDS

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"))
_APART: Final = 3  # bars between two numbers below them


def draw_delays(labels: Sequence[int]) -> str:
    """Draw the share of labels by the delay with which they came, and as a line the share that had come by then.

    Args:
        labels: Number per bucket of `LABEL_DELAY_BOUNDS`, and of those beyond; at least one label.
    """
    counts = np.array(labels, float)
    filled = np.flatnonzero(counts)
    first, last = max(0, int(filled[0]) - 1), int(filled[-1]) + 1
    shares, reached = counts[first:last] / counts.sum(), np.cumsum(counts)[first:last] / counts.sum()
    canvas = Canvas(400, 230)
    places = np.arange(last - first, dtype=float)
    panel = canvas.panel(left=52, right=10, top=24, bottom=24, x=(0.0, float(last - first)), y=(0.0, 1.0))
    panel.grid(((0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")))
    panel.bars(places + 0.1, places + 0.9, shares, ARMS[0], opacity=0.45)
    panel.line(np.append(0.0, places + 1), np.append(0.0, reached), INK, linewidth=1.6)
    step = max(1, -(-len(places) // (2 * _APART)))
    bounds = [*LABEL_DELAY_BOUNDS, np.inf][first:last]
    panel.below([(at + 1.0, _within(bounds[at])) for at in range(0, len(places), step) if np.isfinite(bounds[at])])
    panel.corner("labels that came within")
    described = " ".join(f"{share:.1%} within {_within(bound)}." for share, bound in zip(reached, bounds, strict=True))
    return canvas.svg(title="Label delay: share of labels by the time they took", description=described)


def delay_names() -> list[str]:
    """Names of the buckets, the last one of what is beyond."""
    return [*map(_within, LABEL_DELAY_BOUNDS), f"more than {_within(LABEL_DELAY_BOUNDS[-1])}"]


def _within(seconds: float) -> str:
    if not np.isfinite(seconds):
        return "any time"
    length, unit = next((length, unit) for length, unit in _UNITS if seconds >= length)
    return f"{seconds / length:g} {unit}"
