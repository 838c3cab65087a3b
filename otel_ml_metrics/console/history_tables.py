"""The history of values, for people: a line per move, and the values by age."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from otel_ml_metrics.console.tables import plain_console
from otel_ml_metrics.instants import Duration
from otel_ml_metrics.spelling import MISSING, arm_names, minute, number, window_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from otel_ml_metrics.history import History, Move, Step


def show_history(found: History, *, with_quiet_steps: bool) -> None:
    """Print which commits moved windows, what they moved, and what the values of each window are at each age.

    Args:
        found: What is shown.
        with_quiet_steps: Whether commits show that brought labels and moved no final value.
    """
    console = plain_console()
    if not found.steps:
        console.print(f"{found.evaluation}: no window has moved yet. A value shows here once it is final.")
        return
    moving = {_commit(move) for move in found.moves}
    steps = [step for step in found.steps if with_quiet_steps or _commit(step) in moving]
    for title, table in (
        (f"{found.evaluation}: commits, and what they brought", _steps_table(steps)),
        ("Final values that they gave or changed", _moves_table(found.moves)),
        ("By age, as they stand now", _ages_table(found.settled)),
    ):
        console.print(Text(title, style="bold"))
        console.print(table)


def _steps_table(steps: Iterable[Step]) -> Table:
    table = _table("window", "commit", "as of")
    table.add_column("labels and predictions of the window that came", overflow="fold")
    for step in steps:
        table.add_row(_window(step), f"{step.ledger_version:,}", minute(step.as_of), _came(step))
    return table


def _moves_table(moves: Sequence[Move]) -> Table:
    table = _table("window", "commit", "age", "measure", "arm")
    for header in ("value", "before", "coverage", "support"):
        table.add_column(header, justify="right", no_wrap=True)
    arms = arm_names({(move.version, move.variant) for move in moves})
    for _, some in groupby(moves, key=_commit):
        for at, move in enumerate(sorted(some, key=_order)):
            place = ("", "") if at else (_window(move), f"{move.ledger_version:,}")
            table.add_row(*place, move.maturity, Text(move.measure), arms[move.version, move.variant], *_numbers(move))
    return table


def _table(*headers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for header in headers:
        table.add_column(header, no_wrap=True)
    return table


def _commit(row: Move | Step) -> tuple[object, int]:
    return row.window_start, row.ledger_version


def _window(row: Move | Step) -> str:
    return window_name(row.window_start, row.window_end)


def _order(move: Move) -> tuple[Duration, str, str]:
    return Duration(move.maturity), move.measure, f"{move.variant} {move.version}"


def _came(step: Step) -> str:
    """Labels by status and predictions that a commit added to a window."""
    parts = [f"{count:+,} {status}" for status, count in step.labels.items()]
    if step.predictions:
        parts.append(f"{step.predictions:+,} predictions")
    if step.rebuilt:
        parts.append("computed anew")
    return ", ".join(parts) or "time passed"


def _numbers(move: Move) -> tuple[str, str, str, str]:
    value = f"undefined: {move.undefined}" if move.value is None else number(move.value)
    before = MISSING if move.before is None else number(move.before)
    coverage = MISSING if move.coverage is None else f"{move.coverage:.1%}"
    return value, before, coverage, f"{move.support:,}"


def _ages_table(settled: Sequence[Move]) -> Table:
    ages = sorted({move.maturity for move in settled}, key=Duration)
    arms = arm_names({(move.version, move.variant) for move in settled})
    table = _table("window", "measure", "arm")
    for age in ages:
        table.add_column(age, justify="right", no_wrap=True)
    lines: dict[tuple[datetime, datetime, str, str], dict[str, Move]] = {}
    for move in settled:
        place = (move.window_start, move.window_end, move.measure, arms[move.version, move.variant])
        lines.setdefault(place, {})[move.maturity] = move
    for (start, end, measure, arm), line in sorted(lines.items()):
        table.add_row(window_name(start, end), Text(measure), arm, *_by_age(ages, line))
    return table


def _by_age(ages: Iterable[str], line: Mapping[str, Move]) -> list[str]:
    """The value at each age; nothing where it is not final or undefined."""
    values = [line[age].value if age in line else None for age in ages]
    return [MISSING if value is None else number(value) for value in values]
