"""The command `history`: how the values of windows moved, and which labels moved them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

import click

from otel_ml_metrics.console.history_tables import show_history
from otel_ml_metrics.console.progress import Stages
from otel_ml_metrics.console.terms import INSTANT, format_option, monitoring_argument, needing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


@click.command()
@monitoring_argument
@click.option("--measure", help="Moves of this measure only.  [default: all]")
@click.option(
    "--window",
    type=INSTANT,
    help="The window that holds this instant, by prediction time. ISO 8601 with its zone; a date means its midnight"
    " UTC.  [default: every window]",
)
@click.option(
    "--slice",
    "pairs",
    multiple=True,
    metavar="FIELD=VALUE",
    help="This slice only; repeat it for a slice that crosses fields.  [default: all rows in the table, every slice in"
    " JSON]",
)
@format_option(table="a line per move, and values by age", json="steps (commits by window), moves, and settled values")
def history(
    monitoring: str, measure: str | None, window: datetime | None, pairs: Sequence[str], form: Literal["table", "json"]
) -> None:
    """Show how the final values of windows moved, commit by commit, with the labels that moved them counted.

    A value becomes final once per age (maturity), and moves again only when something comes out of order: a label that
    was received earlier than others already applied, a prediction that was logged late, a backfill. Each line says
    which commit of the ledger moved what, and which labels and predictions that commit added to the window. The second
    table has the values by age: how much the labels that came late changed.

    \b
    Examples:
      otel-ml-metrics history monitoring.yaml --measure accuracy
      otel-ml-metrics history monitoring.yaml --window 2013-04-09 --slice carrier=UA
      otel-ml-metrics history monitoring.yaml --window 2013-04-09 --format json

    \b
    Exit codes:
      0  done
      2  fix the call or the settings
      1  anything else
    """  # noqa: D301 - \b keeps click from filling the lines
    with needing("evaluate", "Reading a ledger"):  # here, since engines and ledger take long to import
        from otel_ml_metrics.auditor import see_ledger  # noqa: PLC0415
        from otel_ml_metrics.configuration import Evaluation  # noqa: PLC0415
        from otel_ml_metrics.evaluator import Evaluator  # noqa: PLC0415
    chosen = _slice(pairs)
    if not pairs and form == "table":
        chosen = {}
    evaluation = Evaluation.from_file(monitoring)
    see_ledger(evaluation, may_migrate=False)
    with Stages() as stages, Evaluator(evaluation, progress=stages) as evaluator:
        found = evaluator.history(measure=measure, window=window, slice=chosen)
    if form == "json":
        click.echo(json.dumps(found.to_dict(), indent=2))
    else:
        show_history(found, with_quiet_steps=window is not None)


def _slice(pairs: Sequence[str]) -> dict[str, str] | None:
    for pair in pairs:
        if "=" not in pair:
            message = f"{pair!r} names no slice. Write it like carrier=UA."
            raise click.BadParameter(message, param_hint="--slice")
    found = dict(pair.split("=", 1) for pair in pairs)
    return found or None
