"""The command `catalogue`: every measure and metric, to read, to publish or to process."""

from __future__ import annotations

import json
from typing import Any

import click
from rich import box
from rich.table import Table

from otel_ml_metrics.console.tables import plain_console
from otel_ml_metrics.console.terms import format_option
from otel_ml_metrics.measures import catalogue as entries


@click.command()
@format_option(table="an overview", markdown="the whole page, with formulas and sources", json="everything as data")
def catalogue(form: str) -> None:
    """List every measure and every metric, with name, unit, direction, range, formula and undefined rule.

    \b
    Examples:
      otel-ml-metrics catalogue
      otel-ml-metrics catalogue --format markdown > docs/catalogue.md
      otel-ml-metrics catalogue --format json | jq '.measures[].prometheus'

    \b
    Exit codes:
      0  done
    """  # noqa: D301 - \b keeps click from filling the lines
    if form == "json":
        click.echo(json.dumps({"measures": entries.measures(), "metrics": entries.metrics()}, indent=2))
    elif form == "markdown":
        click.echo(entries.markdown(), nl=False)
    else:
        console = plain_console()
        console.print(_table(("measure", "unit", "better", "range", "what it says"), map(_measure, entries.measures())))
        console.print(_table(("metric", "kind", "unit", "what it says"), map(_metric, entries.metrics())))


def _measure(entry: dict[str, Any]) -> tuple[str, ...]:
    return entry["name"], entry["unit"], entry["direction"], entries.spoken_range(entry), entry["description"]


def _metric(entry: dict[str, Any]) -> tuple[str, ...]:
    return entry["name"], entry["kind"], entry["unit"], entry["description"]


def _table(headers: tuple[str, ...], rows: Any) -> Table:  # noqa: ANN401  # an iterator of rows
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for header in headers[:-1]:
        table.add_column(header, no_wrap=True)
    table.add_column(headers[-1])
    for row in rows:
        table.add_row(*row)
    return table
