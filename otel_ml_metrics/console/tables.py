"""Tables for people: windows by measures, with the coverage that says how complete each value is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from otel_ml_metrics.instants import Duration
from otel_ml_metrics.spelling import MISSING, arm_names, minute, number, window_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from otel_ml_metrics.evaluation_report import Report, Value
    from otel_ml_metrics.spelling import Arm

Cell = tuple["datetime", "datetime", str]  # start and end of the window, maturity

MOST_BREACHES: Final = 20
"""Values beyond a threshold that are told one by one."""

PLAIN_WIDTH: Final = 120
"""Columns of a table that goes into a file or a pipe."""


def show_report(report: Report) -> None:
    """Print the values of a run, those of all rows as a table, and count the rest."""
    console = plain_console()
    whole = [value for value in report.values if not value.slice]
    if whole:
        show_values(console, whole, title=f"{report.evaluation} as of {minute(report.as_of)}")
    else:
        console.print(f"{report.evaluation} as of {minute(report.as_of)}: no window became final or changed.")
    slices = len(report.values) - len(whole)
    if slices:
        console.print(f"And {slices:,} values of slices: --format json has them all, with intervals and support.")
    console.print(labels_line(report))
    if report.breaches:
        show_breaches(console, report)


def show_breaches(console: Console, report: Report) -> None:
    """Print the values beyond a declared threshold, the newest windows first."""
    newest_first = sorted(report.breaches, key=lambda breach: breach.window_start, reverse=True)
    console.print(Text(f"{len(newest_first):,} beyond a threshold:", style="bold"))
    for breach in newest_first[:MOST_BREACHES]:
        console.print(Text(f"  {breach.alert.severity}  {breach.alert.name}  {breach.told}"), soft_wrap=True)
    if len(newest_first) > MOST_BREACHES:
        console.print(f"  and {len(newest_first) - MOST_BREACHES:,} more: --format json has them all.")


def show_values(console: Console, values: Sequence[Value], *, title: str) -> None:
    """Print values of all rows: versions or variants side by side where that fits, else below each other.

    Measures that do not fit beside each other get tables of their own.
    """
    arms = arm_names({(value.version, value.variant) for value in values}).values()
    measures = list(dict.fromkeys(value.measure for value in values))
    fits = _fits(console, beside := values_table(values, beside=True))
    console.print(Text(f"{title}: {' | '.join(arms)}" if fits and len(arms) > 1 else title, style="bold"))
    if fits:
        console.print(beside)
        return
    for some in _that_fit(console, values, measures):
        console.print(values_table([value for value in values if value.measure in some], beside=False))


def _that_fit(console: Console, values: Sequence[Value], measures: list[str]) -> list[list[str]]:
    """Split measures until the table of each part fits, or has one measure only."""
    table = values_table([value for value in values if value.measure in measures], beside=False)
    if len(measures) == 1 or _fits(console, table):
        return [measures]
    half = len(measures) // 2
    return _that_fit(console, values, measures[:half]) + _that_fit(console, values, measures[half:])


def _fits(console: Console, table: Table) -> bool:
    unbounded = console.options.update(max_width=sys.maxsize)
    return Measurement.get(console, unbounded, table).maximum <= console.width


def values_table(values: Sequence[Value], *, beside: bool) -> Table:
    """Lay out values of all rows: a line per window and age, a column per measure.

    Args:
        values: Without slices, in any order.
        beside: Whether a cell holds the values of all versions or variants, or each of them has a line of its own.

    Returns:
        The table; without values it has no lines.
    """
    names = arm_names({(value.version, value.variant) for value in values})
    groups: list[list[Arm]] = [list(names)] if beside else [[arm] for arm in names]
    measures = list(dict.fromkeys(value.measure for value in values))
    found = {(_cell(value), (value.version, value.variant), value.measure): value for value in values}
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for header in ("window", "age", *([] if beside else ["arm"])):
        table.add_column(header, no_wrap=True)
    for header in (*(_header(measure, values) for measure in measures), "coverage", "support"):
        table.add_column(header, justify="right", no_wrap=True)
    for cell in sorted({cell for cell, _, _ in found}, key=_order):
        for group in groups:
            lines = [[found.get((cell, arm, measure)) for arm in group] for measure in measures]
            if any(value for line in lines for value in line):
                own = [] if beside else [names[group[0]]]
                table.add_row(window_name(*cell[:2]), cell[2], *own, *map(_side_by_side, lines), *_behind(lines))
    return table


def labels_line(report: Report) -> str:
    """Say in a line which labels the ledger has seen."""
    seen = [f"{count:,} {status}" for status, count in report.labels.items() if count]
    held = f", {report.held:,} are held back for a later run" if report.held else ""
    return f"Labels: {', '.join(seen) or 'none'}; {report.waiting:,} wait for their prediction{held}."


def plain_console() -> Console:
    """Standard output: as wide as the terminal, or wide enough for a table where there is none."""
    console = Console(file=sys.stdout)
    return console if console.is_terminal else Console(file=sys.stdout, width=PLAIN_WIDTH)


def _cell(value: Value) -> Cell:
    return value.window_start, value.window_end, value.maturity


def _order(cell: Cell) -> tuple[datetime, datetime, Duration]:
    start, end, maturity = cell
    return start, end, Duration(maturity)


def _header(measure: str, values: Sequence[Value]) -> str:
    unit = next(value.unit for value in values if value.measure == measure)
    words = measure.replace("_", "\n")
    return words if unit.startswith("{") or unit == "1" else f"{words}\n{unit}"


def _side_by_side(line: Sequence[Value | None]) -> str:
    return " | ".join(MISSING if value is None else number(value.value) for value in line)


def _behind(lines: Sequence[Sequence[Value | None]]) -> tuple[str, str]:
    """Coverage and support of each arm: the largest over its measures, since a measure may leave rows out."""
    arms = [[value for value in arm if value] for arm in zip(*lines, strict=True)]
    coverage = " | ".join(f"{max(v.coverage or 0.0 for v in arm):.1%}" if arm else MISSING for arm in arms)
    support = " | ".join(f"{max(v.support for v in arm):,}" if arm else MISSING for arm in arms)
    return coverage, support
