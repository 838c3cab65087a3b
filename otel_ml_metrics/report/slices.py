"""The section on slices: where the model does harm, the most harm first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.charts.lanes import Lane, Mark, draw_lanes
from otel_ml_metrics.report.page import Card, Cell, Section, Table
from otel_ml_metrics.report.scores import pooled
from otel_ml_metrics.report.values import interval, share, told
from otel_ml_metrics.spelling import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_ml_metrics.evaluation_report import Value
    from otel_ml_metrics.measures.exact import Exact
    from otel_ml_metrics.measures.measure import Measure
    from otel_ml_metrics.report.chapter import Chapter
    from otel_ml_metrics.spelling import Arm

MOST: Final = 8
"""Slices that a card names."""


@dataclass(frozen=True)
class Harm:
    """How much worse a slice is than all rows.

    Args:
        value: Of the slice.
        gap: How much worse it is, above 0.
        part: Its rows as a share of all.
        is_clear: Whether its whole interval is on the worse side of the value of all rows.
    """

    value: Value
    gap: float
    part: float
    is_clear: bool

    @property
    def harm(self) -> float:
        """What the slice costs the whole: its gap by its share of the rows."""
        return self.gap * self.part

    @property
    def name(self) -> str:
        """Of the slice."""
        return ", ".join(f"{field}={value}" for field, value in self.value.slice.items())


def slices(chapter: Chapter) -> Section:
    """Slices by harm, of every measure that has a better and a worse."""
    key, title = f"slices{chapter.key}", f"Slices by harm{chapter.suffix}"
    if not chapter.evaluation.slices:
        return Section(key=key, title=title, lead="", missing=["The evaluation declares no slices."])
    if not chapter.survey.pool.windows:
        return Section(key=key, title=title, lead="", missing=[f"No window is complete at {chapter.last} yet."])
    cards, harmless, unranked = [], [], []
    for measure in chapter.measures:
        found = {arm: harms(chapter, measure, arm) for arm in chapter.arms}
        if measure.direction == "none" or not _is_pooled(chapter, measure):
            unranked.append(told(measure))
            continue
        harmless += [chapter.heading(told(measure), arm) for arm, worse in found.items() if not worse]
        cards += [_card(chapter, measure, arm, worse) for arm, worse in found.items() if worse]
    return Section(
        key=key,
        title=title,
        lead=(
            f"Over {pooled(chapter)}. Harm is how much worse a slice is than all rows, times its share of the rows;"
            " it is clear where the whole 95 % interval is worse, and may be chance elsewhere."
        ),
        cards=cards,
        missing=_left_out(harmless, unranked),
    )


def harms(chapter: Chapter, measure: Measure | Exact, arm: Arm) -> list[Harm]:
    """The slices of an arm that are worse than all its rows, the most harmful first."""
    mine = [v for v in chapter.survey.pool.values if v.measure == measure.name and (v.version, v.variant) == arm]
    whole = next((value for value in mine if not value.slice), None)
    if whole is None or not whole.support:
        return []
    sign = 1 if measure.direction == "higher" else -1
    found = []
    for value in mine:
        gap = sign * (whole.value - value.value)
        near = value.upper if sign > 0 else value.lower
        if value.slice and gap > 0:
            is_clear = near is not None and sign * (whole.value - near) > 0
            found.append(Harm(value, gap, value.support / whole.support, is_clear))
    return sorted(found, key=lambda each: (-each.harm, each.name))


def _is_pooled(chapter: Chapter, measure: Measure | Exact) -> bool:
    return any(value.measure == measure.name for value in chapter.survey.pool.values)


def _left_out(harmless: Sequence[str], unranked: Sequence[str]) -> list[str]:
    notes = []
    if harmless:
        notes.append(f"No slice is worse than all rows in: {', '.join(harmless)}.")
    if unranked:
        notes.append(
            f"Not ranked, because no direction is declared as the better one or values of windows cannot be taken"
            f" together: {', '.join(unranked)}."
        )
    return notes


def _card(chapter: Chapter, measure: Measure | Exact, arm: Arm, worse: Sequence[Harm]) -> Card:
    whole = next(
        value
        for value in chapter.survey.pool.values
        if value.measure == measure.name and (value.version, value.variant) == arm and not value.slice
    )
    at, most = list(chapter.arms).index(arm), worse[:MOST]
    lanes = [Lane(each.name, [Mark(each.value.value, each.value.lower, each.value.upper, at)]) for each in most]
    title = chapter.heading(told(measure), arm)
    more = f" {len(worse) - MOST} more are worse." if len(worse) > MOST else ""
    return Card(
        title=title,
        note=f"All rows: {number(whole.value)}, the dashed rule; {measure.direction} is better.{more}",
        picture=draw_lanes(lanes, title=f"{title}: the slices that do most harm", reference=whole.value),
        tables=[
            Table(
                caption=f"{title}: slices by harm",
                header=["slice", "value", "worse by", "share of rows", "harm", "verdict"],
                rows=[_row(each) for each in most],
                is_open=False,
            )
        ],
    )


def _row(each: Harm) -> list[Cell]:
    verdict = Cell("clear", kind="worse") if each.is_clear else Cell("may be chance")
    small = f"{each.value.support:,} rows, {share(each.value.coverage)} of labels"
    return [
        Cell(each.name, small),
        Cell(number(each.value.value), interval(each.value)),
        Cell(number(each.gap)),
        Cell(share(each.part)),
        Cell(f"{each.harm:.3g}"),
        verdict,
    ]
