"""Servers with several workers: every prediction is counted and logged once, whatever forks, ends or is killed."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from otel_ml_metrics.telemetry.receiver import Receiver, Reply
from tests.patience import eventually
from tests.processes.served import WARMED
from tests.processes.servers import CLIENTS, END, GUNICORN, UVICORN, exported, logged_ids, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.slow

EACH: Final = 50
WARM: Final = 3
OFTEN: Final = {"OTEL_METRIC_EXPORT_INTERVAL": "500"}
"""As often as can be relied on: the SDK gives up its last collection once that has taken an interval."""
SELDOM: Final = {"OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
DELTA: Final = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
PRELOADED: Final = (*GUNICORN, "--preload")
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
    with serving(PRELOADED, receiver, tmp_path, **{WARMED: str(WARM)}, **variables) as server:
        server.load(EACH)
        server.end()

    recorded = sorted([*server.recorded.values(), WARM])
    assert [exported(receiver, metric) for metric in COUNTED] == [recorded] * 2
    ids = logged_ids(tmp_path)
    assert len(ids) == len(set(ids)) == sum(recorded)
    assert set(server.ids) <= set(ids)


def test_a_killed_worker_loses_only_what_it_recorded_since_its_last_flush(receiver: Receiver, tmp_path: Path) -> None:
    """`kill -9` under load: what was flushed is there once, and the other workers and the next one lose nothing."""
    with serving(PRELOADED, receiver, tmp_path, **SELDOM) as server:
        server.load(EACH)
        flushed = server.ask("/flush")
        doomed, known = flushed.process, set(flushed.ids)
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(server.load, EACH, doomed=doomed)
            eventually(lambda: server.recorded[doomed] >= len(known) + EACH)
            os.kill(doomed, signal.SIGKILL)
            load.result(END)
        server.end()

    others = [count for process, count in server.recorded.items() if process != doomed]
    assert [exported(receiver, metric) for metric in COUNTED] == [sorted([*others, len(known)])] * 2
    ids = logged_ids(tmp_path)
    of_the_doomed = {each for answer in server.answers if answer.process == doomed for each in answer.ids}
    assert len(ids) == len(set(ids))
    assert set(server.ids) - set(ids) <= of_the_doomed - known
    assert len(set(ids) - set(server.ids)) <= CLIENTS  # recorded, and killed before the answer


def test_a_receiver_that_never_answers_costs_no_row_of_the_log(tmp_path: Path) -> None:
    """A server that cannot export ends all the same, and has logged everything."""
    with (
        Receiver(reply=lambda _: Reply(hang=True)) as receiver,
        serving(THREADED, receiver, tmp_path, OTEL_EXPORTER_OTLP_TIMEOUT="1", **SELDOM) as server,
    ):
        server.load(EACH)
        server.end()

    assert sorted(logged_ids(tmp_path)) == sorted(server.ids)
