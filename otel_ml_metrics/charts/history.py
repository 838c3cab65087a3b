"""One measure over windows: its value with the interval, and beneath it the coverage that says how complete it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, num2date

from otel_ml_metrics.charts.canvas import Canvas, ticks
from otel_ml_metrics.charts.palette import ARMS, DASHES
from otel_ml_metrics.instants import DAY_US, to_us
from otel_ml_metrics.semconv import STAGE_PROVISIONAL
from otel_ml_metrics.spelling import arm_names, number, window_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from otel_ml_metrics.charts.canvas import Limits, Panel
    from otel_ml_metrics.charts.palette import Colour
    from otel_ml_metrics.evaluation_report import Value
    from otel_ml_metrics.spelling import Arm as Split

LEFT: Final = 52.0
RIGHT: Final = 10.0
BOTTOM: Final = 24.0
COVERAGE: Final = 38.0
_DATES: Final = ("%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S")  # years, months, days and so on
_FIRST_DATES: Final = ("", "%b %Y", "%d %b", "%d %b", "%H:%M", "%H:%M")  # at the turn of the next larger one
_COMMON_DATES: Final = ("", "%Y", "%Y", "%Y", "%Y-%m-%d", "%Y-%m-%d")
_MOST_DOTS: Final = 45  # windows, beyond which the dots of a line would touch
_AIR: Final = 0.05  # of the range, above and below it
_OUTER: Final = (2.0, 98.0)  # percentiles of interval ends that have to be seen: one tiny window must not flatten all


@dataclass(frozen=True)
class Arm:
    """The values of one version or variant, oldest window first, with a row of NaN wherever windows are missing.

    Args:
        name: That tells it from the others.
        colour: Its own.
        dash: Its own.
        values: What there is.
        table: Shape (rows, 6): middle of the window in days, value, lower, upper, coverage, whether it is provisional.
    """

    name: str
    colour: Colour
    dash: Any
    values: Sequence[Value]
    table: NDArray[np.float64]

    @classmethod
    def of(cls, name: str, at: int, values: Iterable[Value]) -> Self:
        """The arm of a name, the `at`th of all."""
        ordered = sorted(values, key=lambda value: value.window_start)
        rows: list[tuple[float, ...]] = []
        for before, value in zip((None, *ordered), ordered, strict=False):
            if before is not None and value.window_start > before.window_end:
                rows.append((_days(before.window_end), *[np.nan] * 4, 0.0))
            middle = value.window_start + (value.window_end - value.window_start) / 2
            numbers = (np.nan if each is None else each for each in (value.lower, value.upper, value.coverage))
            rows.append((_days(middle), value.value, *numbers, float(value.stage == STAGE_PROVISIONAL)))
        return cls(name, ARMS[at], DASHES[at], ordered, np.array(rows, float).reshape(-1, 6))


def draw_history(
    values: Iterable[Value],
    *,
    arms: Mapping[Split, str] | None = None,
    caption: str | None = None,
    size: tuple[int, int] = (400, 230),
) -> str:
    """Draw one measure over windows, with the interval, and the coverage beneath; versions or variants side by side.

    A value whose window is not final yet is a hollow dot with its interval as a bar, and no line leads to it. Lines
    are broken where windows are missing, since nothing is known of them.

    Args:
        values: Of one measure, maturity and slice, in any order, of at most four versions or variants; of more, the
            first four by name are drawn. None at all give a picture that says so.
        arms: Names of versions and variants, in the order of their colours; default: those that the values have.
        caption: Heading inside the picture, for where nothing else says what it is.
        size: Width and height in units, of which a letter is 6 wide.

    Returns:
        An SVG element that carries its colours for light and dark, its name and what it shows in words.
    """
    drawn = _arms(values, arms)
    canvas = Canvas(*size)
    heading = 24.0 if caption else 6.0
    legend = 18.0 if len(drawn) > 1 else 0.0
    if caption:
        canvas.title(caption, left=LEFT, top=13)
    if legend:
        canvas.legend([(arm.name, arm.colour, arm.dash) for arm in drawn], left=LEFT, top=heading + 7)
    span = _span(drawn)
    edges: dict[str, Any] = {"left": LEFT, "right": RIGHT, "x": span}
    above = BOTTOM + COVERAGE + 22
    upper = canvas.panel(**edges, top=heading + legend + 6, bottom=above, y=_limits(drawn))
    lower = canvas.panel(**edges, top=size[1] - BOTTOM - COVERAGE, bottom=BOTTOM, y=(0.0, 1.0))
    if drawn:
        _draw_values(upper, drawn)
        _draw_coverage(lower, drawn)
        dates, common = _dates(span)
        lower.below(dates)
        lower.corner(common, right=True)
    else:
        upper.note("No value yet")
    return canvas.svg(title=_title(drawn, caption), description=_description(drawn))


def _arms(values: Iterable[Value], names: Mapping[Split, str] | None) -> list[Arm]:
    found: dict[Split, list[Value]] = {}
    for value in values:
        found.setdefault((value.version, value.variant), []).append(value)
    known = list((arm_names(found) if names is None else names).items())[: len(ARMS)]
    return [Arm.of(name, at, found[arm]) for at, (arm, name) in enumerate(known) if arm in found]


def _days(instant: datetime) -> float:
    """Days since 1970, as the plotting library counts them."""
    return to_us(instant) / DAY_US


def _span(arms: Sequence[Arm]) -> Limits:
    starts = [arm.values[0].window_start for arm in arms]
    ends = [arm.values[-1].window_end for arm in arms]
    return (_days(min(starts)), _days(max(ends))) if arms else (0.0, 1.0)


def _limits(arms: Sequence[Arm]) -> Limits:
    """Every value, and nearly all of the intervals."""
    shown: list[float] = []
    for arm in arms:
        _, values, lower, upper, *_ = arm.table.T
        shown += [*values[np.isfinite(values)]]
        for ends, share in zip((lower, upper), _OUTER, strict=True):
            if np.isfinite(ends).any():
                shown.append(float(np.nanpercentile(ends, share)))
    low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)
    return low - _AIR * (high - low), high + _AIR * (high - low)


def _draw_values(panel: Panel, arms: Sequence[Arm]) -> None:
    panel.grid(ticks(panel.y))
    for arm in arms:
        at, values, lower, upper, _, provisional = arm.table.T
        final = provisional == 0
        panel.band(at, np.where(final, lower, np.nan), np.where(final, upper, np.nan), arm.colour)
        panel.line(at, np.where(final, values, np.nan), arm.colour, linewidth=1.6, linestyle=arm.dash)
        if final.sum() <= _MOST_DOTS:
            panel.dots(at[final], values[final], arm.colour, size=4.5)
        alone = _alone(arm.table)
        for x, low, high in zip(at[alone], lower[alone], upper[alone], strict=True):
            panel.line((x, x), (low, high), arm.colour, linewidth=1.2)
        panel.dots(at[~final], values[~final], arm.colour, size=6.5, hollow=True)


def _alone(table: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Rows whose interval is drawn as a bar: provisional ones, and those without a final neighbour to make a band."""
    final = np.isfinite(table[:, 1]) & (table[:, 5] == 0)
    beside = np.append(False, final[:-1]) | np.append(final[1:], False)
    return np.asarray(np.isfinite(table[:, 1]) & ~(final & beside))


