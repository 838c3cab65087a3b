"""What is new since the ledger's head: labels and segments are read, labels find their predictions, sums change.

Reads the ledger, writes nothing: everything that a run changes comes out as data, to be committed at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from otel_ml_metrics.attribution.dates import PREFIX_LENGTH, dates_among
from otel_ml_metrics.attribution.inputs import LABEL, SEGMENT, Input
from otel_ml_metrics.attribution.tables import LOST, TILED_SUMS, fact_schema, values
from otel_ml_metrics.engines import effect_statements as effects
from otel_ml_metrics.engines import resolution_statements as resolutions
from otel_ml_metrics.engines import row_statements as rows
from otel_ml_metrics.engines.delta_statements import DeltaPlan
from otel_ml_metrics.engines.label_statements import read_labels
from otel_ml_metrics.errors import LogError
from otel_ml_metrics.instants import DAY_US, SECOND_US, date_of, from_us, iso, to_us
from otel_ml_metrics.labels.opening import source_of
from otel_ml_metrics.prediction_log.reader import Segment, segments
from otel_ml_metrics.semconv import LABEL_DELAY_BOUNDS, RESERVED_FIELDS
from otel_ml_metrics.summing import Summing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_ml_metrics.attribution.inputs import LabelPart, Survey
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.engines.label_statements import Received
    from otel_ml_metrics.engines.port import Engine
    from otel_ml_metrics.engines.resolution_statements import Span
    from otel_ml_metrics.ledger.store import Ledger
    from otel_ml_metrics.summing import Summed

SKEW_US: Final = 3_600 * SECOND_US
"""How much earlier than its prediction a label may seem to come, where its date has to be searched."""

_FIRST_US: Final = to_us(datetime.min.replace(tzinfo=UTC))
"""The first instant that has a date; a label may say that it was received before."""


@dataclass
class Intake:
    """What a run takes in.

    Args:
        inputs: Progress of the files and segments that moved on.
        delta: What is added to the sums, by tile.
        facts: New facts by date of their prediction.
        replaced_dates: Dates whose facts are replaced.
        pending: Labels that wait for their prediction.
        lost: Rows of the log that repeat an id; None if there are no new ones.
        label_changes: Rows of (version, variant, status, delay_bin, labels, delay_us) to count.
        invalid: Label rows that cannot be used.
        warnings: What an operator should know.
    """

    inputs: list[Input] = field(default_factory=list)
    delta: pa.Table = field(default_factory=TILED_SUMS.empty_table)
    facts: dict[str, pa.Table] = field(default_factory=dict)
    replaced_dates: frozenset[str] = frozenset()
    pending: pa.Table | None = None
    lost: pa.Table | None = None
    label_changes: list[dict[str, object]] = field(default_factory=list)
    invalid: pa.Table | None = None
    warnings: list[str] = field(default_factory=list)


class Reading:
    """One reading of what is new.

    Args:
        evaluation: What is evaluated.
        engine: Reads and joins.
        ledger: Says what was taken before.
    """

    def __init__(self, evaluation: Evaluation, engine: Engine, ledger: Ledger) -> None:
        self._evaluation = evaluation
        self._engine = engine
        self._ledger = ledger
        self._columns = rows.RowColumns.of(evaluation)
        self._kind = evaluation.kinds["label"]
        self._source = source_of(evaluation.labels)
        self._by_entity = bool(evaluation.labels.keys)
        self._schema = fact_schema(self._kind, by_entity=self._by_entity)
        self._within_us = evaluation.within.us
        self._intake = Intake()
        self._received: dict[str, Received] = {}
        self.plan = delta_plan(evaluation, self._columns)

    def take(self, *, as_of_us: int) -> Intake:
        """Read the labels received up to an instant, and the segments that are new.

        Raises:
            ConfigurationError: The log lacks a field that the evaluation names.
            LabelSourceError: A label file cannot be read as it is declared.
            LogError: The prediction log cannot be read.
        """
        self._take_labels(as_of_us)
        old, new = self._take_segments()
        waiting = self._ledger.pending()
        self._engine.put("waiting", waiting)
        moved = self._settle_repeated(old, new)
        withdrawn = False
        if self._by_entity:
            withdrawn = self._resolve(old, waiting)
            self._attributed = self._join(has_waiting=False)
        else:
            self._engine.put("withdrawn", self._schema.empty_table())
            self._attribute(old, has_waiting=len(waiting) > 0)
            self._note_pending(waiting)
        summing = self._summing(moved=moved, withdrawn=withdrawn)
        self._note(summing.add_up())
        return self._intake

    def retake(self, *, start_us: int, end_us: int, reread_until_us: int | None = None) -> Intake:
        """Read a range of predictions and their labels again, as if nothing had been summed.

        Args:
            start_us: Start of the range, aligned to tiles.
            end_us: End of it, not included.
            reread_until_us: Take the labels of these predictions from their source as it is now, received up to this
                instant; None: those that were applied before.

        Raises:
            LabelSourceError: A label file cannot be read as it is declared.
            LogError: The log cannot be read, or it has lost what was evaluated.
        """
        listed = segments(self._evaluation.predictions, self._evaluation.model)
        self._paths = {name: segment.path for name, segment in listed.items()}
        known = self._ledger.inputs(SEGMENT)
        dates = _dates_between(start_us, end_us)
        taken = [name for name, each in known.items() if each.date in dates]
        gone = [name for name in taken if name not in listed]
        if gone:
            message = f"The segment {gone[0]} was evaluated and is gone, so its windows cannot be computed again."
            raise LogError(message)
        lost = self._ledger.lost()
        self._has_lost = len(lost) > 0
        self._engine.put("lost", lost)
        self._define("logged_rows", taken, without_lost=self._has_lost)
        within = f"_predicted_us >= {start_us} AND _predicted_us < {end_us}"
        self._engine.define("new_rows", f"SELECT * FROM logged_rows WHERE {within}")
        self._define("old_rows", [], without_lost=False)
        self._engine.materialise("moved_before", "SELECT * FROM old_rows")
        self._engine.put("waiting", self._schema.empty_table())
        facts = self._ledger.facts(dates).select(self._schema.names)
        if reread_until_us is None:
            self._engine.put("incoming", facts)
        else:
            self._reread(known.values(), facts, start_us, end_us, reread_until_us)
        self._join(has_waiting=False)
        summing = self._summing(moved=False, withdrawn=False)
        self._note(summing.add_up_anew(dates, reread=reread_until_us is not None))
        return self._intake

    def _summing(self, *, moved: bool, withdrawn: bool) -> Summing:
        return Summing(self._engine, self._ledger, self.plan, self._schema, moved=moved, withdrawn=withdrawn)

    def _note(self, summed: Summed) -> None:
        self._intake.delta = summed.delta
        self._intake.facts = summed.facts
        self._intake.replaced_dates = summed.replaced_dates
        self._intake.label_changes = summed.label_changes

    # Labels

    def _take_labels(self, as_of_us: int) -> None:
        """Define the good labels that are to be taken now, as `incoming`; keep the bad ones aside."""
        survey = self._source.survey(self._ledger.inputs(LABEL), as_of_us=as_of_us)
        if self._read(survey, as_of_us):
            invalid = self._invalid(as_of_us)
            self._intake.invalid = invalid if len(invalid) else None

    def _read(self, survey: Survey, until_us: int) -> bool:
        """Define `incoming` (or `incoming_outcomes`) from what a source has; whether it has anything."""
        self._intake.warnings += survey.warnings
        name = "incoming_outcomes" if self._by_entity else "incoming"
        if not survey.parts:
            self._engine.put(name, self._schema.empty_table())
            return False
        self._received = read_labels(self._engine, survey.parts, self._evaluation.labels, kind=self._kind)
        columns = resolutions.OUTCOME if self._by_entity else effects.FACT
        self._engine.define(name, f"SELECT {columns} FROM raw_labels WHERE problem IS NULL AND {_taken(until_us)}")
        for part in survey.parts:
            received = self._received.get(part.shown)
            self._intake.inputs.append(part.input.taken(until_us, received and received.last_us))
        return True

    def _invalid(self, as_of_us: int) -> pa.Table:
        who = "entity" if self._by_entity else "prediction_id"
        return self._engine.sql(
            f"SELECT part, {who}, make_timestamp(received_us) AS received_at, CAST(label AS VARCHAR) AS label, problem"
            f" FROM raw_labels WHERE problem IS NOT NULL AND {_taken(as_of_us)} ORDER BY ALL"
        )

    def _reread(self, known: Iterable[Input], applied: pa.Table, start_us: int, end_us: int, until_us: int) -> None:
        """Define `incoming`: the labels of a range of predictions, as their source has them now."""
        since_us, last_us = start_us - SKEW_US, min(until_us, end_us + self._evaluation.horizon.us + self._within_us)
        taken = self._ledger.inputs(LABEL)
        survey = self._source.again(taken, since_us=since_us, until_us=last_us)
        self._read(survey, until_us)
        self._intake.inputs = [
            replace(part.input, taken_until_us=until_us, last_us=received.last_us)
            for part in survey.parts
            if (received := self._received.get(part.shown)) and self._is_whole(part, received, start_us, end_us)
        ]
        span = resolutions.Span(start_us - self._within_us, end_us + self._within_us)
        if self._by_entity:
            again = f"occurred_us BETWEEN {start_us} AND {span.last_us}"
            strays = self._resolve_again(_between(known, span), again)
        else:
            again = f"received_us BETWEEN {since_us} AND {last_us}"
            strays = self._strays(list(known), again)
        # What a file that is gone said can only be known from what was taken, and so can what was not looked at again.
        is_one_gone = bool(survey.warnings)
        self._wait_again(strays, "TRUE" if is_one_gone else f"NOT ({again})")
        self._keep(applied, "TRUE" if is_one_gone else f"received_us NOT BETWEEN {since_us} AND {last_us}")

    def _resolve_again(self, names: set[str], which: str) -> pa.Table:
        """Define `incoming`: outcomes that were read again, by the rows of segments; those that found none of them."""
        self._engine.put("unsettled", self._schema.empty_table())
        resolutions.open_outcomes(self._engine, within_us=self._within_us)
        self._define("old_rows", names, without_lost=self._has_lost)
        self._engine.define("every_row", "SELECT * FROM old_rows")
        take = self._evaluation.labels.take
        resolutions.resolve(self._engine, within_us=self._within_us, take=take, relations=("every_row",))
        strays = self._engine.sql(f"{resolutions.without_row()} AND {which}")
        self._define("old_rows", [], without_lost=False)
        return strays

    def _strays(self, known: list[Input], which: str) -> pa.Table:
        """Those of the labels in `incoming` that no prediction is logged for."""
        self._engine.materialise("reread", "SELECT * FROM incoming")
        self._engine.define("incoming", f"SELECT * FROM reread WHERE {which}")
        self._attribute(known, has_waiting=False)
        strays = self._engine.sql(effects.unmatched("incoming"))
        self._engine.define("incoming", "SELECT * FROM reread")
        self._define("old_rows", [], without_lost=False)
        return strays

    def _wait_again(self, strays: pa.Table, kept: str) -> None:
        """Let labels wait as their source has them now; of those that waited before, the ones that are to be kept."""
        waiting = self._ledger.pending()
        self._engine.put("waited", waiting)
        self._engine.put("strays", strays.cast(self._schema))
        columns = ", ".join(self._schema.names)
        left = self._engine.sql(
            f"SELECT {columns} FROM strays UNION ALL"
            f" (SELECT {columns} FROM waited WHERE {kept} EXCEPT ALL SELECT {columns} FROM strays)"
        )
        self._intake.pending = left if len(left) or len(waiting) else None

    def _keep(self, applied: pa.Table, which: str) -> None:
        """Add to `incoming` those labels that were applied before and are to be kept, but for those that it has."""
        self._engine.put("applied", applied)
        columns = ", ".join(self._schema.names)
        self._engine.materialise(
            "believed",
            f"SELECT {columns} FROM incoming UNION ALL"
            f" (SELECT {columns} FROM applied WHERE {which} EXCEPT ALL SELECT {columns} FROM incoming)",
        )
        self._engine.define("incoming", "SELECT * FROM believed")

    def _is_whole(self, part: LabelPart, received: Received, start_us: int, end_us: int) -> bool:
        """Whether every label of a part is of a range of predictions; else what changed in it stays to be told."""
        first_us, last_us = received
        reach_us = self._evaluation.horizon.us
        is_whole = first_us is None or last_us is None or (first_us - reach_us >= start_us and last_us <= end_us)
        if not is_whole and first_us is not None and last_us is not None and self._has_changed(part):
            since, until = iso(from_us(first_us - reach_us)), iso(from_us(last_us))
            self._intake.warnings.append(
                f"{part.shown} changed after it was read, and has labels of other times too; a backfill from {since} to"
                f" {until} takes over all of it."
            )
        return is_whole

    def _has_changed(self, part: LabelPart) -> bool:
        return self._ledger.inputs(LABEL)[part.input.name].fingerprint != part.input.fingerprint

    # Segments

    def _take_segments(self) -> tuple[list[Input], list[Segment]]:
        """The segments that were taken before and are still there, and the new ones."""
        listed = segments(self._evaluation.predictions, self._evaluation.model)
        known = self._ledger.inputs(SEGMENT)
        new = [segment for name, segment in listed.items() if name not in known]
        self._paths = {name: segment.path for name, segment in listed.items()}
        self._check_fields([segment.path for segment in new])
        return [each for name, each in known.items() if name in listed], new

    def _check_fields(self, new: list[str]) -> None:
        if not new:
            return
        wanted = {*self._columns.slices, *self._columns.kinds, *self._columns.keys}
        if not wanted <= rows.logged_types(self._engine, new).keys() | RESERVED_FIELDS:
            rows.check_fields(self._engine, list(self._paths.values()), self._columns)

    def _define(self, name: str, chosen: Iterable[str], *, without_lost: bool) -> None:
        paths = [self._paths[each] for each in sorted(chosen)]
        rows.define_rows(self._engine, name, paths, self._columns, without_lost=without_lost)

    def _settle_repeated(self, old: list[Input], new: list[Segment]) -> bool:
        """See which rows repeat an id. Materialises `moved_before`: rows that counted until now and do so no longer."""
        lost = self._ledger.lost()
        self._engine.put("lost", lost)
        self._define("new_rows", [each.name for each in new], without_lost=False)
        self._moved = 0
        if new:
            foreign = self._note_segments(new)
            dates = {each.date for each in new}
            rivals = [each.name for each in old if foreign or each.foreign_ids or each.date in dates]
            self._define("old_rows", rivals, without_lost=len(lost) > 0)
            if rows.repeated_rows(self._engine, has_old=bool(rivals)):
                lost = self._lose(lost)
        if not self._moved:
            self._define("old_rows", [], without_lost=False)
            self._engine.materialise("moved_before", "SELECT * FROM old_rows")
        self._define("new_rows", [each.name for each in new], without_lost=len(lost) > 0)
        self._has_lost = len(lost) > 0
        return self._moved > 0

    def _note_segments(self, new: list[Segment]) -> set[str]:
        dates = sorted({each.date for each in new})
        dated = {date: [each.path for each in new if each.date == date] for date in dates}
        foreign = rows.foreign_segments(self._engine, dated)
        self._intake.inputs += [
            Input(SEGMENT, each.name, date=each.date, foreign_ids=each.name in foreign) for each in new
        ]
        return foreign

    def _lose(self, lost: pa.Table) -> pa.Table:
        losing = self._engine.sql(
            "SELECT prediction_id, _predicted_us, _segment AS segment, _row AS row, _is_new FROM contenders"
            " WHERE place > 1 ORDER BY ALL"
        )
        dates = [date_of(instant) for instant in values(losing, "_predicted_us")]
        table = losing.append_column("date", pa.array(dates, pa.string())).select(LOST.names).cast(LOST)
        self._moved = self._engine.materialise(
            "moved_before",
            "SELECT old_rows.* FROM old_rows JOIN contenders USING (_segment, _row) WHERE contenders.place > 1"
            " AND NOT contenders._is_new",
        )
        self._intake.lost = pa.concat_tables([lost, table])
        self._engine.put("lost", self._intake.lost)
        self._intake.warnings.append(
            f"{len(losing)} logged predictions repeat an id; the earliest of each id counts, the others do not."
        )
        return self._intake.lost

    # Labels meet rows

    def _join(self, *, has_waiting: bool) -> int:
        return effects.attribute(self._engine, self.plan, fact=", ".join(self._schema.names), waiting=has_waiting)

    def _attribute(self, old: list[Input], *, has_waiting: bool) -> None:
        """Materialise `attributed`, reading only the dates that the labels can be of."""
        likely = self._likely(old)
        self._define("old_rows", likely, without_lost=self._has_lost)
        self._attributed = self._join(has_waiting=has_waiting)
        rest = {each.name for each in old if each.foreign_ids} - likely
        if rest and len(self._engine.sql(f"{effects.unmatched('incoming')} LIMIT 1")):
            self._define("old_rows", likely | rest, without_lost=self._has_lost)
            self._attributed = self._join(has_waiting=has_waiting)

    def _resolve(self, old: list[Input], waiting: pa.Table) -> bool:
        """Materialise `incoming` and `withdrawn`: labels that outcomes are, and were, of predictions.

        Returns:
            Whether a label is withdrawn.
        """
        within_us = self._within_us
        spans = [resolutions.reach(self._engine, relation, within_us) for relation in ("new_rows", "moved_before")]
        dates = frozenset[str]().union(*(_dates_of(span) for span in spans if span is not None))
        settled = self._ledger.facts(dates).select(self._schema.names)
        self._engine.put("kept", pa.concat_tables([settled, waiting]))
        resolutions.unsettle(self._engine, within_us=within_us)
        span = resolutions.open_outcomes(self._engine, within_us=within_us)
        names = set() if span is None else _between(old, span)
        self._define("old_rows", names, without_lost=self._has_lost)
        resolutions.resolve(self._engine, within_us=within_us, take=self._evaluation.labels.take)
        left = self._engine.sql(resolutions.still_waiting()).cast(self._schema)
        self._intake.pending = left if len(left) or len(waiting) else None
        return self._engine.materialise("withdrawn", resolutions.withdrawn()) > 0

    def _likely(self, old: list[Input]) -> set[str]:
        """Old segments that can hold the predictions of the incoming labels: by the id's date, or else searched."""
        if not old:
            return set()
        prefixes = self._engine.sql(
            f"SELECT DISTINCT substr(prediction_id, 1, {PREFIX_LENGTH}) AS prefix FROM incoming"
        )
        dates = dates_among(values(prefixes, "prefix"), {each.date for each in old if each.date is not None})
        [span] = self._engine.sql(
            "SELECT min(received_us) AS first, max(received_us) AS last FROM incoming"
        ).to_pylist()
        if span["first"] is None:
            return set()
        first = date_of(max(span["first"] - self._evaluation.horizon.us, _FIRST_US))
        last = date_of(span["last"] + SKEW_US)
        return {
            each.name
            for each in old
            if each.date is not None and (each.date in dates or (each.foreign_ids and first <= each.date <= last))
        }

    def _note_pending(self, waiting: pa.Table) -> None:
        [incoming] = values(self._engine.sql("SELECT count(*) AS labels FROM incoming"), "labels")
        if not len(waiting) and incoming == self._attributed:
            return  # a label finds one row at most, so each has found its own
        parts = [self._engine.sql(effects.unmatched("incoming"))]
        if len(waiting):
            parts.append(self._engine.sql(effects.unmatched("waiting")))
        left = pa.concat_tables([part.cast(self._schema) for part in parts])
        self._intake.pending = left if len(left) != len(waiting) or len(parts[0]) else None


