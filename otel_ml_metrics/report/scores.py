"""The section on scores: are they calibrated, do they rank, and how are they distributed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from otel_ml_metrics.charts.curves import draw_reliability, draw_roc, draw_scores, roc
from otel_ml_metrics.report.page import Card, Cell, Section, Table
from otel_ml_metrics.report.values import interval, share
from otel_ml_metrics.spelling import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_ml_metrics.evaluation_report import ReliabilityTable, ScoreTable, Value
    from otel_ml_metrics.report.chapter import Chapter
    from otel_ml_metrics.spelling import Arm

_RATES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)


def scores(chapter: Chapter) -> Section:
    """Reliability diagram, ROC curve and distributions, over the pool."""
    key, title = f"scores{chapter.key}", f"Scores{chapter.suffix}"
    lead = f"Over {pooled(chapter)}. Counted per score bin, all rows."
    if chapter.evaluation.task != "binary":
        why = (
            f"Reliability, ROC and the scores by label are told of binary tasks; this one is {chapter.evaluation.task}."
        )
        return Section(key=key, title=title, lead="", missing=[why])
    pool = chapter.survey.pool
    if not pool.windows:
        return Section(key=key, title=title, lead="", missing=[f"No window is complete at {chapter.last} yet."])
    missing = [
        f"{what} is not there: {why}"
        for what, why in (("The reliability diagram", pool.reliability), ("The ROC curve", pool.scores))
        if isinstance(why, str)
    ]
    cards = [] if isinstance(pool.reliability, str) else _reliability(chapter, pool.reliability)
    cards += [] if isinstance(pool.scores, str) else _curves(chapter, pool.scores)
    if not cards and not missing:
        missing = ["No prediction of these windows has a label."]
    return Section(key=key, title=title, lead=lead, cards=cards, missing=missing)


def pooled(chapter: Chapter) -> str:
    """Which windows are taken together."""
    windows = chapter.survey.pool.windows
    if not windows:
        return "no window"
    last = windows[-1] + chapter.evaluation.window
    count = f"the newest {len(windows)} complete windows" if len(windows) > 1 else "the newest complete window"
    return f"{count}, {windows[0]:%Y-%m-%d} to {last:%Y-%m-%d}, at {chapter.last}"


def _reliability(chapter: Chapter, tables: Sequence[ReliabilityTable]) -> list[Card]:
    found = {(table.version, table.variant): table for table in tables}
    if not found.keys() & chapter.arms.keys():
        return []
    lines = [
        Table(
            caption=chapter.heading("reliability by groups of similar scores", arm),
            header=["mean score", "share of positives", "rows"],
            rows=[
                [Cell(f"{score:.3f}"), Cell(f"{positives:.3f}"), Cell(f"{rows:,.0f}")]
                for score, positives, rows in zip(table.score, table.prevalence, table.rows, strict=True)
            ],
            is_open=False,
        )
        for arm in chapter.arms
        if (table := found.get(arm)) is not None
    ]
    picture = draw_reliability([(name, found.get(arm)) for arm, name in chapter.arms.items()])
    note = "On the diagonal scores are what they say; below it they promise too much. Bars are 95 % intervals."
    return [Card(title="Reliability", note=note, picture=picture, tables=lines)]


def _curves(chapter: Chapter, tables: Sequence[ScoreTable]) -> list[Card]:
    found = {(table.version, table.variant): table for table in tables}
    shown = {arm: table for arm in chapter.arms if (table := found.get(arm)) is not None}
    both = {arm: table for arm, table in shown.items() if any(table.positives) and any(table.negatives)}
    cards = []
    if both:
        picture = draw_roc([(name, both.get(arm)) for arm, name in chapter.arms.items()])
        lines = [_rates(chapter, both)]
        cards.append(Card(title="ROC curve", note=_areas(chapter), picture=picture, tables=lines))
    cards += [
        Card(
            title=chapter.heading("scores", arm).capitalize()
            if len(chapter.arms) == 1
            else chapter.heading("scores", arm),
            note="Shares of each class by score; the further apart, the better they are told apart.",
            picture=draw_scores(table),
            tables=[_tenths(chapter.heading("scores by label", arm), table)],
        )
        for arm, table in shown.items()
    ]
    return cards


def _areas(chapter: Chapter) -> str:
    """The area under the curve of each arm, where it is measured."""
    areas: dict[Arm, Value] = {
        (value.version, value.variant): value
        for value in chapter.survey.pool.values
        if value.measure == "roc_auc" and not value.slice
    }
    told = [
        f"{name} {number(area.value)} ({interval(area)})" if interval(area) else f"{name} {number(area.value)}"
        for arm, name in chapter.arms.items()
        if (area := areas.get(arm)) is not None
    ]
    return f"Area under the curve: {', '.join(told)}.".replace(": - ", ": ") if told else ""


def _rates(chapter: Chapter, tables: dict[Arm, ScoreTable]) -> Table:
    curves = {arm: roc(table) for arm, table in tables.items()}
    return Table(
        caption="True positive rate by false positive rate",
        header=["false positive rate", *(chapter.heading("true positive rate", arm) for arm in curves)],
        rows=[
            [Cell(share(rate)), *(Cell(share(float(np.interp(rate, *curve)))) for curve in curves.values())]
            for rate in _RATES
        ],
        is_open=False,
    )


def _tenths(caption: str, table: ScoreTable) -> Table:
    """Rows by tenths of the scores."""
    lowest = np.array(table.lowest)
    edges = np.linspace(0, 1, 11) if lowest[0] >= 0 else np.array([-np.inf, *lowest[1:]])
    tenth = np.clip(np.searchsorted(edges, lowest, side="right") - 1, 0, len(edges) - 2 if lowest[0] >= 0 else None)
    counts = [
        np.bincount(tenth, weights=each, minlength=int(tenth.max()) + 1) for each in (table.positives, table.negatives)
    ]
    return Table(
        caption=caption,
        header=["score from", "positives", "negatives"],
        rows=[
            [Cell(f"{edges[at]:.3g}"), Cell(f"{positives:,.0f}"), Cell(f"{negatives:,.0f}")]
            for at, (positives, negatives) in enumerate(zip(*counts, strict=True))
        ],
        is_open=False,
    )
