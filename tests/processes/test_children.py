"""Programs that start processes and threads of their own: every prediction is counted and logged once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import pytest

from otel_ml_metrics.telemetry.grpc_receiver import GrpcReceiver
from otel_ml_metrics.telemetry.receiver import Receiver, Reply
from tests.patience import eventually
from tests.processes.programs import ROWS
from tests.processes.served import PLAIN
from tests.processes.servers import END, environment, exported, logged_ids
from tests.programs import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_ml_metrics.telemetry.received import ReceivedPoint

DELTA: Final = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
COUNTED: Final = ("ml.predictions", "ml.prediction.score")


@contextmanager
def started(
    receiver: Receiver | GrpcReceiver, folder: Path, *words: str, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A program whose metrics leave it when it ends; should it hang, all of it is ended with the block."""
    command = [sys.executable, "-m", "tests.processes.programs", *words]
    environ = environment(receiver, folder, OTEL_METRIC_EXPORT_INTERVAL="3600000", **variables)
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=environ, stdin=pipe, stderr=pipe, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # it has ended, as it should
                os.killpg(process.pid, signal.SIGKILL)


def run(
    folder: Path, *words: str, to: type[Receiver | GrpcReceiver] = Receiver, **variables: str
) -> tuple[list[list[int]], int]:
    """Run a program to its end: what each process counted, by metric, and how many predictions were logged."""
    with to() as receiver, started(receiver, folder, *words, **variables) as process:
        _, complaints = process.communicate(timeout=END)
    assert process.returncode == 0, complaints.decode()
    ids = logged_ids(folder)
    assert len(ids) == len(set(ids))
    return [exported(receiver, metric) for metric in COUNTED], len(ids)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_with_monitors_of_their_own_lose_nothing(method: str, tmp_path: Path) -> None:
    """However multiprocessing starts them, they export and log when they end, without being told to."""
    counted, logged = run(tmp_path, "children", method)

    assert counted == [[ROWS, 2 * ROWS, 3 * ROWS]] * 2
    assert logged == 6 * ROWS


@pytest.mark.parametrize(
    ("to", "variables"),
    [(Receiver, {}), (Receiver, DELTA), (Receiver, {PLAIN: "1"}), (GrpcReceiver, {})],
    ids=["", "delta", "plain", "gRPC"],
)
def test_children_that_inherit_a_monitor_count_their_own(
    to: type[Receiver | GrpcReceiver], variables: dict[str, str], tmp_path: Path
) -> None:
    """Rows that waited at the fork are the parent's, and an exporter that was at work before goes on in the child."""
    counted, logged = run(tmp_path, "heirs", to=to, **variables)

    assert counted == [[ROWS, 2 * ROWS, 3 * ROWS]] * 2
    assert logged == 6 * ROWS


def test_a_child_that_records_nothing_exports_nothing(tmp_path: Path) -> None:
    """A worker that only reads data leaves at once, and makes no series."""
    with Receiver() as receiver, started(receiver, tmp_path, "idle_heir") as process:
        _, complaints = process.communicate(timeout=END)

    assert process.returncode == 0, complaints.decode()
    assert len({point.resource["service.instance.id"] for point in receiver.points}) == 1


def test_a_meter_provider_that_is_made_after_the_monitor_loses_nothing_at_the_end(tmp_path: Path) -> None:
    """Exit hooks run newest first: what is drained after the provider has shut down reaches nobody."""
    counted, logged = run(tmp_path, "late_provider")

    assert counted == [[ROWS]] * 2
    assert logged == ROWS


def test_threads_and_tasks_together_lose_nothing(tmp_path: Path) -> None:
    """Threads, the tasks of an event loop, and the threads that those hand work to record at once."""
    counted, logged = run(tmp_path, "mixed")

    assert counted == [[12 * ROWS]] * 2
    assert logged == 12 * ROWS


def test_a_fork_amid_an_export_hangs_nobody(tmp_path: Path) -> None:
    """An export that the parent waits for is not the child's to wait for."""
    first = threading.Event()

    def hang_first(_: tuple[ReceivedPoint, ...]) -> Reply:
        hang = not first.is_set()
        first.set()
        return Reply(hang=hang)

    with Receiver(reply=hang_first) as receiver, started(receiver, tmp_path, "fork_amid_export") as process:
        eventually(first.is_set)
        _, complaints = process.communicate(b"\n", timeout=END)

    assert process.returncode == 0, complaints.decode()
    assert exported(receiver, "ml.predictions") == [ROWS]
