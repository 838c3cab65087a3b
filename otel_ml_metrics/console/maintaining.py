"""The command `maintain`: retire, merge, delete, and say what was done."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import click

from otel_ml_metrics.console.progress import Stages
from otel_ml_metrics.console.tables import plain_console
from otel_ml_metrics.console.terms import format_option, monitoring_argument, needing
from otel_ml_metrics.instants import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_ml_metrics.maintenance import Retired, Upkeep

MOST_DATES = 10
"""Merged dates that are listed; the rest is counted."""


class Grace(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A duration with its unit, or 0."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read the text; click calls this with a value that is converted already, too."""
        if isinstance(value, timedelta):
            return value
        try:
            return timedelta() if str(value).strip() == "0" else timedelta(seconds=Duration(str(value)).seconds_whole)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@monitoring_argument
@click.option("--compact", is_flag=True, help="Merge the small files of each date. Without --retain, only that.")
@click.option(
    "--retain",
    is_flag=True,
    help="Retire dates that are older than retention: in MONITORING. Without --compact, only that.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
@click.option(
    "--grace",
    type=Grace(),
    default="1h",
    show_default=True,
    help="How long files stay that are no longer part of the log, for runs and queries that still read them. Longer"
    " than any of them takes; 10m at least in an object store.",
)
@format_option(json="every merge with its rows and bytes")
def maintain(
    monitoring: str, form: Literal["table", "json"], *, compact: bool, retain: bool, dry_run: bool, grace: timedelta
) -> None:
    """Keep the prediction log and the ledger small: retire old dates, merge files, delete what is over.

    Retiring: where MONITORING says retention: 90d, dates of predictions that are older than that, counted from where
    the ledger stands, leave log and ledger. Their windows keep all values; labels that still come for them count as
    orphans. Without retention: everything stays for ever.

    Merging: the many files that model servers write for a date become few, sorted by id. Rows, values and runs stay
    what they are.

    Safe beside model servers, evaluations and queries; one maintenance of a log at a time. Run it once an hour or a
    day. Whatever it was in the middle of when it died, the next one makes up for.

    \b
    Examples:
      otel-ml-metrics maintain monitoring.yaml --dry-run
      otel-ml-metrics maintain monitoring.yaml
      otel-ml-metrics maintain monitoring.yaml --compact --grace 6h --format json

    \b
    Exit codes:
      0  done, or nothing was to be done
      2  fix the call or the settings
      1  anything else, such as another maintenance that is at it; run it again
    """  # noqa: D301 - \b keeps click from filling the lines
    with needing("evaluate", "Maintaining a prediction log"):  # here, since engines and ledger take long to import
        from otel_ml_metrics.configuration import Evaluation  # noqa: PLC0415
        from otel_ml_metrics.maintenance import maintain as keep  # noqa: PLC0415
    evaluation = Evaluation.from_file(monitoring)
    both = compact == retain
    with Stages() as stages:
        done = keep(
            evaluation,
            compaction=compact or both,
            retention=retain or both,
            dry_run=dry_run,
            grace=grace,
            progress=stages,
        )
    if form == "json":
        click.echo(json.dumps(done.to_dict(), indent=2))
        return
    console = plain_console()
    for line in lines_of(done):
        console.print(line, highlight=False, soft_wrap=True)


def lines_of(done: Upkeep) -> Iterator[str]:
    """What was done, for people."""
    yield f"{done.evaluation}: {'nothing was changed, this would be' if done.dry_run else 'done'}"
    yield f"  retired: {_retired(done.retired)}"
    yield f"  merged:  {_merged(done)}"
    for merged in done.merged[:MOST_DATES]:
        sizes = _bytes(merged.size_before) if done.dry_run else f"{_bytes(merged.size_before)} -> {_bytes(merged.size)}"
        rows = "" if done.dry_run else f", {merged.rows:,} rows"
        yield f"    {merged.date}  {merged.files:,} files{rows}, {sizes}"
    if len(done.merged) > MOST_DATES:
        yield f"    and {len(done.merged) - MOST_DATES:,} more: --format json has them all"
    yield f"  deleted: {done.deleted.files:,} files, {_bytes(done.deleted.size)}"


def _retired(retired: Retired | None) -> str:
    if retired is None:
        return "nothing; no retention: is asked for, so everything stays"
    if retired.before is None:
        return "nothing yet; the ledger does not stand far enough"
    told = (
        f"everything before {retired.before}; this time {retired.dates:,} dates with {retired.segments:,} segments,"
        f" {retired.files:,} files, {_bytes(retired.size)}"
    )
    if retired.unread:
        told += f"; {retired.unread:,} segments came too late to be evaluated"
    return told


def _merged(done: Upkeep) -> str:
    if not done.merged:
        return "nothing"
    files, rows = (sum(getattr(merged, name) for merged in done.merged) for name in ("files", "rows"))
    before, after = (sum(getattr(merged, name) for merged in done.merged) for name in ("size_before", "size"))
    if done.dry_run:
        return f"{files:,} files of {len(done.merged):,} dates, {_bytes(before)}, as far as their columns are alike"
    return f"{files:,} files into {len(done.merged):,}, {rows:,} rows, {_bytes(before)} -> {_bytes(after)}"


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
