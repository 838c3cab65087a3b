"""What happens to recorded predictions when a process forks, ends or is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, Final

import pyarrow.parquet as pq
import pytest

from otel_ml_metrics.prediction_log.layout import SEGMENT_PATTERN
from otel_ml_metrics.telemetry.grpc_receiver import GrpcReceiver
from otel_ml_metrics.telemetry.receiver import Receiver

CHECKOUT: Final = Path(__file__).parents[2]


def start(program: str, folder: Path) -> subprocess.Popen[str]:
    """Start one of the programs; an interpreter of its own has no threads of the test run."""
    command = [sys.executable, "-m", "tests.online.programs", program, str(folder)]
    return subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(program: str, folder: Path) -> list[dict[str, Any]]:
    """Run one of the programs to its end; the lines that it says."""
    with start(program, folder) as process:
        said, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints
    return [json.loads(line) for line in said.splitlines()]


def logged_ids(folder: Path) -> list[str]:
    """The ids of every visible segment, each of which must be readable."""
    segments = sorted(folder.rglob(SEGMENT_PATTERN))
    columns = [pq.read_table(segment, partitioning=None)["prediction_id"] for segment in segments]
    return [str(each) for column in columns for each in column.to_pylist()]


def test_rows_are_flushed_when_the_process_ends(tmp_path: Path) -> None:
    """A script that records and returns loses nothing."""
    said = run("leave", tmp_path)

    assert logged_ids(tmp_path) == [said[0]["id"]]


def test_a_signal_handler_may_record_whatever_it_comes_between(tmp_path: Path) -> None:
    """It runs in the thread that it interrupts, which may hold a lock of ours; no row is lost or counted twice."""
    (said,) = run("interrupted", tmp_path)

    assert said["flushed"]
    assert said["handled"] > 100
    assert said["dropped"]["buffer_full"] > 0
    assert said["predictions"]["fraud"] + said["dropped"]["buffer_full"] == said["offered"]
    assert said["predictions"]["fraud"] == said["taken"] == len(logged_ids(tmp_path))


def test_a_fork_counts_nothing_twice(tmp_path: Path) -> None:
    """What the parent recorded is the parent's: the child starts at zero, and the rows that waited are logged once."""
    said = {each["who"]: each for each in run("fork", tmp_path)}

    assert (said["child"]["predictions"], said["parent"]["predictions"]) == (4, 11)
    assert said["child"]["flushed"]
    assert said["parent"]["flushed"]
    ids = logged_ids(tmp_path)
    assert len(ids) == len(set(ids)) == 15
    assert {*said["child"]["ids"], *said["parent"]["ids"]} <= set(ids)


def test_a_fork_exports_no_binned_value_twice(tmp_path: Path) -> None:
    """What waits for the exporter in the parent is not in the child."""
    said = {each["who"]: each["scores"] for each in run("fork_binned", tmp_path)}

    assert said == {"child": 4, "parent": 10}


def test_a_child_exports_though_its_parent_was_exporting(tmp_path: Path) -> None:
    """Its reader's thread starts before the child is in order, and must not wait for an export that is the parent's."""
    assert run("fork_amid_export", tmp_path) == [{"scores": 4}]


@pytest.mark.parametrize("kind", [Receiver, GrpcReceiver])
def test_the_first_export_imports_nothing(
    kind: type[Receiver | GrpcReceiver], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that forks off meanwhile waits for ever for a module that its parent's thread was importing."""
    with kind() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        said = run("first_export", tmp_path)
        exported = {point.metric for point in receiver.points}

    assert said == [{"imported": []}]
    assert "ml.predictions" in exported


def test_the_environment_alone_chooses_the_wrapped_exporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry point `otlp_ml` is an exporter of its own."""
    with Receiver() as receiver:
        for name, value in {**receiver.environment, "OTEL_METRICS_EXPORTER": "otlp_ml"}.items():
            monkeypatch.setenv(name, value)
        run("configured", tmp_path)
        points = [point for point in receiver.points if point.metric == "ml.prediction.score"]

    assert [(point.scope, point.count) for point in points] == [("otel_ml_metrics.histograms", 2)]


def test_worker_processes_lose_nothing(tmp_path: Path) -> None:
    """Children of multiprocessing flush when they end, and no two ids are alike."""
    said = run("workers", tmp_path)

    offered = [each for line in said for each in line["ids"]]
    assert len(offered) == len(set(offered)) == 500
    assert sorted(logged_ids(tmp_path)) == sorted(offered)


def test_a_fork_amid_recording_never_hangs(tmp_path: Path) -> None:
    """Locks that other threads held at the fork do not stop the child."""
    said = run("busy_fork", tmp_path)

    assert said == [{"statuses": [0] * 10}]


def _lines(stream: IO[str] | None, count: int) -> list[dict[str, Any]]:
    assert stream is not None
    return [json.loads(stream.readline()) for _ in range(count)]


def test_a_killed_process_leaves_only_whole_segments(tmp_path: Path) -> None:
    """SIGKILL at any moment: every visible segment is readable, and every flushed row is in one."""
    for flushes in (1, 3, 7):
        folder = tmp_path / str(flushes)
        with start("endless", folder) as process:
            said = _lines(process.stdout, flushes)
            process.kill()
            assert process.stdout is not None
            rest = process.stdout.read()  # through the same buffer: `communicate` would skip what it holds
        whole = [json.loads(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]

        flushed = {each for line in [*said, *whole] for each in line["ids"]}
        ids = logged_ids(folder)
        assert flushed <= set(ids)
        assert len(ids) == len(set(ids))


def test_a_full_disk_costs_log_rows_and_nothing_else(tmp_path: Path) -> None:
    """Online metrics go on, the loss is counted, no broken file becomes visible, and later rows are logged again."""
    said = run("broken_disk", tmp_path)

    assert said == [
        {
            "flushed": [True, False, True],
            "predictions": {"fraud": 4},
            "dropped": {"log_failed": 2},
            "faults": {"log_failed": 1},
        }
    ]
    assert len(logged_ids(tmp_path)) == 2
    assert [path.name for path in tmp_path.rglob(".tmp-*")] == []
