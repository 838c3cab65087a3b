"""The command `report`: everything that the ledger says, as one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from otel_ml_metrics.console.terms import INSTANT, monitoring_argument, needing

if TYPE_CHECKING:
    from datetime import datetime


@click.command()
@monitoring_argument
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The file to write; what was there is replaced.",
)
@click.option(
    "--as-of",
    type=INSTANT,
    help="What was final at this instant. ISO 8601 with its zone; a date means its midnight UTC."
    "  [default: the ledger's last run]",
)
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    default=400,
    show_default=True,
    help="How many of the newest windows to show.",
)
def report(monitoring: str, path: Path, as_of: datetime | None, windows: int) -> None:
    """Write what the ledger says as one HTML page that needs neither script nor network.

    Values over windows with intervals and coverage, the same windows from fresh to complete, reliability, ROC and
    scores, slices by harm, versions and variants against each other, label delay. Each number has its support,
    coverage and age; what is undefined or not final yet says why. Reads the ledger only: nothing is evaluated or sent.

    \b
    Examples:
      otel-ml-metrics report monitoring.yaml -o report.html
      otel-ml-metrics report monitoring.yaml --as-of 2013-04-09 --windows 30

    \b
    Exit codes:
      0  done, a ledger without values included: the page says what is not there yet
      2  fix the call or the settings
      1  anything else
    """  # noqa: D301 - \b keeps click from filling the lines
    with needing("report", "A report"):  # here, since engines and plotting take long to import
        from otel_ml_metrics.configuration import Evaluation  # noqa: PLC0415
        from otel_ml_metrics.report.writing import write_report  # noqa: PLC0415
        from otel_ml_metrics.survey import survey  # noqa: PLC0415
    found = survey(Evaluation.from_file(monitoring), as_of=as_of, windows=windows)
    size = write_report(found, path)
    click.echo(f"{path}: {len(found.windows):,} windows, {size / 1e6:.1f} MB")
