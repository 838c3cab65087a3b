"""Compaction of a log in an object store, where there are no locks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from otel_ml_metrics.errors import LogBusyError, LogError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.prediction_log.compaction import batches, compact
from otel_ml_metrics.prediction_log.folder import ModelFolder
from otel_ml_metrics.prediction_log.reader import log_files
from tests.evaluation.material import DAY, HOUR, MODEL, START, Fact, Prediction, World
from tests.prediction_log.material import compact_all
from tests.storage.material import upload

if TYPE_CHECKING:
    from tests.storage.server import ObjectServer


def logged(world: World, bucket: str) -> str:
    """A log of three segments in a bucket; its URL."""
    for part in range(3):
        world.log([Prediction(id=f"p-{part}-{at}", predicted_at=START + at * HOUR) for at in range(4)])
    upload(world, bucket)
    return f"{bucket}/predictions"


def test_the_evaluation_is_that_of_segments(world: World, bucket: str) -> None:
    """Before and after what was superseded is deleted."""
    log = logged(world, bucket)
    world.label([Fact(id=f"p-{part}-2", received_at=START + 5 * HOUR) for part in range(3)])
    expected = world.run(START + 3 * DAY)
    now = time.time()
    reports = []
    for later in (0, 7_200):
        compact_all(ModelFolder(log, MODEL, clock=lambda later=later: now + later))  # type: ignore[misc]  # a default binds the instant
        evaluation = world.evaluation(predictions=log, ledger=f"sqlite:///{world.folder}/{later}.db")
        with Evaluator(evaluation, environ={}) as evaluator:
            reports.append(evaluator.run(as_of=START + 3 * DAY))

    assert len(log_files(log, MODEL)) == 1
    assert [report.values for report in reports] == [expected.values, expected.values]


def test_two_processes_that_meet_lose_no_row(world: World, bucket: str) -> None:
    """The second finds that the manifest is another one, and its file is garbage."""
    log = logged(world, bucket)
    slow, quick = ModelFolder(log, MODEL), ModelFolder(log, MODEL)
    [batch] = batches(slow)
    compact_all(quick)

    with pytest.raises(LogBusyError, match="Another process"):
        compact(slow, batch)

    files = slow.storage.files(slow.path)
    assert len(log_files(log, MODEL)) == 1
    assert len([file for file in files if "/c-" in file.path]) == 2
    compact_all(ModelFolder(log, MODEL, clock=lambda: time.time() + 7_200))
    assert [file.path for file in slow.storage.files(slow.path) if file.path.endswith(".parquet")] == log_files(
        log, MODEL
    )


def test_a_store_that_fails_in_between_changes_nothing(world: World, bucket: str, server: ObjectServer) -> None:
    """What was not published is not there."""
    log = logged(world, bucket)
    before = log_files(log, MODEL)
    server.failing = lambda request: request.method == "PUT" and request.path.endswith("manifest.json")

    with pytest.raises(LogError, match="cannot be kept in order"):
        compact_all(ModelFolder(log, MODEL))
    server.failing = lambda _request: False

    assert log_files(log, MODEL) == before
