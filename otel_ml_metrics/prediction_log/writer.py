"""Writes the prediction log: immutable Parquet segments, one per date and flush, visible once whole and durable.

Locally a segment is written aside, synced and renamed, in an object store it is one PUT: a reader sees a whole segment
or none, whenever process or machine stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otel_ml_metrics.binning import SCHEME, logit_bins
from otel_ml_metrics.columns import NO_INSTANT
from otel_ml_metrics.errors import LogError
from otel_ml_metrics.identifiers import PredictionIds
from otel_ml_metrics.instants import DAY_US, date_of
from otel_ml_metrics.prediction_log import arrow
from otel_ml_metrics.prediction_log.layout import (
    BINS_KEY,
    SCHEMA_KEY,
    SCHEMA_VERSION,
    date_folder,
    model_folder,
    segment_name,
)
from otel_ml_metrics.reading import RowSchema
from otel_ml_metrics.storage.files import storage_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from pyarrow import Table

    from otel_ml_metrics.batch import PredictionBatch
    from otel_ml_metrics.expressions import Kind

_REQUIRED: Final = frozenset({"prediction_id", "predicted_at"})
_METADATA: Final = {SCHEMA_KEY: SCHEMA_VERSION, BINS_KEY: SCHEME}
_NO_DAY: Final = -1
_JOINED: Final = 64
"""Batches whose columns are joined at a time: those of one row each take more for their columns than for their rows."""


@dataclass(frozen=True)
class SegmentsWritten:
    """What became of the rows of one flush.

    Args:
        lost: Rows lost, by reason.
        problem: What happened, for the message; empty if nothing did.
    """

    lost: Mapping[str, int]
    problem: str = ""


class LogWriter:
    """Writes the predictions of one monitor.

    Args:
        log: Folder of the log, made if it is not there, or URL of one in an object store.
        model: Name of the model.
        constants: Columns with the same text in every row (output, version, variant); None is NULL.
        slices: Names of the slices.
        fields: Kind of each declared field.

    Raises:
        LogError: Nothing can be written there.
    """

    def __init__(
        self,
        log: str | os.PathLike[str],
        *,
        model: str,
        constants: Mapping[str, str | None],
        slices: Sequence[str],
        fields: Mapping[str, Kind],
    ) -> None:
        self._folder = model_folder(log, model)
        self._constants = dict(constants)
        self._slices = tuple(slices)
        self._fields = dict(fields)
        self._try_out()

    def write(self, batches: Sequence[PredictionBatch]) -> SegmentsWritten:
        """Make rows durable and readable, one segment per UTC date; a row whose instant is unknown has no place.

        Never raises on a full or broken disk, nor where a store does not answer: the rows of the segments that failed
        are counted as lost.
        """
        lost: dict[str, int] = {}
        problem = ""
        days = _days(batches)
        unplaced = int((days == _NO_DAY).sum())
        if unplaced:
            lost["bad_instant"] = unplaced
        table = self._table(batches)
        for day in np.unique(days[days != _NO_DAY]).tolist():
            of_day = arrow.chosen(table, days == day)
            try:
                self._write_segment(date_of(day * DAY_US), of_day)
            except OSError as error:
                lost["log_failed"] = lost.get("log_failed", 0) + of_day.num_rows
                problem = f"{self._folder}: {error}"
        return SegmentsWritten(lost, problem)

    def _try_out(self) -> None:
        try:
            empty = self._table([_no_rows(self._slices, self._fields)])
            self._storage = storage_of(self._folder)
            self._storage.try_out(self._folder, partial(arrow.write, empty))
        except OSError as error:
            message = (
                f"The prediction log cannot be written to {self._folder}: {error.strerror or error}. "
                "Pass a folder or a URL that this process may write to as `log`."
            )
            raise LogError(message) from error

    def _table(self, batches: Sequence[PredictionBatch]) -> Table:
        decided: Kind = next(
            (batch.kinds["prediction"] for batch in batches if "prediction" in batch.values), "boolean"
        )
        vectors = any(batch.scores is not None for batch in batches)
        portions = [batches[at : at + _JOINED] for at in range(0, len(batches), _JOINED)]
        tables = [
            arrow.joined([self._batch_table(batch, decided, vectors=vectors) for batch in portion])
            for portion in portions
        ]
        return arrow.joined(tables)

    def _batch_table(self, batch: PredictionBatch, decided: Kind, *, vectors: bool) -> Table:
        rows = len(batch)
        columns: dict[str, arrow.Array] = {
            "prediction_id": _ids(batch.ids),
            "predicted_at": arrow.plain(batch.predicted_at, arrow.INSTANT),
            **{name: arrow.repeated(self._constants.get(name), rows) for name in ("output", "version", "variant")},
            "score": _vectors(batch) if vectors else _column(batch, "score", "number"),
            "prediction": _column(batch, "prediction", decided),
            "score_bin": _score_bins(batch),
            "duration": _column(batch, "duration", "number"),
            "weight": _column(batch, "weight", "number"),
            "acted_on": _column(batch, "acted_on", "boolean"),
            "trace_id": _column(batch, "trace_id", "string"),
            "span_id": _column(batch, "span_id", "string"),
            **{name: arrow.categories(batch.slices[name].codes, batch.slices[name].values) for name in self._slices},
            **{name: _column(batch, name, kind) for name, kind in self._fields.items()},
        }
        return arrow.table(columns, required=_REQUIRED, metadata=_METADATA)

    def _write_segment(self, date: str, table: Table) -> None:
        path = f"{date_folder(self._folder, date)}/{segment_name()}"
        self._storage.write(path, partial(arrow.write, table))


def _days(batches: Sequence[PredictionBatch]) -> NDArray[np.int64]:
    """Day of each row since 1970."""
    instants = np.concatenate([batch.predicted_at for batch in batches])
    return np.where(instants == NO_INSTANT, _NO_DAY, instants // DAY_US)


def _ids(ids: Sequence[str]) -> arrow.Array:
    return arrow.characters(ids.characters()) if isinstance(ids, PredictionIds) else arrow.texts(ids)


_READ: Final[Mapping[Kind, tuple[Any, Callable[[Any], arrow.Array]]]] = {
    "boolean": (arrow.BOOLEAN, arrow.booleans),
    "number": (arrow.NUMBER, arrow.numbers),
    "string": (arrow.TEXT, arrow.texts),
}


def _column(batch: PredictionBatch, name: str, kind: Kind) -> arrow.Array:
    arrow_type, made = _READ[kind]
    values = batch.values.get(name)
    return arrow.nulls(len(batch), arrow_type) if values is None else made(values)


def _vectors(batch: PredictionBatch) -> arrow.Array:
    return arrow.nulls(len(batch), arrow.NUMBERS) if batch.scores is None else arrow.vectors(batch.scores)


def _score_bins(batch: PredictionBatch) -> arrow.Array:
    scores = batch.values.get("score")
    if scores is None:
        return arrow.nulls(len(batch), arrow.SMALL_INTEGER)
    bins = logit_bins(scores)
    return arrow.plain(bins, arrow.SMALL_INTEGER, bins < 0)


def _no_rows(slices: Sequence[str], fields: Mapping[str, Kind]) -> PredictionBatch:
    return RowSchema(slices, fields).read_rows([])
