"""Sections on values: the newest ones at a glance, all of them over time, and how they move as labels come in."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.charts.history import draw_history
from otel_ml_metrics.report.page import Card, Cell, Section, Table
from otel_ml_metrics.semconv import STAGE_PROVISIONAL
from otel_ml_metrics.spelling import MISSING, measure_name, minute, number, window_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from otel_ml_metrics.evaluation_report import Value
    from otel_ml_metrics.measures.exact import Exact
    from otel_ml_metrics.measures.measure import Measure
    from otel_ml_metrics.report.chapter import Chapter
    from otel_ml_metrics.spelling import Arm

AGED_ROWS: Final = 14
_DAY: Final = timedelta(days=1)


def glance(chapter: Chapter) -> Section:
    """The newest complete value of every measure."""
    newest = {arm: _newest(chapter, arm) for arm in chapter.arms}
    table = Table(
        caption=f"Newest complete window, at {chapter.last}",
        header=["measure", *(name if len(chapter.arms) > 1 else "value" for name in chapter.arms.values())],
        rows=[_glance_row(chapter, measure, newest) for measure in chapter.measures],
    )
    missing = [
        f"{name} has no window yet that is complete at {chapter.last}."
        for arm, name in chapter.arms.items()
        if newest[arm] is None
    ]
    return Section(
        key=f"glance{chapter.key}",
        title=f"At a glance{chapter.suffix}",
        lead=(
            "Each value with its 95 % interval, the rows behind it (support), the labelled share of the predictions"
            " (coverage) and the value of the window before."
        ),
        cards=[Card(title="Newest values", tables=[table], is_wide=True)] if any(newest.values()) else [],
        missing=missing,
    )


def over_time(chapter: Chapter) -> Section:
    """Every measure over windows."""
    return Section(
        key=f"values{chapter.key}",
        title=f"Values over time{chapter.suffix}",
        lead=(
            f"One point per window, at {chapter.last} after its end: as complete as it gets. The band is the 95 %"
            " interval, hollow dots are provisional, and coverage stands beneath."
        ),
        cards=[_history(chapter, measure) for measure in chapter.measures],
    )


def by_age(chapter: Chapter) -> Section:
    """The newest windows at every age: the maturity triangle."""
    windows = chapter.survey.windows[-AGED_ROWS:][::-1]
    tables = [
        _aged(chapter, measure, windows)
        for measure in chapter.measures
        if any(chapter.values.get((measure.name, start, age, arm)) for start, age, arm in _places(chapter, windows))
    ]
    return Section(
        key=f"ages{chapter.key}",
        title=f"From fresh to complete{chapter.suffix}",
        lead=(
            "The same window judged at each age (maturity), as its labels come in. The deeper the ground, the larger"
            " the labelled share; an age that a window has not reached says when it will."
        ),
        cards=[Card(title="The newest windows by age", tables=tables, is_wide=True)] if tables else [],
        missing=[] if tables else ["No window has reached the first age yet, or none has a value there."],
    )


def told(measure: Measure | Exact) -> str:
    """A measure by its name, with its unit where it has one."""
    return measure_name(measure.name, measure.unit)


def interval(value: Value) -> str:
    """The interval of a value; empty where it has none."""
    return "" if value.lower is None or value.upper is None else f"{number(value.lower)} to {number(value.upper)}"


def share(part: float | None) -> str:
    """A share in percent."""
    return MISSING if part is None else f"{part:.1%}".replace("%", " %")


def _newest(chapter: Chapter, arm: Arm) -> datetime | None:
    """Start of the newest window that is complete, whether or not anything is defined there."""
    places = [*chapter.gaps, *(place for place, each in chapter.values.items() if each.stage != STAGE_PROVISIONAL)]
    return max((start for _, start, age, of in places if of == arm and age == chapter.last), default=None)


def _glance_row(chapter: Chapter, measure: Measure | Exact, newest: dict[Arm, datetime | None]) -> list[Cell]:
    return [
        Cell(told(measure), measure.description),
        *(_now(chapter, measure.name, start, arm) for arm, start in newest.items()),
    ]


def _now(chapter: Chapter, measure: str, start: datetime | None, arm: Arm) -> Cell:
    if start is None:
        return Cell(MISSING, "not complete yet", kind="pending")
    value = chapter.values.get((measure, start, chapter.last, arm))
    if value is None:
        return _gap(chapter, measure, start, chapter.last, arm)
    before = chapter.values.get((measure, start - (value.window_end - value.window_start), chapter.last, arm))
    grounds = [
        f"support {value.support:,}",
        f"coverage {share(value.coverage)}",
    ]
    around = [
        window_name(value.window_start, value.window_end),
        "" if before is None else f"before {number(before.value)}",
        "" if value.certificate is None else f"binning errs by at most {value.certificate:.1g}",
        "rows retired: the last value" if value.retired else "",
    ]
    lines = [[interval(value)], grounds, around]
    return Cell(number(value.value), "\n".join(" · ".join(filter(None, line)) for line in lines if any(line)))


def _gap(chapter: Chapter, measure: str, start: datetime, age: str, arm: Arm) -> Cell:
    """A cell without a value, and why."""
    reason = chapter.gaps.get((measure, start, age, arm))
    if reason is not None:
        return Cell("undefined", reason.replace("_", " "), kind="undefined")
    due = start + chapter.evaluation.window + _duration(chapter, age)
    if chapter.survey.as_of is not None and due > chapter.survey.as_of:
        return Cell("not final yet", f"at {minute(due)}", kind="pending")
    return Cell(MISSING, "no predictions", kind="pending")


def _duration(chapter: Chapter, age: str) -> timedelta:
    return next(each for each in chapter.evaluation.maturities if str(each) == age)


def _history(chapter: Chapter, measure: Measure | Exact) -> Card:
    values = [
        value
        for (name, _, age, arm), value in chapter.values.items()
        if name == measure.name and age == chapter.last and arm in chapter.arms
    ]
    reasons = {why for (name, _, age, _), why in chapter.gaps.items() if name == measure.name and age == chapter.last}
    undefined = f" Undefined in some windows: {', '.join(sorted(reasons)).replace('_', ' ')}." if reasons else ""
    if not values:
        why = undefined or f" No window is complete at {chapter.last} yet."
        return Card(title=told(measure), note=f"{measure.description}{why}")
    return Card(
        title=told(measure),
        note=f"{measure.description}{undefined}",
        picture=draw_history(values, arms=chapter.arms),
        tables=[_windows(chapter, measure, values)],
    )


def _windows(chapter: Chapter, measure: Measure | Exact, values: Iterable[Value]) -> Table:
    """The values of a picture, newest window first."""
    ends = {value.window_start: value.window_end for value in values}
    ends |= {
        s: s + chapter.evaluation.window for n, s, age, _ in chapter.gaps if (n, age) == (measure.name, chapter.last)
    }
    columns = [chapter.heading(column, arm) for arm in chapter.arms for column in ("value", "support", "coverage")]
    return Table(
        caption=f"{told(measure)} by window, at {chapter.last}",
        header=["window", *columns],
        rows=[
            [
                Cell(window_name(start, ends[start])),
                *(c for arm in chapter.arms for c in _at(chapter, measure, start, arm)),
            ]
            for start in sorted(ends, reverse=True)
        ],
        is_open=False,
    )


def _at(chapter: Chapter, measure: Measure | Exact, start: datetime, arm: Arm) -> list[Cell]:
    value = chapter.values.get((measure.name, start, chapter.last, arm))
    if value is None:
        return [_gap(chapter, measure.name, start, chapter.last, arm), Cell(MISSING), Cell(MISSING)]
    return [_cell(value, interval(value)), Cell(f"{value.support:,}"), Cell(share(value.coverage))]


def _cell(value: Value, small: str) -> Cell:
    if value.stage == STAGE_PROVISIONAL:
        return Cell(number(value.value), f"{small} provisional".strip(), kind="provisional", tint=value.coverage)
    return Cell(number(value.value), small)


def _places(chapter: Chapter, windows: Iterable[datetime]) -> Iterable[tuple[datetime, str, Arm]]:
    return ((start, age, arm) for start in windows for arm in chapter.arms for age in chapter.maturities)


def _aged(chapter: Chapter, measure: Measure | Exact, windows: Iterable[datetime]) -> Table:
    header = [chapter.heading(f"at {age}", arm) for arm in chapter.arms for age in chapter.maturities]
    rows = []
    for start in windows:
        name = window_name(start, start + chapter.evaluation.window)
        rows.append([Cell(name), *(_aged_cell(chapter, measure.name, *place) for place in _places(chapter, [start]))])
    return Table(
        caption=f"{told(measure)}: the newest windows by age",
        header=["window", *header],
        rows=rows,
        is_open=measure is chapter.measures[0],  # the others on demand: there may be dozens
    )


def _aged_cell(chapter: Chapter, measure: str, start: datetime, age: str, arm: Arm) -> Cell:
    value = chapter.values.get((measure, start, age, arm))
    if value is None:
        return _gap(chapter, measure, start, age, arm)
    small = f"{share(value.coverage)} labelled\n{value.support:,} rows"
    cell = _cell(value, small)
    return Cell(cell.text, cell.small, cell.kind, value.coverage)
