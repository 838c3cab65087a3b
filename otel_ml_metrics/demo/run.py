"""The demo, from end to end: train, serve, replay, run the flow once per replayed day, read back what became final."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.demo.flights import Flights, load_flights
from otel_ml_metrics.demo.flow_runs import FlowRun, FlowRuns
from otel_ml_metrics.demo.model import Model, train
from otel_ml_metrics.demo.replay import ReplayedDay, Server, replay, serve
from otel_ml_metrics.demo.server import SERVICE, create_app
from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.instants import iso
from otel_ml_metrics.provider import meter_provider_from_environment
from otel_ml_metrics.semconv import SCOPE_LAGGING
from otel_ml_metrics.telemetry.endpoint import Endpoint
from otel_ml_metrics.telemetry.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from otel_ml_metrics.evaluation_report import Report

TRAIN_FROM: Final = date(2013, 1, 1)
REPLAY_FROM: Final = date(2013, 4, 1)
SETTLING: Final = 3
"""Days after the last replayed one until its predictions have reached the last maturity; only planes land in them."""

MARKER: Final = ".otel-ml-metrics-demo"
"""File that tells a folder of an earlier demo, which may be replaced, from one of the user's."""

MONITORING: Final = """\
# What the demo evaluates. Paths start at this file.
model: flight-delay
task: binary                 # late, or not
service: flight-delay-api
predictions: predictions     # the model server writes here
labels: {path: "labels/*.parquet", id: prediction_id, label: late, received_at: landed_at}
ledger: sqlite:///ledger.db
window: 1d
attribution_window: 3d       # a plane that has not landed by then never will: it was cancelled or diverted
maturities: [6h, 1d, 3d]     # each value three times: fresh, after a day, complete
slices: [carrier, origin]
by: [version, variant]
measures:
  - accuracy
  - recall
  - roc_auc
  - log_loss
  - expected_calibration_error
  - name: missed_refunds
    unit: USD
    sum: fare * (label & ~prediction)
    description: Fares of late flights that were not flagged
  - name: vouchers_per_flight
    unit: USD
    mean: where(prediction, 40, 0)
    description: Vouchers handed out per flight
"""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Received:
    """What the throw-away receiver took in.

    Args:
        live: Names of the metrics that the model server sent, with their numbers of points.
        lagging: The same for the evaluated ones.
    """

    live: Mapping[str, int]
    lagging: Mapping[str, int]


@dataclass(frozen=True)
class Demo:
    """What the demo did.

    Args:
        directory: Where its files are.
        report: Everything that was final at the end.
        runs: The flow runs, one per replayed day.
        predictions: Made over HTTP.
        labels: That became known.
        endpoint: Where the metrics went, None for the throw-away receiver.
        received: What that receiver got, None with an endpoint.
    """

    directory: Path
    report: Report
    runs: tuple[FlowRun, ...]
    predictions: int
    labels: int
    endpoint: str | None
    received: Received | None


def run_demo(directory: Path, *, days: int, seed: int, progress: Progress) -> Demo:
    """Run the whole loop in a folder of its own.

    The last run is as of the day on which the last replayed window is complete, so every window of the table is. The
    metrics go to `OTEL_EXPORTER_OTLP_ENDPOINT` if that is set, otherwise to a receiver in this process.

    Args:
        directory: Made if it is missing; that of an earlier demo is replaced.
        days: To replay, from 1 April 2013 on; at least 1.
        seed: Of the models; the same seed gives the same values.
        progress: Told the stage, what is done and the total, 0 where nobody knows it.

    Raises:
        ConfigurationError: The folder holds something else.
        RuntimeError: A run of the flow failed.
    """
    _prepare(directory)
    monitoring = directory / "monitoring.yaml"
    with (
        _destination() as (endpoint, receiver),
        FlowRuns(directory / "prefect", log=directory / "prefect.log", environ=os.environ) as flow_runs,
    ):
        flights, models = _models(days, seed, progress)
        progress("Starting Prefect", 0, 0)
        flow_runs.wait_until_ready()
        progress("Starting Prefect", 1, 1)
        with _serving(models, directory / "predictions") as server:
            played = _play(flights, server, directory / "labels", days=days, progress=progress)
            runs, replayed = _evaluate(played, flow_runs, monitoring, days=days, progress=progress)
    with Evaluator(Evaluation.from_file(monitoring)) as evaluator:
        report = evaluator.as_of(replayed[-1].as_of)
    return Demo(
        directory=directory,
        report=report,
        runs=tuple(runs),
        predictions=sum(day.predictions for day in replayed),
        labels=sum(day.labels for day in replayed),
        endpoint=endpoint.shown if endpoint else None,
        received=None if receiver is None else _received(receiver),
    )


