"""The commands `evaluate` and `backfill`: arguments in, a report out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

import click

from otel_ml_metrics.console.progress import Stages
from otel_ml_metrics.console.tables import show_report
from otel_ml_metrics.console.terms import INSTANT, Exit, format_option, monitoring_argument, needing

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from otel_ml_metrics.evaluation_report import Report
    from otel_ml_metrics.evaluator import Evaluator

Format = Literal["table", "json"]

_format = format_option(table="windows by measures", json="every value with its interval, slice, support and coverage")


@click.command()
@monitoring_argument
@click.option(
    "--as-of",
    type=INSTANT,
    help="The instant that the run pretends is now; labels received later do not exist for it. ISO 8601 with its zone"
    " (2013-04-09T06:00Z); a date means its midnight UTC. Older than the ledger's head: a query that changes nothing."
    "  [default: now]",
)
@click.option("--dry-run", is_flag=True, help="Show what would become final; commit nothing, send nothing.")
@_format
def evaluate(monitoring: str, as_of: datetime | None, form: Format, *, dry_run: bool) -> None:
    """Evaluate the labels that came in, and send what became final or changed.

    Reads the new labels and the new part of the prediction log, advances the ledger that MONITORING names from where it
    stands to --as-of, and sends the points to OTEL_EXPORTER_OTLP_ENDPOINT. Running it again changes nothing. Without an
    endpoint, points wait in the ledger. The report goes to standard output, everything else to standard error.

    \b
    Examples:
      otel-ml-metrics evaluate monitoring.yaml
      otel-ml-metrics evaluate monitoring.yaml --as-of 2013-04-09 --format json

    \b
    Exit codes:
      0  done
      2  fix the call or the settings
      3  the OTLP endpoint is down: values are in the ledger, points wait for the next run
      1  anything else, such as a ledger that another run holds; run it again
    """  # noqa: D301 - \b keeps click from filling the lines
    _finish(_report_of(monitoring, lambda evaluator: evaluator.run(as_of=as_of, dry_run=dry_run)), form)


@click.command()
@monitoring_argument
@click.option(
    "--since",
    type=INSTANT,
    required=True,
    help="Start of the range, by prediction time. ISO 8601 with its zone; a date means its midnight UTC.",
)
@click.option("--until", type=INSTANT, required=True, help="End of the range, not included, written alike.")
@_format
def backfill(monitoring: str, since: datetime, until: datetime, form: Format) -> None:
    """Evaluate a past range again, and send what differs.

    For windows whose part of the prediction log was mended: they are recomputed from the log and the labels that were
    applied, and the ledger takes what differs. Repeating it changes nothing. A measure, slice or maturity that is added
    to MONITORING needs no backfill: the next run recomputes every window by itself.

    \b
    Example:
      otel-ml-metrics backfill monitoring.yaml --since 2013-04-01 --until 2013-04-08

    \b
    Exit codes:
      0  done
      2  fix the call or the settings
      3  the OTLP endpoint is down: values are in the ledger, points wait for the next run
      1  anything else, such as a ledger that another run holds; run it again
    """  # noqa: D301 - \b keeps click from filling the lines
    if since >= until:
        message = f"--since {since.isoformat()} is not before --until {until.isoformat()}."
        raise click.UsageError(message)
    _finish(_report_of(monitoring, lambda evaluator: evaluator.backfill(since=since, until=until)), form)


def _report_of(monitoring: str, work: Callable[[Evaluator], Report]) -> Report:
    with needing("evaluate", "Evaluating labels"):  # here, since engines and ledger take long to import
        from otel_ml_metrics.configuration import Evaluation  # noqa: PLC0415
        from otel_ml_metrics.evaluator import Evaluator  # noqa: PLC0415
    evaluation = Evaluation.from_file(monitoring)
    with Stages() as stages, Evaluator(evaluation, progress=stages) as evaluator:
        return work(evaluator)


def _finish(report: Report, form: Format) -> None:
    if form == "json":
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        show_report(report)
    _tell(report)
    if report.delivery.kept and report.delivery.endpoint and not report.read_only:
        raise click.exceptions.Exit(Exit.POINTS_KEPT)


def _tell(report: Report) -> None:
    """Say on standard error what somebody has to act on."""
    delivery = report.delivery
    for warning in report.warnings:
        click.secho(f"Warning: {warning}", fg="yellow", err=True)
    if report.rejected_rows_file:
        click.secho(f"Warning: bad label rows are kept aside in {report.rejected_rows_file}", fg="yellow", err=True)
    if report.read_only:
        click.echo("Nothing was written or sent: a dry run, or an instant that the ledger stands past.", err=True)
    elif delivery.endpoint is None:
        click.echo("No OTLP endpoint is set, so points wait in the ledger: set OTEL_EXPORTER_OTLP_ENDPOINT.", err=True)
    elif delivery.kept:
        message = f"{delivery.kept} points wait in the ledger for {delivery.endpoint}: {delivery.message}"
        click.secho(message, fg="red", err=True)
    if delivery.rejected:
        message = f"Warning: {delivery.rejected} points were refused for good: {delivery.message}"
        click.secho(message, fg="yellow", err=True)
