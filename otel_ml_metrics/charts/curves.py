"""What scores are worth: reliability diagram, ROC curve, and the scores of positives and negatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from otel_ml_metrics.charts.canvas import Canvas
from otel_ml_metrics.charts.palette import ARMS, DASHES, MUTED, REST
from otel_ml_metrics.measures.intervals import wilson

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from otel_ml_metrics.charts.canvas import Limits, Panel
    from otel_ml_metrics.evaluation_report import ReliabilityTable, ScoreTable

Table = TypeVar("Table")

SQUARE: Final = (360, 340)
WIDE: Final = (400, 230)
_SHARES: Final = ((0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1"))
_BARS: Final = 48
_SCORES: Final = (1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)  # that an axis of probabilities names


def draw_reliability(tables: Sequence[tuple[str, ReliabilityTable | None]]) -> str:
    """Draw how often what was predicted came true: a dot per group of rows with similar scores.

    On the diagonal, scores are what they say; below it, they promise too much. A bar is the 95 % interval of a share.

    Args:
        tables: Of versions or variants, each with its name, in the order of their colours; None for one without.
    """
    told = list(_looks(tables))
    top = max((max(table.score) for _, _, table in told), default=1.0)
    limit = 1.0 if top > 0.5 else max(top, *(max(table.prevalence) for _, _, table in told)) * 1.1  # noqa: PLR2004  half
    canvas, panel = _square([(name, at) for name, at, _ in told], "share of positives", (0.0, limit))
    for _, at, table in told:
        score, share, rows = (np.array(each) for each in (table.score, table.prevalence, table.rows))
        for x, y, n in zip(score, share, rows, strict=True):
            panel.line((x, x), wilson(y * n, n), ARMS[at], linewidth=1.0)
        panel.line(score, share, ARMS[at], linewidth=1.4, linestyle=DASHES[at])
        panel.dots(score, share, ARMS[at], size=4.5)
    described = " ".join(
        f"{name}: mean scores from {table.score[0]:.3f} to {table.score[-1]:.3f}, where shares of positives go from"
        f" {table.prevalence[0]:.3f} to {table.prevalence[-1]:.3f}."
        for name, _, table in told
    )
    return canvas.svg(title="Reliability: share of positives by mean score", description=described)


def draw_roc(tables: Sequence[tuple[str, ScoreTable | None]]) -> str:
    """Draw, for every threshold, the share of positives above it against that of negatives.

    Args:
        tables: Of versions or variants, each with its name, in the order of their colours; None for one without.
    """
    told = list(_looks(tables))
    canvas, panel = _square([(name, at) for name, at, _ in told], "true positive rate", (0.0, 1.0))
    for _, at, table in told:
        false, true = roc(table)
        panel.line(false, true, ARMS[at], linewidth=1.8, linestyle=DASHES[at])
    described = " ".join(_passing(name, *roc(table)) for name, _, table in told)
    return canvas.svg(title="ROC curve: true positive rate by false positive rate", description=described)


def roc(table: ScoreTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False and true positive rates by falling threshold, from (0, 0) to (1, 1); NaN where a class has no rows."""
    counts = (np.array(each, float)[::-1] for each in (table.negatives, table.positives))
    with np.errstate(invalid="ignore"):
        false, true = (np.append(0.0, np.cumsum(each)) / each.sum() for each in counts)
    moves = np.append(True, (np.diff(false) > 0) | (np.diff(true) > 0))
    return false[moves], true[moves]


def draw_scores(table: ScoreTable) -> str:
    """Draw the scores of positives and negatives, each as shares of their class; bins as wide as they are counted."""
    positives, negatives = (np.array(each, float) for each in (table.positives, table.negatives))
    filled = np.flatnonzero(positives + negatives)
    first, last = int(filled[0]), int(filled[-1]) + 1
    step = max(1, -(-(last - first) // _BARS))
    edges = np.arange(first, last, step)
    shares = [np.add.reduceat(each[:last], edges) / max(each.sum(), 1.0) for each in (negatives, positives)]
    canvas = Canvas(*WIDE)
    canvas.legend([("positives", ARMS[0], "solid"), ("negatives", REST, "solid")], left=52, top=13)
    limits: Limits = (float(first), float(edges[-1] + step))
    highest = max(each.max() for each in shares)
    panel = canvas.panel(left=52, right=10, top=30, bottom=24, x=limits, y=(0.0, highest * 1.05))
    panel.grid([(0.0, "0 %"), (highest, f"{highest:.1%}".replace("%", " %"))])
    for share, colour in zip(shares, (REST, ARMS[0]), strict=True):
        panel.bars(edges, edges + step, share, colour, opacity=0.45)
    panel.below(_score_ticks(np.array(table.lowest), limits))
    described = (
        f"{positives.sum():,.0f} positives, half of them from a score of {_middle(table, positives)} on;"
        f" {negatives.sum():,.0f} negatives, half of them from {_middle(table, negatives)} on."
    )
    return canvas.svg(title="Scores of positives and negatives", description=described)


def _square(names: Iterable[tuple[str, int]], up: str, limits: Limits) -> tuple[Canvas, Panel]:
    """A square with a diagonal, and a legend where several are told apart."""
    canvas = Canvas(*SQUARE)
    entries = [(name, ARMS[at], DASHES[at]) for name, at in names]
    if len(entries) > 1:
        canvas.legend(entries, left=46, top=12)
    panel = canvas.panel(left=46, right=14, top=40, bottom=24, x=limits, y=limits)
    ticks = [(share * limits[1], told if limits[1] == 1 else f"{share * limits[1]:.2g}") for share, told in _SHARES]
    panel.grid(ticks)
    panel.below(ticks)
    panel.corner(up)
    panel.line(limits, limits, MUTED, linewidth=1.0, linestyle=(0, (2, 3)))
    return canvas, panel


def _looks(tables: Sequence[tuple[str, Table | None]]) -> Iterable[tuple[str, int, Table]]:
    for at, (name, table) in enumerate(tables[: len(ARMS)]):
        if table is not None:
            yield name, at, table


def _passing(name: str, false: NDArray[np.float64], true: NDArray[np.float64]) -> str:
    at = {share: float(np.interp(share, false, true)) for share in (0.1, 0.5)}
    return f"{name}: true positive rate {at[0.1]:.3f} at a false positive rate of 0.1, and {at[0.5]:.3f} at 0.5."


def _score_ticks(lowest: NDArray[np.float64], limits: Limits) -> list[tuple[float, str]]:
    """Scores that people know where they lie within the bins, else the edges of a few bins."""
    first, last = int(limits[0]), int(limits[1])
    known = [(float(np.searchsorted(lowest, score)), f"{score:g}") for score in _SCORES]
    found = [(place, told) for place, told in known if first < place < last]
    apart = [each for at, each in enumerate(found) if not at or each[0] - found[at - 1][0] > (last - first) / 10]
    if len(apart) > 1:
        return apart
    places = np.unique(np.linspace(max(first, 1), min(last, len(lowest) - 1), 4).astype(int))
    return [(float(place), f"{lowest[place]:.3g}") for place in places]


def _middle(table: ScoreTable, counts: NDArray[np.float64]) -> str:
    if not counts.sum():
        return "none"
    return f"{table.lowest[int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))]:.3g}"