def _prepare(directory: Path) -> None:
    """Empty the folder of an earlier demo, and lay the evaluation down; a folder of somebody else is left alone."""
    there = list(directory.iterdir()) if directory.is_dir() else []
    if (there and directory / MARKER not in there) or (directory.exists() and not directory.is_dir()):
        message = "holds something else. Give --keep a new folder, an empty one or that of an earlier demo."
        raise ConfigurationError(message, source=str(directory))
    for path in there:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (directory / "labels").mkdir(parents=True)
    (directory / MARKER).touch()
    (directory / "monitoring.yaml").write_text(MONITORING, encoding="utf-8")


@contextmanager
def _destination() -> Iterator[tuple[Endpoint | None, Receiver | None]]:
    """Choose where metrics go, and say it in the environment, where the server, the evaluator and the flow read it."""
    endpoint = Endpoint.from_environment(os.environ)
    if endpoint is not None:
        with _environment({"OTEL_EXPORTER_OTLP_PROTOCOL": endpoint.protocol}):
            yield endpoint, None
        return
    with Receiver() as receiver, _environment(receiver.environment):
        yield None, receiver


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _models(days: int, seed: int, progress: Progress) -> tuple[Flights, tuple[Model, Model]]:
    """Train on what had landed before the replay begins; hand out the flights to replay."""
    stage = "Training two models on January to March"
    progress(stage, 0, 0)
    flights = load_flights(TRAIN_FROM, REPLAY_FROM + timedelta(days=days))
    models = train(flights.between(TRAIN_FROM, REPLAY_FROM), seed=seed)
    progress(stage, 1, 1)
    return flights.between(REPLAY_FROM, REPLAY_FROM + timedelta(days=days)), models


@contextmanager
def _serving(models: tuple[Model, Model], log: Path) -> Iterator[Server]:
    provider = meter_provider_from_environment(SERVICE)
    try:
        with serve(create_app(models, log=log, replay=True, meter_provider=provider)) as server:
            yield server
    finally:
        provider.shutdown()


def _play(flights: Flights, server: Server, labels: Path, *, days: int, progress: Progress) -> Iterator[ReplayedDay]:
    stage, scored = "Replaying flights over HTTP", 0

    def on_progress(more: int) -> None:
        nonlocal scored
        scored += more
        progress(stage, scored, len(flights))

    progress(stage, 0, len(flights))
    return replay(flights, server, labels, since=REPLAY_FROM, days=days + SETTLING, on_progress=on_progress)


def _evaluate(
    played: Iterator[ReplayedDay], flow_runs: FlowRuns, monitoring: Path, *, days: int, progress: Progress
) -> tuple[list[FlowRun], list[ReplayedDay]]:
    """Run the flow after each replayed day; after the last one, wait until everything has settled."""
    stage = "Running the flow, once a day"
    replayed: list[ReplayedDay] = []
    runs: list[FlowRun] = []
    for day in played:
        replayed.append(day)
        if days <= len(replayed) < days + SETTLING:
            continue
        runs.append(_run(flow_runs, monitoring, day))
        progress(stage, len(runs), days)
    return runs, replayed


def _run(flow_runs: FlowRuns, monitoring: Path, day: ReplayedDay) -> FlowRun:
    run = flow_runs.run(monitoring=str(monitoring), as_of=iso(day.as_of), send_for=0)
    if not run.ok and run.state != "PointsKept":
        message = f"The flow run {run.name!r} ended {run.state}: {run.message}"
        raise RuntimeError(message)
    return run


def _received(receiver: Receiver) -> Received:
    counts: tuple[dict[str, int], dict[str, int]] = {}, {}
    for point in receiver.points:
        names = counts[point.scope == SCOPE_LAGGING]
        names[point.metric] = names.get(point.metric, 0) + 1
    return Received(live=dict(sorted(counts[0].items())), lagging=dict(sorted(counts[1].items())))
