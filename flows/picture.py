"""The values of all rows over windows, as pictures in Markdown that Prefect's UI shows without asking anybody for them.

An image artifact would print its address, here the whole picture once more, as a link beneath it; Markdown does not.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.charts.arms import shown_arms
from otel_ml_metrics.charts.history import draw_history
from otel_ml_metrics.instants import Duration
from otel_ml_metrics.spelling import measure_name, window_name

from .earlier import MOST_WINDOWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.evaluation_report import Report, Value

MOST_PANELS: Final = 6
"""Measures of one picture: every run leaves its own in Prefect's database, of about 10 to 30 kB for each of them."""

SIZE: Final = (720, 250)


@dataclass(frozen=True)
class Picture:
    """What is drawn of a run.

    Args:
        panels: Of each measure its name and its picture, an SVG element.
        told: What is drawn, and what is not, in sentences.
    """

    panels: Sequence[tuple[str, str]]
    told: Sequence[str]

    @property
    def markdown(self) -> str:
        """The panels below each other."""
        return "\n\n".join(
            f"![{name} over windows, with its coverage](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"
            for name, svg in self.panels
        )


def draw(evaluation: Evaluation, report: Report, known: Iterable[Value]) -> Picture | None:
    """Draw the measures of a run, at the last age at which it has values.

    Args:
        evaluation: Whose values; its measures are drawn in the order in which they are declared.
        report: Of the run.
        known: Values of the run and of earlier windows; those of slices are left out.

    Returns:
        The picture; None where the run has no value of all rows.
    """
    values = _newest(evaluation, [each for each in report.values if not each.slice], known)
    units = {measure.name: measure.unit for measure in evaluation.all_measures}
    by_place = {place: list(each) for place, each in groupby(sorted(values, key=_place), key=_place)}
    names = {
        (output, measure): _name(output, measure, unit)
        for output in sorted({output for output, _ in by_place})
        for measure, unit in units.items()
        if (output, measure) in by_place
    }
    if not names:
        return None
    shown, unshown = shown_arms(((value.version, value.variant), value.window_start) for value in values)
    panels = [
        (name, draw_history(by_place[place], arms=shown, caption=name, size=SIZE))
        for place, name in islice(names.items(), MOST_PANELS)
    ]
    return Picture(panels, _told(values, [*islice(names.values(), MOST_PANELS, None), *unshown]))


def _newest(evaluation: Evaluation, of_run: Sequence[Value], known: Iterable[Value]) -> list[Value]:
    """Values of all rows of what the run has values of, at its last age, in the newest windows."""
    age = max((Duration(value.maturity) for value in of_run), default=None)
    places = {_place(value) for value in of_run}
    aged = [v for v in known if not v.slice and _place(v) in places and Duration(v.maturity) == age]
    newest = max((value.window_start for value in aged), default=None)
    return [] if newest is None else [v for v in aged if v.window_start > newest - MOST_WINDOWS * evaluation.window]


def _place(value: Value) -> tuple[str, str]:
    """Output, empty where the model has one only, and measure."""
    return value.output or "", value.measure


def _name(output: str, measure: str, unit: str) -> str:
    name = measure_name(measure, unit)
    return f"{name} of {output}" if output else name


def _told(values: Sequence[Value], left_out: Sequence[str]) -> list[str]:
    windows = sorted({(value.window_start, value.window_end) for value in values})
    span = " to ".join(dict.fromkeys(window_name(*each) for each in (windows[0], windows[-1])))
    drawn = f"Values of all rows at {values[0].maturity} with their 95 % intervals, and coverage beneath"
    sentences = [f"{drawn}: {span}, at most the newest {MOST_WINDOWS} windows."]
    if left_out:
        sentences.append(f"Not drawn, for want of room: {', '.join(left_out)}.")
    return sentences