def delta_plan(evaluation: Evaluation, columns: rows.RowColumns) -> DeltaPlan:
    """What an evaluation sums, and per what."""
    tile = evaluation.tile
    return DeltaPlan(
        states=evaluation.states,
        kinds=evaluation.kinds,
        columns=columns.names,
        slices=evaluation.slices,
        buckets=[maturity.seconds_whole for maturity in evaluation.maturities],
        implicit_from=evaluation.attribution_window.seconds_whole if evaluation.grace is not None else None,
        tile_us=round(tile.total_seconds() * SECOND_US),
        offset_us=round(evaluation.window_offset.total_seconds() * SECOND_US),
        delay_bounds=LABEL_DELAY_BOUNDS,
        aggregate=evaluation.labels.aggregate,
    )


def _taken(until_us: int) -> str:
    """SQL: whether a label is to be taken now; one whose instant nobody knows is looked at once, with its file."""
    return f"is_open AND (received_us IS NULL OR received_us <= {until_us})"


def _dates_between(start_us: int, end_us: int) -> frozenset[str]:
    return frozenset(date_of(day * DAY_US) for day in range(start_us // DAY_US, (end_us - 1) // DAY_US + 1))


def _dates_of(span: Span) -> frozenset[str]:
    return _dates_between(span.first_us, span.last_us + 1)


def _between(segments_known: Iterable[Input], span: Span) -> set[str]:
    """Names of the segments that can have predictions in a span."""
    first, last = date_of(max(span.first_us, _FIRST_US)), date_of(span.last_us)
    return {each.name for each in segments_known if each.date is not None and first <= each.date <= last}
