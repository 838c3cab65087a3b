"""Servers with several workers: every prediction is counted and logged once, whatever forks, ends or is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from otel_ml_metrics.telemetry.receiver import Receiver
from tests.processes.served import WARMED
from tests.processes.servers import GUNICORN, UVICORN, exported, logged_ids, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

EACH: Final = 50
WARM: Final = 3
OFTEN: Final = {"OTEL_METRIC_EXPORT_INTERVAL": "200"}
SELDOM: Final = {"OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
DELTA: Final = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
THREADED: Final = (*GUNICORN, "--worker-class", "gthread", "--threads", "4")
COUNTED: Final = ("ml.predictions", "ml.prediction.score")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A real OTLP receiver."""
    with Receiver() as receiver:
        yield receiver


@pytest.mark.parametrize(
    ("command", "variables"),
    [(GUNICORN, OFTEN), (GUNICORN, SELDOM), (THREADED, OFTEN | DELTA), (UVICORN, SELDOM)],
    ids=["gunicorn", "gunicorn-at the end", "gunicorn with threads-delta", "uvicorn-at the end"],
)
def test_workers_lose_and_double_nothing(
    command: Sequence[str], variables: dict[str, str], receiver: Receiver, tmp_path: Path
) -> None:
    """Once a server has ended by SIGTERM, each worker's predictions are counted and all of them are logged."""
    with serving(command, receiver, tmp_path, **variables) as server:
        server.load(EACH)
        server.end()

    assert [exported(receiver, metric) for metric in COUNTED] == [sorted(server.recorded.values())] * 2
    assert sorted(logged_ids(tmp_path)) == sorted(server.ids)


@pytest.mark.parametrize("variables", [OFTEN, SELDOM | DELTA], ids=["often", "delta-at the end"])
def test_what_was_recorded_before_the_fork_is_counted_once(
    variables: dict[str, str], receiver: Receiver, tmp_path: Path
) -> None:
    """With `--preload` the monitor is the parent's: rows that wait in it, and sums of it, are in no worker."""
    with serving((*GUNICORN, "--preload"), receiver, tmp_path, **{WARMED: str(WARM)}, **variables) as server:
        server.load(EACH)
        server.end()

    recorded = sorted([*server.recorded.values(), WARM])
    assert [exported(receiver, metric) for metric in COUNTED] == [recorded] * 2
    ids = logged_ids(tmp_path)
    assert len(ids) == len(set(ids)) == sum(recorded)
    assert set(server.ids) <= set(ids)
