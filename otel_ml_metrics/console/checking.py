"""The command `check`: every finding as a line, and an exit code for scripts."""

from __future__ import annotations

import os
from typing import Final

import click

from otel_ml_metrics.console.terms import Exit, needing

_STYLES: Final = {"ok": "green", "note": "yellow", "wrong": "red"}


@click.command()
@click.argument("monitoring", type=click.Path())
def check(monitoring: str) -> None:
    """Say whether an evaluation can work: settings, prediction log, labels, ledger and OTLP endpoint.

    Looks whether the log has every field that MONITORING names, whether the labels can be read as declared, whether the
    ledger can be reached and belongs to this evaluation, and whether OTEL_EXPORTER_OTLP_ENDPOINT is set and answers.
    Changes nothing. Each line says ok, note (works, but look), or wrong, and then what to do.

    \b
    Example:
      otel-ml-metrics check monitoring.yaml

    \b
    Exit codes:
      0  nothing is wrong
      2  something is: the lines say what to do
      1  anything else
    """  # noqa: D301 - \b keeps click from filling the lines
    with needing("evaluate", "Checking an evaluation"):  # here, since engines and ledger take long to import
        from otel_ml_metrics.checks import check as look  # noqa: PLC0415
    wrong = False
    for finding in look(monitoring, environ=os.environ):
        wrong = wrong or finding.verdict == "wrong"
        click.echo(
            f"{click.style(f'{finding.verdict:<5}', fg=_STYLES[finding.verdict])}  {finding.subject}: {finding.told}"
        )
        if finding.fix:
            click.echo(f"       {finding.fix}")
    if wrong:
        raise click.exceptions.Exit(Exit.FIX)
