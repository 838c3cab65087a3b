"""What a check or a repair of a ledger found, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from otel_ml_metrics.console.tables import plain_console
from otel_ml_metrics.spelling import MISSING, minute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from otel_ml_metrics.ledger_check import Difference, LedgerCheck, LedgerRepair

MOST_LINES: Final = 40
"""Sums that a table lists; JSON has more."""


def show_check(found: LedgerCheck) -> None:
    """Print what a check found: sums that differ as a table, everything else in a line each."""
    console = plain_console()
    stands = "is empty" if found.as_of is None else f"stands at {minute(found.as_of)}"
    console.print(Text(f"{found.evaluation}: the ledger {stands}, version {found.version:,}", style="bold"))
    console.print(found.ledger, soft_wrap=True, highlight=False)
    computed = f"{found.windows:,} windows were computed again from log and applied labels"
    if found.differing_windows:
        console.print(f"{computed}: {found.differing_sums:,} sums of {len(found.differing_windows):,} windows differ.")
        _show_differences(console, found.differences)
        if found.differing_sums > MOST_LINES:
            console.print(f"And {found.differing_sums - MOST_LINES:,} more: --format json lists up to 1,000.")
    else:
        console.print(f"{computed}: every sum is equal.")
    if found.unchecked:
        console.print(f"Not checked: the values of exact measures ({', '.join(found.unchecked)}).", soft_wrap=True)
    for span in found.unread:
        console.print(f"Not computed, {minute(span.since)} to {minute(span.until)}: {span.told}", soft_wrap=True)
    for problem in found.problems:
        console.print(f"Problem: {problem}", soft_wrap=True)
    _show_outbox(console, found)


def show_repair(done: LedgerRepair) -> None:
    """Print what a repair found and did."""
    console = plain_console()
    show_check(done.check)
    if done.dry_run:
        console.print("Nothing was changed: a dry run.")
        return
    console.print(
        f"Replaced the sums of {len(done.replaced_windows):,} windows; {len(done.values):,} values became final or"
        f" changed; the ledger is at version {done.version:,}."
    )
    if done.requeued:
        console.print(f"{done.requeued:,} refused points waited again; {done.delivery.sent:,} points were accepted.")
    if done.check.unread or done.check.problems:
        console.print(
            "What could not be read is not repaired. Name a new ledger in the settings: its first run reads every label"
            " and segment that is still there.",
            soft_wrap=True,
        )


def _show_differences(console: Console, differences: Sequence[Difference]) -> None:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for header in ("window", "arm", "slice", "from age"):
        table.add_column(header, no_wrap=True)
    table.add_column("sum", overflow="fold")
    for header in ("bin", "stored", "computed"):
        table.add_column(header, justify="right", no_wrap=True)
    for each in differences[:MOST_LINES]:
        arm = " ".join(part for part in (each.output, each.variant, each.version) if part) or MISSING
        chosen = ", ".join(f"{name}={value}" for name, value in each.slice.items()) or "all"
        age = f"{each.bucket:,} s" if each.bucket else MISSING
        which = "" if each.bin < 0 else str(each.bin)
        cells = (minute(each.tile_start), arm, chosen, age, each.sum, which, f"{each.stored:,}", f"{each.computed:,}")
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)


def _show_outbox(console: Console, found: LedgerCheck) -> None:
    points = ", ".join(f"{count:,} {status}" for status, count in found.outbox.items())
    console.print(f"Outbox: {points or 'no points'}.")
    for refusal in found.refusals:
        told = Text(f"  {refusal.points:,} {refusal.status}: {refusal.message or 'the endpoint did not say why'}")
        console.print(told, soft_wrap=True)
    if found.refusals:
        console.print("  `ledger repair --resend` sends them again, once the cause is mended.")
