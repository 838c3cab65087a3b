"""The command `check`: every finding as a row, and an exit code for scripts."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final, Literal

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_ml_metrics.console.tables import plain_console
from otel_ml_metrics.console.terms import Exit, format_option, needing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_ml_metrics.checks.findings import Finding

_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "red"}

_UNWRAPPED: Final = 10_000
"""Columns where no terminal wraps: a finding is one line there, for grep."""


@click.command()
@click.argument("monitoring", type=click.Path(), default="monitoring.yaml")
@format_option(json='{"findings": [{"subject", "verdict", "told", "fix"}, ...], "failed": number}')
def check(monitoring: str, form: Literal["table", "json"]) -> None:
    """Say whether scheduled evaluations can work, and what to do where they cannot.

    Looks whether the log has every field that MONITORING (default: monitoring.yaml) names, whether labels can be read
    as declared and name logged predictions, whether the ledger can be reached and belongs to this evaluation, whether
    OTEL_EXPORTER_OTLP_ENDPOINT answers to the protocol, encryption and key that are set, whether PREFECT_API_URL
    answers, is of a fitting version and has a schedule for MONITORING that somebody runs, and whether a prefect.yaml
    beside MONITORING can be deployed. Changes nothing. Each row says ok, warn (works, but look), or fail, and then what
    to do.

    \b
    Examples:
      otel-ml-metrics check monitoring.yaml
      otel-ml-metrics check --format json | jq '.findings[] | select(.verdict == "fail")'

    \b
    Exit codes:
      0  nothing fails
      2  something does: the rows say what to do
      1  anything else
    """  # noqa: D301 - \b keeps click from filling the lines
    with needing("evaluate", "Checking an evaluation"):  # here, since engines and ledger take long to import
        from otel_ml_metrics.checks.looking import check as look  # noqa: PLC0415
    findings = list(look(monitoring, environ=os.environ))
    failed = sum(finding.verdict == "fail" for finding in findings)
    if form == "json":
        told = {"findings": [finding.to_dict() for finding in findings], "failed": failed}
        click.echo(json.dumps(told, indent=2))
    else:
        _show(findings)
    if failed:
        raise click.exceptions.Exit(Exit.FIX)


def _show(findings: Iterable[Finding]) -> None:
    """Print a row for each finding, and what to do beneath it."""
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        table.add_row(Text(finding.verdict, style=_STYLES[finding.verdict]), finding.subject, Text(finding.told))
        if finding.fix:
            table.add_row("", "", Text(finding.fix, style="bold"))
    console = plain_console()
    if not console.is_terminal:
        console = Console(file=console.file, width=_UNWRAPPED)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))
