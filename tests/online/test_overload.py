"""Predictions that come faster than they are drained: memory stays within its bound, and every row is accounted for."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pyarrow.parquet as pq
import pytest

from otel_ml_metrics.prediction_log.layout import SEGMENT_PATTERN
from tests.online.overload import BOUND, CAPACITY, OFFERS, OVERLOAD, SlowMetric, a_monitor
from tests.programs import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from otel_ml_metrics import ModelMonitor
    from otel_ml_metrics.testing import TelemetryCapture
    from tests.online.overload import Offer

ROUNDS: Final = 2
THREADS: Final = 4
SLACK: Final = 128 << 10
"""What Python itself takes on the way."""


def overload(monitor: ModelMonitor, slow: SlowMetric, offers: Sequence[tuple[int, Offer]]) -> tuple[int, int]:
    """Offer many times what is drained, from several threads at once; rows offered, and rows that were given an id."""

    def work(_: int) -> tuple[int, int]:
        offered = taken = turn = 0
        while offered < ROUNDS * OVERLOAD * CAPACITY // THREADS:
            rows, offer = offers[turn % len(offers)]
            taken += sum(each is not None for each in offer(monitor))
            slow.offered(rows)
            offered, turn = offered + rows, turn + 1
        return offered, taken

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(work, range(THREADS)))
    return sum(offered for offered, _ in found), sum(taken for _, taken in found)


@pytest.mark.parametrize("kind", OFFERS)
def test_a_full_buffer_holds_no_more_than_its_bytes(kind: str) -> None:
    """What waits and what is worked off take no more memory than configured, whatever the rows are made of."""
    command = [sys.executable, "-m", "tests.online.overload", kind]
    peak = int(subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, check=True).stdout)

    assert peak < BOUND + SLACK


def test_recorded_and_dropped_are_what_was_offered(telemetry: TelemetryCapture, tmp_path: Path) -> None:
    """Rows and batches, light and heavy, from several threads: each is counted, logged and has an id, or is dropped."""
    slow = SlowMetric()
    monitor = a_monitor(telemetry, slow, log=tmp_path)
    alike = [OFFERS[kind] for kind in ("rows", "long texts", "many fields", "batches")]

    offered, taken = overload(monitor, slow, alike)
    slow.catch_up()

    assert monitor.force_flush()
    recorded = sum(telemetry.values("ml.predictions", by="ml.slice.carrier").values())
    dropped = telemetry.values("ml.monitor.dropped", by="reason")
    assert list(dropped) == ["buffer_full"]
    assert recorded + dropped["buffer_full"] == offered
    assert recorded == taken
    assert recorded == sum(pq.read_metadata(path).num_rows for path in tmp_path.rglob(SEGMENT_PATTERN))
