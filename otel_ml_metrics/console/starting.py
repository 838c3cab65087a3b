"""The command `init`: a folder with everything that a first scheduled run needs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from otel_ml_metrics.console.terms import needing
from otel_ml_metrics.scaffold.tasks import LINES
from otel_ml_metrics.scaffold.writing import write_project

if TYPE_CHECKING:
    from otel_ml_metrics.batch import Task
    from otel_ml_metrics.scaffold.example import Example


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--model", metavar="NAME", default="my-model", show_default=True, help="Name of the model.")
@click.option("--task", type=click.Choice(sorted(LINES)), default="binary", show_default=True, help="What it does.")
@click.option(
    "--example",
    is_flag=True,
    help="Also record five days of made-up predictions and write their labels, so that the first run has values.",
)
@click.option("--force", is_flag=True, help="Replace files of the project that are there. Others stay in any case.")
def init(folder: Path, model: str, task: Task, *, example: bool, force: bool) -> None:
    """Write a starting project into DIR: settings, flows, deployment files, a small model server.

    monitoring.yaml says what is judged; every key stands in it with a word. prefect.yaml schedules it, flows/ is for
    flows of your own, docker-compose.yml and collector-config.yaml run everything around it, serving.py shows the lines
    that record predictions. README.md leads from there to a first scheduled run. DIR may exist; a file in the way stops
    everything.

    \b
    Examples:
      otel-ml-metrics init my-monitoring
      otel-ml-metrics init my-monitoring --model flight-delay --task regression --example

    \b
    Exit codes:
      0  written
      2  files stand in the way, or the name of the model cannot be used; nothing was written
      1  anything else
    """  # noqa: D301 - \b keeps click from filling the lines
    files = write_project(folder, model=model, task=task, force=force, without_data=example)
    click.echo(f"Wrote {len(files)} files to {folder}:")
    click.echo(click.wrap_text(", ".join(files), width=100, initial_indent="  ", subsequent_indent="  "))
    if example:
        made = _write_example(folder, model, task)
        click.echo(f"and into its data/ {made.predictions:,} made-up predictions, with labels for {made.labels:,}.")
    click.echo(f"\nNext:\n  cd {folder}\n  otel-ml-metrics check monitoring.yaml      says what is still missing")
    click.echo("  README.md                                  leads from here to a first scheduled run")


def _write_example(folder: Path, model: str, task: Task) -> Example:
    with needing("evaluate", "Writing a prediction log"):  # here, since pyarrow takes long to import
        from otel_ml_metrics.scaffold.example import write_example  # noqa: PLC0415
    return write_example(folder, model=model, task=task, now=datetime.now(UTC))