def _draw_coverage(panel: Panel, arms: Sequence[Arm]) -> None:
    panel.grid(((0.0, "0 %"), (1.0, "100 %")))
    panel.corner("coverage")
    for arm in arms:
        at, coverage = arm.table[:, 0], arm.table[:, 4]
        panel.band(at, np.where(np.isfinite(coverage), 0.0, np.nan), coverage, arm.colour, opacity=0.14 / len(arms))
        panel.line(at, coverage, arm.colour, linewidth=1.2, linestyle=arm.dash)
        if len(at) == 1:
            panel.dots(at, coverage, arm.colour, size=4.5)


def _dates(span: Limits) -> tuple[list[tuple[float, str]], str]:
    """A few dates within a span, and what is the same for all of them, such as the year."""
    locator = AutoDateLocator(minticks=2, maxticks=5)
    formatter = ConciseDateFormatter(
        locator, formats=list(_DATES), zero_formats=list(_FIRST_DATES), offset_formats=list(_COMMON_DATES)
    )
    places = [float(place) for place in locator.tick_values(*map(num2date, span))]
    told = zip(places, formatter.format_ticks(places), strict=True)
    return [(place, text) for place, text in told if span[0] <= place <= span[1]], formatter.get_offset()


def _title(arms: Sequence[Arm], caption: str | None) -> str:
    named = next((value.measure for arm in arms for value in arm.values), "")
    return caption or f"{named.replace('_', ' ') or 'A measure'} over windows, with its coverage"


def _description(arms: Sequence[Arm]) -> str:
    """The newest value of each arm in words."""
    return " ".join(_told(arm) for arm in arms) or "No window has a value yet."


def _told(arm: Arm) -> str:
    value = arm.values[-1]
    interval = ""
    if value.lower is not None and value.upper is not None:
        interval = f", 95 % interval {number(value.lower)} to {number(value.upper)}"
    coverage = "" if value.coverage is None else f", coverage {value.coverage:.1%}"
    name = f"{arm.name}: " if arm.name != "-" else ""
    return (
        f"{name}{len(arm.values)} windows; in the newest, {window_name(value.window_start, value.window_end)} at"
        f" {value.maturity}, {number(value.value)}{interval}, support {value.support:,}{coverage}, {value.stage}."
    )
