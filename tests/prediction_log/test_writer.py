"""The prediction log as its readers find it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from opentelemetry.sdk.trace import TracerProvider

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.binning import logit_bins
from otel_ml_metrics.prediction_log.layout import SEGMENT_PATTERN
from otel_ml_metrics.testing import TelemetryCapture


def segments(folder: Path) -> list[Path]:
    """Every visible segment."""
    return sorted(folder.rglob(SEGMENT_PATTERN))


def rows(folder: Path) -> list[dict[str, Any]]:
    """Every logged row, by instant."""
    found = [row for path in segments(folder) for row in pq.read_table(path, partitioning=None).to_pylist()]
    return sorted(found, key=lambda row: row["predicted_at"])


def test_the_columns_are_exactly_those_of_the_layout(tmp_path: Path) -> None:
    """Readers of every engine rely on names, order, types and metadata."""
    with ModelMonitor(
        "fraud", slices=["country"], fields={"amount": "number", "note": "string"}, log=tmp_path
    ) as monitor:
        monitor.record(score=0.5, prediction=True)

    schema = pq.read_schema(segments(tmp_path)[0])
    assert [(field.name, str(field.type), field.nullable) for field in schema] == [
        ("prediction_id", "string", False),
        ("predicted_at", "timestamp[us, tz=UTC]", False),
        ("output", "string", True),
        ("version", "string", True),
        ("variant", "string", True),
        ("score", "double", True),
        ("prediction", "bool", True),
        ("score_bin", "int16", True),
        ("duration", "double", True),
        ("weight", "double", True),
        ("acted_on", "bool", True),
        ("trace_id", "string", True),
        ("span_id", "string", True),
        ("country", "string", True),
        ("amount", "double", True),
        ("note", "string", True),
    ]
    metadata = schema.metadata or {}
    assert metadata[b"otel_ml_metrics.schema"] == b"1"
    assert metadata[b"otel_ml_metrics.bins"] == b"logit1024"


def test_a_row_is_logged_as_it_was_recorded(tmp_path: Path) -> None:
    """What is recorded comes back to the last bit."""
    predicted_at = datetime(2013, 4, 1, 8, 15, 30, 250_999, tzinfo=UTC)
    row = {
        "score": 0.1 + 0.2,
        "prediction": False,
        "duration": 0.012,
        "weight": 2.0,
        "acted_on": True,
        "country": "NL",
        "amount": 1e300,
        "note": "für 5 €",
    }
    monitor = ModelMonitor(
        "fraud",
        version="7",
        variant="champion",
        output="chargeback",
        slices=["country"],
        fields={"amount": "number", "note": "string"},
        log=tmp_path,
    )

    prediction_id = monitor.record(predicted_at=predicted_at, **row)
    monitor.shutdown()

    assert rows(tmp_path) == [
        {
            "prediction_id": prediction_id,
            "predicted_at": predicted_at,
            "output": "chargeback",
            "version": "7",
            "variant": "champion",
            "score_bin": int(logit_bins(np.array([0.1 + 0.2]))[0]),
            "trace_id": None,
            "span_id": None,
            **row,
        }
    ]


def test_what_is_missing_is_null(tmp_path: Path) -> None:
    """Missing values are NULL for every engine, never NaN or an empty text."""
    with ModelMonitor("fraud", slices=["country"], fields=["amount"], log=tmp_path) as monitor:
        monitor.record_batch(
            score=[np.nan, 0.5, 1.5], country=["", None, "NL"], amount=[np.nan, None, 1], prediction=[None, True, False]
        )

    found = [
        [row[name] for name in ("score", "score_bin", "country", "amount", "prediction")] for row in rows(tmp_path)
    ]
    assert found == [[None, None, None, None, None], [0.5, 512, None, None, True], [1.5, None, "NL", 1.0, False]]


def test_rows_lie_in_the_folder_of_their_own_date(tmp_path: Path) -> None:
    """One segment per UTC date of `predicted_at` and flush, in folders that every engine can prune."""
    instants = np.array(["2013-04-01T23:59:59.999999", "2013-04-02T00:00", "2013-04-01T00:00"], dtype="datetime64[us]")
    with ModelMonitor("churn/eu west", log=tmp_path) as monitor:
        monitor.record_batch(score=[0.1, 0.2, 0.3], predicted_at=instants)
        monitor.force_flush()
        monitor.record(score=0.4, predicted_at=datetime(2013, 4, 1, 12, tzinfo=UTC))

    found = [
        (path.parent.relative_to(tmp_path).as_posix(), pq.read_metadata(path).num_rows) for path in segments(tmp_path)
    ]
    assert sorted(found) == [
        ("model=churn%2Feu%20west/dt=2013-04-01", 1),
        ("model=churn%2Feu%20west/dt=2013-04-01", 2),
        ("model=churn%2Feu%20west/dt=2013-04-02", 1),
    ]


def test_duckdb_reads_the_log_as_it_lies(tmp_path: Path) -> None:
    """Segments of several monitors, versions and days are one table."""
    for variant, version in (("champion", "1"), ("challenger", "2")):
        with ModelMonitor("fraud", variant=variant, version=version, slices=["country"], log=tmp_path) as monitor:
            monitor.record_batch(score=np.linspace(0, 1, 5), prediction=True, country="NL")

    date = "strftime(min(predicted_at) AT TIME ZONE 'UTC', '%Y-%m-%d')"
    found = duckdb.execute(
        f"SELECT model, variant, count(*), sum(score), min(dt)::TEXT = {date} "
        f"FROM read_parquet('{tmp_path}/*/*/{SEGMENT_PATTERN}', hive_partitioning = true, union_by_name = true) "
        "GROUP BY ALL ORDER BY variant"
    ).fetchall()

    assert found == [("fraud", "challenger", 5, 2.5, True), ("fraud", "champion", 5, 2.5, True)]


def test_the_ids_of_a_batch_are_those_in_the_log(tmp_path: Path) -> None:
    """A label that comes with the id of the call meets its row."""
    with ModelMonitor("fraud", log=tmp_path) as monitor:
        ids = monitor.record_batch(score=np.linspace(0, 1, 10_000))

    logged = pq.read_table(segments(tmp_path)[0], partitioning=None)
    assert logged["prediction_id"].to_pylist() == list(ids)
    assert logged["score"].to_numpy().tolist() == np.linspace(0, 1, 10_000).tolist()


def test_a_flush_means_durable_and_readable(tmp_path: Path) -> None:
    """After `force_flush` all that was recorded can be read, with the monitor still alive."""
    monitor = ModelMonitor("fraud", interval=3600, log=tmp_path)
    given = [monitor.record(score=0.5), *monitor.record_batch(score=[0.1, 0.2])]

    flushed = monitor.force_flush()

    assert flushed
    assert sorted(row["prediction_id"] for row in rows(tmp_path)) == sorted(str(each) for each in given)


def test_the_current_span_is_logged(tmp_path: Path) -> None:
    """A prediction leads to its trace; one that was made outside of any has none, and the caller's own ids are kept."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with ModelMonitor("fraud", log=tmp_path) as monitor:
        with tracer.start_as_current_span("predict") as span:
            monitor.record(score=0.1)
            monitor.record_batch(score=[0.2, 0.3])
        monitor.record(score=0.4)

    context = span.get_span_context()
    ids = (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    found = {row["score"]: (row["trace_id"], row["span_id"]) for row in rows(tmp_path)}
    assert found == {0.1: ids, 0.2: ids, 0.3: ids, 0.4: (None, None)}


@pytest.mark.parametrize(
    ("values", "kind"),
    [([True, False], "bool"), ([1, 0.5], "double"), (["spam", "ham"], "string")],
)
def test_the_decision_keeps_its_kind(tmp_path: Path, values: list[Any], kind: str) -> None:
    """A class, a boolean or a number: the log has a column of that type."""
    with ModelMonitor("mail", log=tmp_path) as monitor:
        monitor.record_batch(prediction=values, predicted_at=datetime(2013, 4, 1, tzinfo=UTC))

    table = pq.read_table(segments(tmp_path)[0], partitioning=None)
    assert str(table.schema.field("prediction").type) == kind
    assert table["prediction"].to_pylist() == values


def test_one_score_per_class_is_a_list(tmp_path: Path) -> None:
    """A model of several classes logs all its scores, and they are no single number that could be binned."""
    with ModelMonitor("mail", task="multiclass", log=tmp_path) as monitor:
        monitor.record_batch(score=np.array([[0.2, 0.8], [0.9, 0.1]]), prediction=["ham", "spam"])
        monitor.record(score=[0.5, 0.5], prediction="ham")

    table = pa.concat_tables(pq.read_table(path, partitioning=None) for path in segments(tmp_path))
    assert table.schema.field("score").type == pa.list_(pa.float64())
    scores: list[Any] = table["score"].to_pylist()
    assert sorted(scores) == [[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]]
    assert table["score_bin"].to_pylist() == [None, None, None]


def test_a_row_without_an_instant_is_counted_and_not_logged(tmp_path: Path) -> None:
    """A row that is logged on a wrong day would corrupt that day's windows."""
    with TelemetryCapture() as telemetry:
        monitor = ModelMonitor("fraud", log=tmp_path, meter_provider=telemetry.meter_provider)
        monitor.record(score=0.5, predicted_at=datetime(2013, 4, 1))  # noqa: DTZ001  # that is the fault
        monitor.record(score=0.5)

        assert telemetry.values("ml.predictions", by="ml.model.name") == {"fraud": 2}
        assert telemetry.values("ml.monitor.dropped", by="reason") == {"bad_instant": 1}
    assert len(rows(tmp_path)) == 1


def test_a_log_folder_that_vanishes_costs_rows_only(tmp_path: Path) -> None:
    """An unwritable folder is a counted loss; the flush says that not everything is durable."""
    folder = tmp_path / "log"
    with TelemetryCapture() as telemetry:
        monitor = ModelMonitor("fraud", log=folder, meter_provider=telemetry.meter_provider)
        (folder / "model=fraud").rmdir()
        (folder / "model=fraud").write_text("in the way")

        monitor.record(score=0.5)
        flushed = monitor.force_flush()

        assert not flushed
        assert telemetry.values("ml.predictions", by="ml.model.name") == {"fraud": 1}
        assert telemetry.values("ml.monitor.dropped", by="reason") == {"log_failed": 1}


def test_a_reader_never_sees_a_segment_that_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the rename, a segment has a name of another kind."""
    seen: list[list[Path]] = []
    rename = Path.rename

    def watched(self: Path, target: Path) -> Path:
        seen.append(segments(tmp_path))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", watched)
    with ModelMonitor("fraud", log=tmp_path) as monitor:
        monitor.record(score=0.5)

    assert seen == [[]]
    assert len(segments(tmp_path)) == 1
