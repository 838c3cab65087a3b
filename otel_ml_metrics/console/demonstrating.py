"""The command `demo`: the whole loop on real flights, with a table at the end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from otel_ml_metrics.console.progress import Stages
from otel_ml_metrics.console.tables import labels_line, plain_console, show_values
from otel_ml_metrics.console.terms import Exit, format_option, needing
from otel_ml_metrics.instants import Duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_ml_metrics.demo.run import Demo
    from otel_ml_metrics.evaluation_report import Value

DEFAULT_FOLDER: Final = "otel-ml-metrics-demo"
PAGE: Final = "report.html"


@click.command()
@click.option(
    "--days", type=click.IntRange(1, 30), default=14, show_default=True, help="Days to replay, from 1 April 2013 on."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the models: the same seed, the same values.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Folder for everything that the demo writes. It stays; the next demo replaces it. One that holds anything else"
    " is refused.",
)
@format_option(table="windows by measures, champion against challenger", json="every value, as `evaluate` gives them")
def demo(days: int, seed: int, keep: Path, form: Literal["table", "json"]) -> None:
    """Run the whole loop on real flights, embedded, in under two minutes.

    Trains two models on the flights that left New York from January to March 2013, serves them over HTTP as champion
    and challenger, and replays April against them. Whether a flight came more than 15 minutes late is known when it has
    landed; a cancelled one never gets a label. After each replayed day the flow `evaluate-labels` runs in Prefect,
    which is started for this alone. Live and lagging metrics go to OTEL_EXPORTER_OTLP_ENDPOINT if that is set,
    otherwise to a receiver in this process.

    \b
    Examples:
      otel-ml-metrics demo
      otel-ml-metrics demo --days 3 --format json
      OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 otel-ml-metrics demo

    \b
    Exit codes:
      0  done
      2  fix the call or the settings
      3  the OTLP endpoint is down: values are in the ledger, points wait there
      1  anything else
    """  # noqa: D301 - \b keeps click from filling the lines
    started = time.monotonic()
    with needing("demo", "The demo"):  # here, since models and servers take long to import
        from otel_ml_metrics.configuration import Evaluation  # noqa: PLC0415
        from otel_ml_metrics.demo.run import run_demo  # noqa: PLC0415
        from otel_ml_metrics.report.writing import write_report  # noqa: PLC0415
        from otel_ml_metrics.survey import survey  # noqa: PLC0415
    with Stages(transient=False) as stages:
        done = run_demo(keep, days=days, seed=seed, progress=stages)
        write_report(survey(Evaluation.from_file(done.directory / "monitoring.yaml")), done.directory / PAGE)
    if form == "json":
        click.echo(json.dumps(done.report.to_dict() | _facts(done), indent=2))
    else:
        _show(done, seconds=time.monotonic() - started)
    if not done.runs[-1].ok:
        click.secho(done.runs[-1].message, fg="red", err=True)
        raise click.exceptions.Exit(Exit.POINTS_KEPT)


def complete(values: Sequence[Value]) -> list[Value]:
    """Keep the values of all rows, each at the highest age that it has reached."""
    whole = sorted((value for value in values if not value.slice), key=lambda value: Duration(value.maturity))
    highest = {(value.window_end, value.measure, value.version, value.variant): value for value in whole}
    return list(highest.values())


def last_window(values: Sequence[Value]) -> list[Value]:
    """Keep the values of all rows of the newest window, at every age."""
    whole = [value for value in values if not value.slice]
    newest = max((value.window_end for value in whole), default=None)
    return [value for value in whole if value.window_end == newest]


def _facts(done: Demo) -> dict[str, object]:
    return {
        "demo": {
            "directory": str(done.directory),
            "report": str(done.directory / PAGE),
            "predictions": done.predictions,
            "labels": done.labels,
            "runs": [{"name": run.name, "state": run.state} for run in done.runs],
            "received": None
            if done.received is None
            else {"live": done.received.live, "lagging": done.received.lagging},
        }
    }


def _show(done: Demo, *, seconds: float) -> None:
    console = plain_console()
    show_values(console, complete(done.report.values), title="Flights by day (UTC)")
    show_values(console, last_window(done.report.values), title="The last day, from fresh to complete")
    console.print(labels_line(done.report))
    console.print(
        f"{done.predictions:,} predictions over HTTP, {done.labels:,} labels, {len(done.runs)} flow runs"
        f" in {seconds:.0f} s. {_destination(done)}"
    )
    monitoring = done.directory / "monitoring.yaml"
    console.print(f"\nFiles: {done.directory.resolve()}", soft_wrap=True)
    console.print("  monitoring.yaml, predictions/, labels/ (Parquet), ledger.db (SQLite), prefect/, prefect.log")
    console.print(f"\nThe page of it, for any browser: {(done.directory / PAGE).resolve()}", soft_wrap=True)
    console.print("\nNext:")
    for command, what in (
        (f"otel-ml-metrics evaluate {monitoring} --as-of 2013-04-04", "what was known on that day"),
        (f"otel-ml-metrics check {monitoring}", "are log, labels, ledger and endpoint all right?"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 otel-ml-metrics demo", "the same into your Collector"),
        (f"PREFECT_HOME={done.directory.resolve() / 'prefect'} prefect server start", "the flow runs in Prefect's UI"),
    ):
        console.print(f"  {command}\n      {what}", soft_wrap=True, highlight=False)


def _destination(done: Demo) -> str:
    if done.received is None:
        return f"Metrics went to {done.endpoint}."
    live, lagging = done.received.live, done.received.lagging
    return (
        f"A receiver in this process took {sum(live.values()):,} points of {len(live)} live metrics"
        f" and {sum(lagging.values()):,} of {len(lagging)} lagging ones."
    )
