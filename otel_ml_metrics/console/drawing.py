"""The command `dashboards`: what operators look at and are called by, as files for Grafana and Prometheus."""

from __future__ import annotations

from pathlib import Path

import click

from otel_ml_metrics.console.terms import needing


@click.command()
@click.argument("monitoring", type=click.Path(), required=False)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder to write into; made if it is missing. Files of the same name are replaced, others stay.",
)
def dashboards(monitoring: str | None, folder: Path) -> None:
    """Write dashboards for Grafana, and recording and alert rules for Prometheus.

    With MONITORING, they show the measures, slices and maturities that it names, and its alerts are among the rules.
    Without, they show every measure of the catalogue, for whichever model is chosen above the dashboard. The same input
    gives the same bytes, so that the files can be kept in version control. Nothing is sent anywhere.

    \b
      DIR/dashboards/NAME/*.json   for Grafana's file provisioning, or Dashboards > New > Import
      DIR/rules/NAME.yml           for rule_files of Prometheus

    NAME is that of the evaluation, or ml-models, so that several can share a folder.

    \b
    Examples:
      otel-ml-metrics dashboards -o grafana
      otel-ml-metrics dashboards monitoring.yaml -o grafana

    \b
    Exit codes:
      0  done
      2  fix the call or the settings
      1  anything else
    """  # noqa: D301 - \b keeps click from filling the lines
    with needing("dashboards", "Writing dashboards"):  # here, since only this command needs the library
        from otel_ml_metrics.configuration import Evaluation  # noqa: PLC0415
        from otel_ml_metrics.dashboards.subject import everything, subject_of  # noqa: PLC0415
        from otel_ml_metrics.dashboards.writing import files  # noqa: PLC0415
    subject = everything() if monitoring is None else subject_of(Evaluation.from_file(monitoring))
    for name, text in files(subject).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        click.echo(path)
