"""Predictions that something else writes are taken over into a log of ours, each once, only what is new of them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.declared_predictions import ForeignFiles, ForeignTable
from otel_ml_metrics.errors import LogError
from otel_ml_metrics.importing.conversion import Converter, ForeignColumns
from otel_ml_metrics.importing.files import ForeignFolder
from otel_ml_metrics.importing.progress import PATIENCE, ImportFolder, Progress
from otel_ml_metrics.importing.segments import SegmentWriter
from otel_ml_metrics.importing.table import ForeignRows
from otel_ml_metrics.instants import date_of
from otel_ml_metrics.prediction_log.reader import segments

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.declared_predictions import ForeignLog
    from otel_ml_metrics.engines.port import Engine
    from otel_ml_metrics.importing.stretches import ForeignSource, Stretch

    Tell = Callable[[str, int, int], None]

STAGE: Final = "taking predictions over"
TAKEN: Final = "taken_ids"


def take_over(
    evaluation: Evaluation, engine: Engine, *, until_us: int, tell: Tell, patience: float = PATIENCE
) -> list[str]:
    """Take over what is new in the foreign log of an evaluation, if it has one.

    It can die anywhere and be repeated. Several may run at once: one takes over, the others wait.

    Args:
        evaluation: Whose predictions.
        engine: Converts them.
        until_us: Rows of a table with a later instant are left for another run.
        tell: Told the stage, and how many rows were taken.
        patience: Seconds to wait for another import.

    Returns:
        What an operator should know.

    Raises:
        ConfigurationError: The foreign log lacks a field that the evaluation names.
        LogError: The foreign log cannot be read, or the log of ours cannot be written.
        LogBusyError: Another import is under way for longer than the patience.
    """
    foreign = evaluation.foreign
    if foreign is None:
        return []
    folder = ImportFolder(evaluation.predictions, evaluation.model, patience=patience)
    columns = ForeignColumns.of(evaluation, foreign)
    with folder.alone(), closing(source_of(evaluation, foreign, columns)) as source:
        return _Import(evaluation, engine, folder, source=source, columns=columns, tell=tell).run(until_us)


@dataclass(frozen=True)
class Glance:
    """A few rows of a foreign log.

    Args:
        shown: The log, as messages name it.
        rows: Those that can be used.
        left_out: Those that cannot, by reason.
        fields: What is carried over besides ids and instants.
    """

    shown: str
    rows: int
    left_out: dict[str, int]
    fields: tuple[str, ...]


def glance(evaluation: Evaluation, foreign: ForeignLog, engine: Engine) -> Glance:
    """Look whether a foreign log can be taken over; nothing is.

    Raises:
        ConfigurationError: It lacks a field that the evaluation names.
        LogError: It cannot be read.
    """
    columns = ForeignColumns.of(evaluation, foreign)
    with closing(source_of(evaluation, foreign, columns)) as source:
        stretch = source.glance()
        if stretch is None:
            return Glance(source.shown, 0, {}, ())
        names = source.names()
        columns.check(stretch.available, source.shown)
        columns.check_fields(names, source.shown)
        converter = Converter(engine, replace(columns, share=1.0), source.shown)
        tables = stretch.tables(columns.wanted(stretch.available))
        rows = sum(len(converter.convert(table, stretch.available)) for table in tables)
    carried = tuple(name for name in columns.kinds if columns.names[name] in names)
    return Glance(source.shown, rows, converter.left_out, carried)


def source_of(evaluation: Evaluation, foreign: ForeignLog, columns: ForeignColumns) -> ForeignSource:
    """What reads a foreign log."""
    if isinstance(foreign, ForeignTable):
        return ForeignRows(foreign, list(columns.names.values()), horizon_us=evaluation.horizon.us)
    if isinstance(foreign, ForeignFiles):
        return ForeignFolder(foreign)
    message = f"{type(foreign).__name__} is no kind of foreign log."
    raise AssertionError(message)  # pragma: no cover  # settings refuse it


class _Import:
    """One import, alone in its folder."""

    def __init__(
        self,
        evaluation: Evaluation,
        engine: Engine,
        folder: ImportFolder,
        *,
        source: ForeignSource,
        columns: ForeignColumns,
        tell: Tell,
    ) -> None:
        self._evaluation = evaluation
        self._engine = engine
        self._folder = folder
        self._source = source
        self._tell = tell
        self._rows = 0
        self._progress = folder.recover() or Progress(_settings(columns), dict(columns.carried))
        self._columns = columns.going_on(self._progress.columns)
        self._converter = Converter(engine, self._columns, source.shown)

    def run(self, until_us: int) -> list[str]:
        """Take over what is new."""
        self._check_settings()
        if not self._progress.stretches and (names := self._source.names()):
            self._columns.check(names, self._source.shown)
            self._columns.check_fields(names, self._source.shown)
        for stretch in self._source.stretches(self._progress, until_us=until_us):
            self._take(stretch)
        if self._rows:
            self._tell(STAGE, self._rows, self._rows)
        left_out = [
            f"{rows:,} rows of {self._source.shown} have {trouble} and were left out."
            for trouble, rows in sorted(self._converter.left_out.items())
        ]
        return [*self._source.warnings, *left_out]

    def _take(self, stretch: Stretch) -> None:
        """Take a stretch over, as a whole or not at all."""
        progress = self._progress
        self._columns.check(stretch.available, self._source.shown)
        writer = SegmentWriter(self._folder, progress.stretches)
        without = self._taken_ids(stretch) if stretch.is_late else ""
        for table in stretch.tables(self._columns.wanted(stretch.available)):
            writer.add(self._converter.convert(table, stretch.available, span_us=stretch.span_us, without=without))
            self._tell(STAGE, self._rows + writer.rows, 0)
        writer.flush()
        self._rows += writer.rows
        stretch.rows = writer.rows
        if not writer.rows and stretch.span_us is not None and not stretch.is_late:
            return  # nothing came in this time, so what comes late of it need not be missed
        stretch.note(progress)
        progress.stretches += 1
        progress.to_show = writer.names
        self._tell(STAGE, self._rows, 0)
        self._folder.commit(progress)
        self._tell(STAGE, self._rows, 0)
        self._folder.show(progress)
        self._tell(STAGE, self._rows, 0)

    def _taken_ids(self, stretch: Stretch) -> str:
        """Put the ids that were taken of the dates of a stretch into a relation; its name."""
        since_us, until_us = stretch.span_us or (None, 0)
        first, last = date_of(since_us or 0), date_of(until_us)
        found = segments(self._evaluation.predictions, self._evaluation.model)
        paths = sorted({each.path for each in found.values() if first <= each.date <= last})
        rows = self._engine.scan(paths, form="parquet") if paths else "(SELECT NULL::VARCHAR AS prediction_id)"
        self._engine.materialise(TAKEN, f"SELECT DISTINCT prediction_id FROM {rows} WHERE prediction_id IS NOT NULL")
        return TAKEN

    def _check_settings(self) -> None:
        """See that what was taken over so far and what is new make one log."""
        wanted = _settings(self._columns)
        kept = self._progress.settings
        changes = [
            f"{name} was {kept.get(name)!r} and is {wanted[name]!r}"
            for name in wanted
            if kept.get(name) != wanted[name]
        ]
        missing = [name for name in self._columns.fields if name not in self._progress.columns]
        changes += [f"the field {name!r} was not carried over" for name in missing]
        if changes:
            message = (
                f"The predictions in {self._folder.path} were taken over under other settings: {'; '.join(changes)}."
                " Write the old ones again, or name another folder under predictions: into: and another ledger, and run"
                " once: everything is read anew."
            )
            raise LogError(message)


def _settings(columns: ForeignColumns) -> dict[str, Any]:
    """What must stay the same for a log to be one log; it may move."""
    foreign = columns.foreign
    named = {"id": foreign.id, "predicted_at": foreign.predicted_at, **foreign.mapped}
    return {"kind": type(foreign).__name__, "zone": foreign.zone, "sample": columns.share, "columns": named}
