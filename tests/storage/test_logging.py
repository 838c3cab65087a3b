"""A monitor whose log is in an object store."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.errors import LogError
from otel_ml_metrics.prediction_log.reader import segments
from otel_ml_metrics.storage.files import storage_of
from otel_ml_metrics.testing import TelemetryCapture

if TYPE_CHECKING:
    from tests.storage.server import ObjectServer


def rows(log: str) -> list[dict[str, Any]]:
    """Every logged row of the model fraud."""
    found = []
    for segment in segments(log, "fraud").values():
        content = pa.BufferReader(storage_of(log).read(segment.path))
        found += parquet.read_table(content).to_pylist()
    return found


def test_a_flush_means_durable_and_readable(bucket: str, server: ObjectServer) -> None:
    """One PUT per date and flush, in the layout that a folder has."""
    monitor = ModelMonitor("fraud", slices=["country"], log=f"{bucket}/log", interval=3600)
    server.requests.clear()
    instants = np.array(["2013-04-01T23:59:59", "2013-04-02T00:00"], dtype="datetime64[us]")
    ids = monitor.record_batch(score=[0.1, 0.2], predicted_at=instants, country="NL")

    flushed = monitor.force_flush()
    asked = list(server.requests)

    assert flushed
    assert [request.method for request in asked] == ["PUT", "PUT"]
    places = [re.sub(r"s-[0-9]+-[0-9a-f]{32}", "s", request.path) for request in asked]
    name = bucket.removeprefix("s3:/")
    assert places == [f"{name}/log/model=fraud/dt=2013-04-0{day}/s.parquet" for day in (1, 2)]
    assert [row["prediction_id"] for row in rows(f"{bucket}/log")] == list(ids)
    assert monitor.shutdown()


def test_a_store_that_cannot_be_reached_is_told_at_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after a day of lost rows."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    with pytest.raises(LogError, match=r"cannot be written to s3://bucket/log/model=fraud: .*Could not connect"):
        ModelMonitor("fraud", log="s3://bucket/log")


def test_a_bucket_that_is_not_there_is_told_at_set_up(server: ObjectServer) -> None:
    """The store's own words are in the message."""
    with pytest.raises(LogError, match="The specified bucket does not exist"):
        ModelMonitor("fraud", log="s3://nowhere/log")
    assert server.methods() == ["PUT"]


def test_a_store_that_fails_while_serving_costs_rows_only(bucket: str, server: ObjectServer) -> None:
    """The rows are counted as lost after some retries, nothing is raised, and later ones arrive."""
    with TelemetryCapture() as telemetry:
        monitor = ModelMonitor("fraud", log=f"{bucket}/log", meter_provider=telemetry.meter_provider, interval=3600)
        server.requests.clear()
        server.failing = lambda _request: True
        monitor.record_batch(score=[0.1, 0.2])
        lost = not monitor.force_flush()
        asked = len(server.requests)
        server.failing = lambda _request: False
        monitor.record(score=0.3)
        recovered = monitor.force_flush()

        assert lost
        assert asked == 3
        assert recovered
        assert telemetry.values("ml.monitor.dropped", by="reason") == {"log_failed": 2}
        assert [row["score"] for row in rows(f"{bucket}/log")] == [0.3]


def test_a_slow_store_never_holds_up_a_request(bucket: str, server: ObjectServer) -> None:
    """Recording appends and returns while a segment is on its way."""
    monitor = ModelMonitor("fraud", log=f"{bucket}/log", interval=3600)
    on_its_way, arrived = threading.Event(), threading.Event()

    def hold(_request: object) -> bool:
        on_its_way.set()
        return not arrived.wait(30)

    monitor.record(score=0.1)
    server.failing = hold
    flushing = threading.Thread(target=monitor.force_flush)
    flushing.start()
    assert on_its_way.wait(30)
    given = [monitor.record(score=0.2) for _ in range(100)]
    still_held = not arrived.is_set()
    arrived.set()
    flushing.join()

    assert still_held
    assert None not in given
    assert monitor.shutdown()
    assert len(rows(f"{bucket}/log")) == 101


PROGRAMS = {
    "exit": """
        from otel_ml_metrics import ModelMonitor
        first = ModelMonitor("other")  # its hook at exit is older than the client of the store
        first.record(score=0.1)
        monitor = ModelMonitor("fraud", log=LOG, interval=3600)
        monitor.record_batch(score=[0.1, 0.2, 0.3])
    """,
    "fork": """
        import os
        from otel_ml_metrics import ModelMonitor
        monitor = ModelMonitor("fraud", log=LOG, interval=3600)
        monitor.record(score=0.1)
        assert monitor.force_flush()
        child = os.fork()
        monitor.record(score=0.2)
        assert monitor.force_flush()
        if child:
            assert os.waitpid(child, 0)[1] == 0
        else:
            os._exit(0)
    """,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_processes_that_end_or_fork_leave_their_rows(bucket: str, server: ObjectServer, name: str) -> None:
    """The client of the store ends before the interpreter does, and a child has it from its parent."""
    code = "\n".join(line[8:] for line in PROGRAMS[name].splitlines()).replace("LOG", repr(f"{bucket}/log"))

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **server.environment},
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert len(rows(f"{bucket}/log")) == 3
