"""The section that sets versions or variants against the first of them, on windows in which both served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_ml_metrics.charts.lanes import Lane, Mark, draw_pairs
from otel_ml_metrics.measures.intervals import difference
from otel_ml_metrics.report.page import Card, Cell, Section, Table
from otel_ml_metrics.report.values import interval, told
from otel_ml_metrics.spelling import MISSING, number

if TYPE_CHECKING:
    from otel_ml_metrics.evaluation_report import Value
    from otel_ml_metrics.measures.exact import Exact
    from otel_ml_metrics.measures.measure import Measure
    from otel_ml_metrics.report.chapter import Chapter
    from otel_ml_metrics.spelling import Arm
    from otel_ml_metrics.survey import Pool

    Sides = tuple[Value, Value]


def comparison(chapter: Chapter) -> Section:
    """Every arm against the first."""
    key, title = f"arms{chapter.key}", f"Champion against challenger{chapter.suffix}"
    if len(chapter.arms) < 2:  # noqa: PLR2004  sides of a comparison
        why = "One version and variant served, or they are merged (by:), so there is nothing to compare."
        return Section(key=key, title=title, lead="", missing=[why])
    (first, name), *others = chapter.arms.items()
    cards, missing = [], []
    for other, _ in others:
        pool = chapter.survey.pairs.get(((*first, chapter.output), (*other, chapter.output)))
        if pool is None or not pool.windows:
            missing.append(f"{chapter.arms[other]} and {name} have no complete window in common yet.")
        else:
            cards.append(_card(chapter, pool, first, other))
    lead = (
        "Over the newest complete windows in which both served, all rows. The difference has a 95 % interval as if the"
        " rows of the two were independent; one that holds 0 does not tell them apart. With many measures some differ"
        " by chance."
    )
    return Section(key=key, title=title, lead=lead, cards=cards, missing=missing)


def _card(chapter: Chapter, pool: Pool, first: Arm, other: Arm) -> Card:
    names = [chapter.arms[first], chapter.arms[other]]
    order = [list(chapter.arms).index(arm) for arm in (first, other)]
    sides = {measure.name: _sides(pool, measure, first, other) for measure in chapter.measures}
    lanes = [
        Lane(
            told(measure), [Mark(each.value, each.lower, each.upper, at) for each, at in zip(both, order, strict=True)]
        )
        for measure in chapter.measures
        if (both := sides[measure.name]) is not None
    ]
    last = pool.windows[-1] + chapter.evaluation.window
    title = f"{names[1]} against {names[0]}"
    return Card(
        title=title,
        note=f"{len(pool.windows)} windows, {pool.windows[0]:%Y-%m-%d} to {last:%Y-%m-%d}, at {chapter.last}."
        " Each measure has a scale of its own.",
        picture=draw_pairs(lanes, names=list(zip(names, order, strict=True)), title=title) if lanes else None,
        tables=[
            Table(
                caption=title,
                header=["measure", *names, "difference", "verdict"],
                rows=[_row(chapter, measure, sides[measure.name], pool) for measure in chapter.measures],
            )
        ],
        is_wide=True,
    )


def _sides(pool: Pool, measure: Measure | Exact, first: Arm, other: Arm) -> Sides | None:
    found = {(v.version, v.variant): v for v in pool.values if v.measure == measure.name and not v.slice}
    return (found[first], found[other]) if first in found and other in found else None


def _row(chapter: Chapter, measure: Measure | Exact, sides: Sides | None, pool: Pool) -> list[Cell]:
    if sides is None:
        reasons = sorted({gap.reason for gap in pool.gaps if gap.measure == measure.name})
        exact = measure in chapter.evaluation.exact
        why = ", ".join(reasons).replace("_", " ") or ("exact: windows do not add up" if exact else "no value")
        return [Cell(told(measure)), *[Cell(MISSING, why, kind="undefined")] * 2, Cell(MISSING), Cell(MISSING)]
    gap, small, verdict = _judged(measure, *sides)
    values = [Cell(number(each.value), _beneath(each)) for each in sides]
    return [Cell(told(measure)), *values, Cell(_signed(gap), small), verdict]


def _beneath(value: Value) -> str:
    rows = f"{value.support:,} rows"
    return f"{interval(value)} · {rows}" if interval(value) else rows


def _signed(gap: float) -> str:
    return number(gap) if gap < 0 else f"+{number(gap)}"


def _judged(measure: Measure | Exact, one: Value, two: Value) -> tuple[float, str, Cell]:
    """The difference, its interval in words, and what it means."""
    if one.lower is None or one.upper is None or two.lower is None or two.upper is None:
        return two.value - one.value, "", Cell("no interval")
    gap, low, high = difference((one.value, one.lower, one.upper), (two.value, two.lower, two.upper))
    small = f"{_signed(low)} to {_signed(high)}"
    if low <= 0 <= high:
        return gap, small, Cell("not told apart")
    if measure.direction == "none":
        return gap, small, Cell("higher" if gap > 0 else "lower")
    is_better = (gap > 0) == (measure.direction == "higher")
    return gap, small, Cell("better", kind="better") if is_better else Cell("worse", kind="worse")
