"""The prediction log as a run finds it: which segments are new, what is in them, and which rows repeat an id."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from otel_ml_metrics.attribution.inputs import SEGMENT, Input
from otel_ml_metrics.attribution.tables import LOST, values
from otel_ml_metrics.engines import row_statements as rows
from otel_ml_metrics.errors import LogError
from otel_ml_metrics.instants import date_of
from otel_ml_metrics.prediction_log.reader import Segment, portions, segments
from otel_ml_metrics.semconv import RESERVED_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.engines.port import Engine
    from otel_ml_metrics.ledger.reader import LedgerReader


@dataclass
class Logged:
    """What the log has for a run.

    Args:
        old: Segments that were taken before and are still there.
        new: Segments that are new.
        inputs: Progress of the new ones.
        lost: Rows that repeat an id, if there are new ones.
        moved: Whether rows that counted until now do so no longer; they are in `moved_before`.
        warnings: What an operator should know.
    """

    old: list[Input] = field(default_factory=list)
    new: list[Segment] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    lost: pa.Table | None = None
    moved: bool = False
    warnings: list[str] = field(default_factory=list)


class LogIntake:
    """Reads the log of an evaluation.

    Args:
        evaluation: Whose.
        engine: Reads.
        ledger: Says what was taken before.

    Raises:
        LogError: The log cannot be read.
    """

    def __init__(self, evaluation: Evaluation, engine: Engine, ledger: LedgerReader) -> None:
        self._engine = engine
        self._known = ledger.inputs(SEGMENT)
        self.retirement = ledger.retired()
        self._listed = {
            name: segment
            for name, segment in segments(evaluation.predictions, evaluation.model).items()
            if not self.retirement.is_retired(segment.date)
        }
        self._lost = ledger.lost()
        self.columns = rows.RowColumns.of(evaluation)

    def define(self, name: str, chosen: Iterable[str]) -> None:
        """Define a relation: the rows of these segments that count."""
        self._define(name, chosen, without_lost=len(self._lost) > 0)

    def take(self) -> Logged:
        """Define `new_rows`, the rows of new segments that count, and materialise `moved_before`.

        Raises:
            ConfigurationError: The log lacks a field that the evaluation names.
            LogError: A segment cannot be read.
        """
        new = [segment for name, segment in self._listed.items() if name not in self._known]
        logged = Logged([each for name, each in self._known.items() if name in self._listed], new)
        self._check_fields(sorted({segment.path for segment in new}))
        self._engine.put("lost", self._lost)
        if not (new and self._settle_repeated(logged)):
            self._define("old_rows", [], without_lost=False)
            self._engine.materialise("moved_before", "SELECT * FROM old_rows")
        self.define("new_rows", [each.name for each in new])
        return logged

    def retake(self, dates: frozenset[str], *, start_us: int, end_us: int) -> list[Input]:
        """Define `new_rows`: the rows of a range that were taken before; every segment that was taken and is there.

        Raises:
            LogError: The log has lost a segment of these dates.
        """
        gone = self.gone(dates)
        if gone is not None:
            message = f"The segment {gone} was evaluated and is gone, so its windows cannot be computed again."
            raise LogError(message)
        taken = [name for name, each in self._known.items() if each.date in dates]
        self._engine.put("lost", self._lost)
        self.define("logged_rows", taken)
        within = f"_predicted_us >= {start_us} AND _predicted_us < {end_us}"
        self._engine.define("new_rows", f"SELECT * FROM logged_rows WHERE {within}")
        self._define("old_rows", [], without_lost=False)
        self._engine.materialise("moved_before", "SELECT * FROM old_rows")
        return [each for name, each in self._known.items() if name in self._listed]

    def gone(self, dates: frozenset[str]) -> str | None:
        """A segment of these dates that was taken before and is not there any more; None where all are."""
        taken = (name for name, each in self._known.items() if each.date in dates)
        return next((name for name in taken if name not in self._listed), None)

    def _define(self, name: str, chosen: Iterable[str], *, without_lost: bool) -> None:
        files = portions(self._listed, chosen)
        rows.define_rows(self._engine, name, files, self.columns, without_lost=without_lost)

    def _check_fields(self, new: list[str]) -> None:
        if not new:
            return
        wanted = {*self.columns.slices, *self.columns.kinds, *self.columns.keys}
        if not wanted <= rows.logged_types(self._engine, new).keys() | RESERVED_FIELDS:
            paths = sorted({segment.path for segment in self._listed.values()})
            rows.check_fields(self._engine, paths, self.columns)

    def _settle_repeated(self, logged: Logged) -> bool:
        """See which rows repeat an id; whether `moved_before` has rows."""
        foreign = self._note_segments(logged)
        dates = {each.date for each in logged.new}
        rivals = [each.name for each in logged.old if foreign or each.foreign_ids or each.date in dates]
        self._define("new_rows", [each.name for each in logged.new], without_lost=False)
        self.define("old_rows", rivals)
        if rows.repeated_rows(self._engine, has_old=bool(rivals)):
            self._lose(logged)
        return logged.moved

    def _note_segments(self, logged: Logged) -> set[str]:
        dates = sorted({each.date for each in logged.new})
        dated = {
            date: portions(self._listed, (each.name for each in logged.new if each.date == date)) for date in dates
        }
        foreign = rows.foreign_segments(self._engine, dated)
        logged.inputs = [
            Input(SEGMENT, each.name, date=each.date, foreign_ids=each.name in foreign) for each in logged.new
        ]
        return foreign

    def _lose(self, logged: Logged) -> None:
        losing = self._engine.sql(
            "SELECT prediction_id, _predicted_us, _segment AS segment, _row AS row, _is_new FROM contenders"
            " WHERE place > 1 ORDER BY ALL"
        )
        dates = [date_of(instant) for instant in values(losing, "_predicted_us")]
        table = losing.append_column("date", pa.array(dates, pa.string())).select(LOST.names).cast(LOST)
        moved = self._engine.materialise(
            "moved_before",
            "SELECT old_rows.* FROM old_rows JOIN contenders USING (_segment, _row) WHERE contenders.place > 1"
            " AND NOT contenders._is_new",
        )
        self._lost = logged.lost = pa.concat_tables([self._lost, table])
        self._engine.put("lost", self._lost)
        logged.moved = moved > 0
        logged.warnings.append(
            f"{len(losing)} logged predictions repeat an id; the earliest of each id counts, the others do not."
        )
