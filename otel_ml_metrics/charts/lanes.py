"""Values with intervals below each other: slices against all rows, one arm against another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.charts.canvas import Canvas, ticks
from otel_ml_metrics.charts.palette import ARMS, DASHES, INK, RULE
from otel_ml_metrics.spelling import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_ml_metrics.charts.canvas import Limits, Panel

HEIGHT: Final = 26.0
_LEFT: Final = 160.0
_LETTERS: Final = 25


@dataclass(frozen=True)
class Mark:
    """A value in a lane.

    Args:
        value: Where its dot is.
        lower: Lower end of its interval, where it has one.
        upper: Upper end of it.
        arm: Number of its colour.
    """

    value: float
    lower: float | None = None
    upper: float | None = None
    arm: int = 0

    @property
    def ends(self) -> tuple[float, float]:
        """Of its interval, or of itself."""
        return (
            self.value if self.lower is None else self.lower,
            self.value if self.upper is None else self.upper,
        )


@dataclass(frozen=True)
class Lane:
    """Values of one thing.

    Args:
        name: Of the thing.
        marks: At least one.
    """

    name: str
    marks: Sequence[Mark]


def draw_lanes(lanes: Sequence[Lane], *, title: str, reference: float | None = None) -> str:
    """Draw lanes below each other on one scale.

    Args:
        lanes: From top to bottom, at least one.
        title: What it is.
        reference: A number to which all are compared: a rule through every lane.
    """
    canvas = Canvas(400, 34 + HEIGHT * len(lanes))
    limits = _limits([mark for lane in lanes for mark in lane.marks], reference)
    panel = canvas.panel(left=_LEFT, right=14, top=6, bottom=26, x=limits, y=(0.0, float(len(lanes))))
    for place, _ in ticks(limits):
        panel.line((place, place), panel.y, RULE, linewidth=0.8)
    panel.below(ticks(limits))
    if reference is not None:
        panel.line((reference, reference), panel.y, INK, linewidth=1.2, linestyle=DASHES[1])
    for at, lane in enumerate(lanes):
        _draw(panel, lane, len(lanes) - at - 0.5)
    return canvas.svg(title=title, description=" ".join(map(_told, lanes)))


def draw_pairs(lanes: Sequence[Lane], *, names: Sequence[tuple[str, int]], title: str) -> str:
    """Draw lanes below each other, each on a scale of its own: they are in different units.

    Args:
        lanes: From top to bottom, at least one.
        names: Of arms, each with the number of its colour.
        title: What it is.
    """
    height = HEIGHT + 22
    canvas = Canvas(400, 26 + height * len(lanes))
    canvas.legend([(name, ARMS[at], "solid") for name, at in names], left=_LEFT, top=12)
    for at, lane in enumerate(lanes):
        top, limits = 24 + at * height, _limits(lane.marks, None)
        panel = canvas.panel(
            left=_LEFT, right=14, top=top, bottom=canvas.height - top - height + 22, x=limits, y=(0.0, 1.0)
        )
        panel.line(limits, (0.0, 0.0), RULE, linewidth=0.8)
        panel.below([(place, told) for place, told in ticks(limits, most=3)])
        _draw(panel, lane, 0.5)
    return canvas.svg(title=title, description=" ".join(map(_told, lanes)))


def _draw(panel: Panel, lane: Lane, up: float) -> None:
    panel.beside(lane.name if len(lane.name) <= _LETTERS else f"{lane.name[: _LETTERS - 1]}…", up)
    spread = 0.32 * (panel.y[1] - panel.y[0]) if len(lane.marks) > 1 and panel.y[1] == 1 else 0.2
    for at, mark in enumerate(lane.marks):
        place = up + (0.0 if len(lane.marks) == 1 else spread * (0.5 - at / (len(lane.marks) - 1)) * 2)
        panel.line(mark.ends, (place, place), ARMS[mark.arm], linewidth=1.6)
        panel.dots((mark.value,), (place,), ARMS[mark.arm], size=6.0)


def _limits(marks: Sequence[Mark], reference: float | None) -> Limits:
    ends = [end for mark in marks for end in mark.ends] + ([] if reference is None else [reference])
    air = 0.06 * (max(ends) - min(ends))
    return min(ends) - air, max(ends) + air


def _told(lane: Lane) -> str:
    values = "; ".join(
        number(mark.value)
        + ("" if mark.lower is None or mark.upper is None else f" ({number(mark.lower)} to {number(mark.upper)})")
        for mark in lane.marks
    )
    return f"{lane.name}: {values}."
