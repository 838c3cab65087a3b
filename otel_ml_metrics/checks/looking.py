"""What could keep an evaluation from working, looked at one by one, from its settings to where its flows run.

Nothing is evaluated, committed or sent, but for an empty request to the endpoint, which OTLP receivers accept.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from otel_ml_metrics.checks.deployments import look_at_deployments
from otel_ml_metrics.checks.endpoint import look_at_endpoint
from otel_ml_metrics.checks.findings import Finding
from otel_ml_metrics.checks.labels import look_at_labels
from otel_ml_metrics.checks.ledger import look_at_ledger
from otel_ml_metrics.checks.predictions import look_at_log
from otel_ml_metrics.checks.prefect_api import look_at_prefect
from otel_ml_metrics.checks.schedule import look_at_schedule
from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.errors import ConfigurationError, OtelMLMetricsError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping


def check(monitoring: str | os.PathLike[str], *, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at everything that scheduled runs of the evaluation need, and say what is wrong with it.

    Args:
        monitoring: Path of monitoring.yaml. A prefect.yaml beside it is looked at as well.
        environ: `OTEL_EXPORTER_OTLP_*` and `PREFECT_*` settings.

    Yields:
        A finding or more for each part; a settings file that cannot be used is the only one.
    """
    try:
        evaluation = Evaluation.from_file(monitoring)
    except ConfigurationError as error:
        yield Finding("settings", "fail", str(error))
        return
    measures = ", ".join(measure.name for measure in evaluation.all_measures)
    yield Finding("settings", "ok", f"{evaluation.name}: {measures}")
    deployments = Path(monitoring).with_name("prefect.yaml")
    looks: dict[str, Callable[[], Iterable[Finding]]] = {
        "prediction log": lambda: look_at_log(evaluation),
        "labels": lambda: look_at_labels(evaluation),
        "ledger": lambda: look_at_ledger(evaluation),
        "endpoint": lambda: look_at_endpoint(evaluation, environ),
        "deployments": lambda: look_at_deployments(deployments, environ),
        "Prefect": lambda: look_at_prefect(environ),
        "schedule": lambda: look_at_schedule(Path(monitoring), environ),
    }
    for subject, look in looks.items():
        try:
            yield from look()
        except OtelMLMetricsError as error:
            yield Finding(subject, "fail", str(error))
