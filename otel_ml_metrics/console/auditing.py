"""The commands under `ledger`: is it right, what is in it, and how to put it right."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from otel_ml_metrics.console.ledger_tables import show_check, show_repair
from otel_ml_metrics.console.progress import Stages
from otel_ml_metrics.console.terms import INSTANT, Exit, format_option, monitoring_argument, needing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from otel_ml_metrics.auditor import Auditor
    from otel_ml_metrics.ledger_check import LedgerCheck

Format = Literal["table", "json"]

_EXITS = {"equal": Exit.DONE, "differs": Exit.UNEXPECTED, "unreadable": Exit.FIX}

_since = click.option(
    "--since",
    type=INSTANT,
    help="Windows from here on, by prediction time. ISO 8601 with its zone; a date means its midnight UTC."
    "  [default: the first]",
)
_until = click.option(
    "--until", type=INSTANT, help="End of the range, not included, written alike.  [default: the last]"
)
_format = format_option(json="everything, instants in ISO 8601")


@click.group()
def ledger() -> None:
    """Look after a ledger: compare it with log and labels, export it, repair it.

    The ledger is the database that MONITORING names under ledger:. It holds the labels that were applied, the sums that
    all values come from, what every commit moved, and the points for the OTLP endpoint.

    \b
    Examples:
      otel-ml-metrics ledger check monitoring.yaml
      otel-ml-metrics ledger export monitoring.yaml -o ledger-files
      otel-ml-metrics ledger repair monitoring.yaml --dry-run

    \b
    Exit codes:
      0  done, or nothing is wrong
      1  sums differ, or anything else
      2  fix the call or the settings, or something cannot be read
      3  the OTLP endpoint is down
    """  # noqa: D301 - \b keeps click from filling the lines


@ledger.command()
@monitoring_argument
@_since
@_until
@_format
def check(monitoring: str, since: datetime | None, until: datetime | None, form: Format) -> None:
    """Compute the sums of windows again, and compare every one with what the ledger keeps.

    Reads the prediction log and the labels that were applied, adds up as if nothing had been summed before, and prints
    each sum that differs: stored is the ledger's, computed is what it should be. Also looks whether every block can be
    decoded, whether the versions of the runs follow each other, and what waits or was refused in the outbox. Values of
    exact measures are no function of sums: they are not computed again, and the output names those measures. Changes
    nothing, and may run beside evaluations. The time it takes is that of the windows it computes: --since and --until
    choose some.

    \b
    Examples:
      otel-ml-metrics ledger check monitoring.yaml
      otel-ml-metrics ledger check monitoring.yaml --since 2013-04-01 --until 2013-04-08 --format json

    \b
    Exit codes:
      0  every sum is equal
      1  sums differ: `ledger repair` replaces them
      2  something cannot be read: a setting, a segment that is gone, a damaged block
    """  # noqa: D301 - \b keeps click from filling the lines
    with _auditing(monitoring) as auditor:
        found = auditor.check(since=since, until=until)
    _show(found, form)
    if found.verdict != "equal":
        raise click.exceptions.Exit(_EXITS[found.verdict])


@ledger.command()
@monitoring_argument
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the files, empty or not there yet.",
)
def export(monitoring: str, folder: Path) -> None:
    """Write everything that the ledger holds as files that any tool reads.

    Parquet for sums, applied labels, waiting labels, repeated predictions, the history of values, inputs, runs and
    outbox; ledger.json for the rest, with a line on what each file is. All of it is of one moment, whatever runs commit
    meanwhile. ledger.json is written last: a folder without it is not whole.

    \b
    Example:
      otel-ml-metrics ledger export monitoring.yaml -o ledger-files
      duckdb -c "SELECT sum, sum(value) FROM 'ledger-files/sums.parquet' GROUP BY sum"

    \b
    Exit codes:
      0  done
      2  fix the call or the settings
      1  anything else
    """  # noqa: D301 - \b keeps click from filling the lines
    with _auditing(monitoring) as auditor:
        files = auditor.export(folder)
    for file in files:
        click.echo(f"{file}  {file.stat().st_size:,} bytes")


@ledger.command()
@monitoring_argument
@_since
@_until
@click.option("--resend", is_flag=True, help="Let points that the endpoint refused for good wait again, and send them.")
@click.option("--dry-run", is_flag=True, help="Show what would be replaced; change nothing, send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before replacing sums.")
@_format
def repair(
    monitoring: str,
    since: datetime | None,
    until: datetime | None,
    form: Format,
    *,
    resend: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Replace the sums that differ by what log and labels add up to, in one commit.

    Does what `ledger check` does, asks, and then commits like a backfill: values that change are reported, counted as
    revised and sent. A block of sums that is damaged is computed anew. Damaged labels, and segments that are gone,
    cannot be made up for: name a new ledger in MONITORING, and its first run reads everything anew. At the end the room
    of what was deleted is given back (VACUUM).

    \b
    Examples:
      otel-ml-metrics ledger repair monitoring.yaml --dry-run
      otel-ml-metrics ledger repair monitoring.yaml --since 2013-04-01 --until 2013-04-08 --yes
      otel-ml-metrics ledger repair monitoring.yaml --resend

    \b
    Exit codes:
      0  done, or nothing was to be done
      2  fix the call or the settings, or something is left that cannot be repaired
      3  the OTLP endpoint is down: sums are right, points wait for the next run
      1  anything else, such as an answer of no
    """  # noqa: D301 - \b keeps click from filling the lines
    with _auditing(monitoring, may_migrate=True) as auditor:
        if not (yes or dry_run):
            _ask(auditor.repair(since=since, until=until, dry_run=True).check)
        done = auditor.repair(since=since, until=until, resend=resend, dry_run=dry_run)
    if form == "json":
        click.echo(json.dumps(done.to_dict(), indent=2))
    else:
        show_repair(done)
    if done.check.unread or done.check.problems:
        raise click.exceptions.Exit(Exit.FIX)
    if done.delivery.kept and done.delivery.endpoint:
        raise click.exceptions.Exit(Exit.POINTS_KEPT)


def _ask(found: LedgerCheck) -> None:
    """Show on standard error what is going to be replaced, and go on if that is wanted."""
    windows = len(found.differing_windows)
    if windows:
        first, last = (each.isoformat() for each in (found.differing_windows[0], found.differing_windows[-1]))
        click.echo(f"{found.differing_sums:,} sums of {windows:,} windows differ, from {first} to {last}.", err=True)
        click.confirm("Replace them by what log and labels add up to?", abort=True, err=True)


def _show(found: LedgerCheck, form: Format) -> None:
    if form == "json":
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        show_check(found)


@contextmanager
def _auditing(monitoring: str, *, may_migrate: bool = False) -> Iterator[Auditor]:
    with needing("evaluate", "Looking after a ledger"):  # here, since engines and ledger take long to import
        from otel_ml_metrics.auditor import Auditor, see_ledger  # noqa: PLC0415
        from otel_ml_metrics.configuration import Evaluation  # noqa: PLC0415
    evaluation = Evaluation.from_file(monitoring)
    see_ledger(evaluation, may_migrate=may_migrate)
    with Stages() as stages, Auditor(evaluation, progress=stages) as auditor:
        yield auditor
