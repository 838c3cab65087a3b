"""Logs for tests: segments as a writer makes them, and what a reader finds in them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow as pa
from pyarrow import parquet

from otel_ml_metrics.prediction_log.compaction import batches, compact
from otel_ml_metrics.prediction_log.layout import model_folder
from otel_ml_metrics.prediction_log.reader import portions, segments
from otel_ml_metrics.prediction_log.removal import clean
from tests.storage.material import put

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_ml_metrics.prediction_log.compaction import Merged
    from otel_ml_metrics.prediction_log.folder import ModelFolder
    from otel_ml_metrics.prediction_log.reader import Segment

MODEL: Final = "fraud"
START: Final = datetime(2013, 4, 8, tzinfo=UTC)

Row = tuple[str, float, str, int]
"""Id, score, segment, and position in it."""


def log_segment(
    log: str, ids: Sequence[str], *, name: str | None = None, date: str = "2013-04-08", extra: bool = False
) -> str:
    """Write a segment; the score of a row is its position. Its name."""
    name = f"s-1-{uuid.uuid4().hex}.parquet" if name is None else name
    columns: dict[str, pa.Array[Any]] = {
        "prediction_id": pa.array(ids, pa.string()),
        "predicted_at": pa.array([START + timedelta(seconds=at) for at in range(len(ids))], pa.timestamp("us", "UTC")),
        "score": pa.array([float(at) for at in range(len(ids))], pa.float64()),
    }
    if extra:
        columns["extra"] = pa.array([name] * len(ids), pa.string())
    file = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), file)
    put(f"{model_folder(log, MODEL)}/dt={date}/{name}", file.getvalue().to_pybytes())
    return name


def rows_of(log: str) -> list[Row]:
    """Every row of a log as its reader finds it, by segment and position."""
    return rows_in(segments(log, MODEL))


def rows_in(listed: Mapping[str, Segment]) -> list[Row]:
    """Every row of some segments, by segment and position."""
    parts = portions(listed, listed)
    found: list[Row] = []
    for compacted, own in ((True, "_segment, _row"), (False, "parse_filename(filename), file_row_number")):
        paths = [part.path for part in parts if part.is_compacted is compacted]
        if paths:
            query = (
                f"SELECT prediction_id, score, {own}"
                f" FROM read_parquet({paths!r}, filename = true, file_row_number = true, union_by_name = true)"
            )
            found += duckdb.execute(query).fetchall()
    return sorted(found, key=lambda row: row[2:])


def compact_all(folder: ModelFolder) -> list[Merged]:
    """What one run of maintenance does."""
    with folder.alone():
        clean(folder)
        done = [merged for batch in batches(folder) for merged in compact(folder, batch)]
        clean(folder)
    return done
