"""What is new since the ledger's head: labels and segments are read, labels find their predictions, sums change.

Reads the ledger, writes nothing: everything that a run changes comes out as data, to be committed at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from otel_ml_metrics.attribution.dates import PREFIX_LENGTH, dates_among
from otel_ml_metrics.attribution.tables import LOST, TILED_SUMS, distinct, fact_schema, rows_where, values
from otel_ml_metrics.engines import delta_statements as deltas
from otel_ml_metrics.engines import row_statements as rows
from otel_ml_metrics.engines.label_statements import Stretch, read_labels
from otel_ml_metrics.engines.results import long_form
from otel_ml_metrics.errors import LogError
from otel_ml_metrics.instants import DAY_US, SECOND_US, date_of, to_us
from otel_ml_metrics.labels.files import LabelFile, label_files
from otel_ml_metrics.ledger.store import InputFile
from otel_ml_metrics.prediction_log.reader import Segment, segments
from otel_ml_metrics.semconv import LABEL_DELAY_BOUNDS, RESERVED_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.engines.port import Engine
    from otel_ml_metrics.ledger.store import Ledger

SKEW_US: Final = 3_600 * SECOND_US
"""How much earlier than its prediction a label may seem to come, where its date has to be searched."""

_FIRST_US: Final = to_us(datetime.min.replace(tzinfo=UTC))
"""The first instant that has a date; a label may say that it was received before."""

_FACT: Final = "prediction_id, received_us, revision, label"


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

    inputs: list[InputFile] = field(default_factory=list)
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
        self._intake = Intake()
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
        self._attribute(old, has_waiting=len(waiting) > 0)
        self._note_pending(waiting)
        self._add_up(moved=moved)
        return self._intake

    def retake(self, *, start_us: int, end_us: int) -> Intake:
        """Read a range of predictions and the labels that were applied to them again, as if nothing had been summed.

        Args:
            start_us: Start of the range, aligned to tiles.
            end_us: End of it, not included.

        Raises:
            LogError: The log cannot be read, or it has lost what was evaluated.
        """
        listed = segments(self._evaluation.predictions, self._evaluation.model)
        self._paths = {name: segment.path for name, segment in listed.items()}
        dates = {date_of(day * DAY_US) for day in range(start_us // DAY_US, (end_us - 1) // DAY_US + 1)}
        taken = [name for name, each in self._ledger.inputs("segment").items() if each.date in dates]
        gone = [name for name in taken if name not in listed]
        if gone:
            message = f"The segment {gone[0]} was evaluated and is gone, so its windows cannot be computed again."
            raise LogError(message)
        lost = self._ledger.lost()
        self._engine.put("lost", lost)
        self._engine.put("waiting", fact_schema(self._kind).empty_table())
        self._define("logged_rows", taken, without_lost=len(lost) > 0)
        within = f"_predicted_us >= {start_us} AND _predicted_us < {end_us}"
        self._engine.define("new_rows", f"SELECT * FROM logged_rows WHERE {within}")
        self._define("old_rows", [], without_lost=False)
        self._engine.materialise("moved_before", "SELECT * FROM old_rows")
        self._engine.put("incoming", self._ledger.facts(dates).drop_columns(["date"]))
        deltas.attribute(self._engine, self.plan, waiting=False)
        self._add_up(moved=False)
        return Intake(delta=self._intake.delta, warnings=self._intake.warnings)

    # Labels

    def _take_labels(self, as_of_us: int) -> None:
        """Define `incoming`, the good labels that are to be taken now; keep the bad ones aside."""
        known = self._ledger.inputs("label")
        found = label_files(self._evaluation.labels)
        wanted = {name: file for name, file in found.items() if self._is_wanted(file, known.get(name), as_of_us)}
        if not wanted:
            self._engine.put("incoming", fact_schema(self._kind).empty_table())
            return
        noted = {name: (file.stat(), file.fingerprint()) for name, file in wanted.items()}
        source, classes = self._evaluation.labels, self._evaluation.classes
        last = read_labels(self._engine, _stretches(wanted, known), source, kind=self._kind, classes=classes)
        received = f"(received_us IS NULL OR received_us <= {as_of_us})"
        self._engine.define(
            "incoming", f"SELECT {_FACT} FROM raw_labels WHERE problem IS NULL AND is_open AND {received}"
        )
        invalid = self._engine.sql(
            "SELECT filename, prediction_id, make_timestamp(received_us) AS received_at, CAST(label AS VARCHAR)"
            " AS label,"
            f" problem FROM raw_labels WHERE problem IS NOT NULL AND is_open AND {received} ORDER BY ALL"
        )
        self._intake.invalid = invalid if len(invalid) else None
        for name, file in wanted.items():
            stat, fingerprint = noted[name]
            done = InputFile("label", name, stat, fingerprint, as_of_us, last.get(file.path))
            self._intake.inputs.append(done)

    def _is_wanted(self, file: LabelFile, known: InputFile | None, as_of_us: int) -> bool:
        if known is None:
            return True
        if known.stat != file.stat() and known.fingerprint != file.fingerprint():
            self._intake.warnings.append(
                f"The label file {file.path} changed after it was read; what changed is not used. Write new labels and"
                " revisions into new files."
            )
            return False
        taken, last = known.taken_until_us, known.last_us
        return taken is not None and last is not None and taken < min(last, as_of_us)

    # Segments

    def _take_segments(self) -> tuple[list[InputFile], list[Segment]]:
        """The segments that were taken before and are still there, and the new ones."""
        listed = segments(self._evaluation.predictions, self._evaluation.model)
        known = self._ledger.inputs("segment")
        new = [segment for name, segment in listed.items() if name not in known]
        self._paths = {name: segment.path for name, segment in listed.items()}
        self._check_fields([segment.path for segment in new])
        return [each for name, each in known.items() if name in listed], new

    def _check_fields(self, new: list[str]) -> None:
        if not new:
            return
        wanted = {*self._columns.slices, *self._columns.kinds}
        if not wanted <= rows.logged_types(self._engine, new).keys() | RESERVED_FIELDS:
            rows.check_fields(self._engine, list(self._paths.values()), self._columns)

    def _define(self, name: str, chosen: Iterable[str], *, without_lost: bool) -> None:
        paths = [self._paths[each] for each in sorted(chosen)]
        rows.define_rows(self._engine, name, paths, self._columns, without_lost=without_lost)

    def _settle_repeated(self, old: list[InputFile], new: list[Segment]) -> bool:
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
            InputFile("segment", each.name, date=each.date, foreign_ids=each.name in foreign) for each in new
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

    def _attribute(self, old: list[InputFile], *, has_waiting: bool) -> None:
        """Materialise `attributed`, reading only the dates that the labels can be of."""
        likely = self._likely(old)
        self._define("old_rows", likely, without_lost=self._has_lost)
        self._attributed = deltas.attribute(self._engine, self.plan, waiting=has_waiting)
        rest = {each.name for each in old if each.foreign_ids} - likely
        if rest and len(self._engine.sql(f"{deltas.unmatched('incoming')} LIMIT 1")):
            self._define("old_rows", likely | rest, without_lost=self._has_lost)
            self._attributed = deltas.attribute(self._engine, self.plan, waiting=has_waiting)

    def _likely(self, old: list[InputFile]) -> set[str]:
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
        parts = [self._engine.sql(deltas.unmatched("incoming"))]
        if len(waiting):
            parts.append(self._engine.sql(deltas.unmatched("waiting")))
        schema = fact_schema(self._kind)
        left = pa.concat_tables([part.cast(schema) for part in parts])
        self._intake.pending = left if len(left) != len(waiting) or len(parts[0]) else None

    # Sums

    def _add_up(self, *, moved: bool) -> None:
        """Turn rows and labels, before and after, into what is added to the sums."""
        before = self._take_facts_before()
        is_simple = not (before or moved or self.plan.implicit_from is not None) and deltas.are_single(self._engine)
        if is_simple:
            deltas.define_single_effects(self._engine, self.plan)
            self._intake.label_changes = deltas.single_label_counts(self._engine, self.plan)
        else:
            self._before_and_after()
        self._keep_facts(moved=moved)
        parts = [self._long(deltas.prediction_sums(self.plan, "new_rows", sign=1), deltas.prediction_names(self.plan))]
        if moved:
            query = deltas.prediction_sums(self.plan, "moved_before", sign=-1)
            parts.append(self._long(query, deltas.prediction_names(self.plan)))
        parts.append(self._long(deltas.label_sums(self.plan), deltas.label_names(self.plan)))
        parts += [self._long(query, names) for query, names in deltas.binned_sums(self.plan)]
        self._intake.delta = pa.concat_tables(parts)

    def _long(self, query: str, names: list[str]) -> pa.Table:
        return long_form(self._engine.sql(query), names, self.plan.slice_fields)

    def _take_facts_before(self) -> int:
        """Keep the labels that were applied before to the rows at hand as `facts_before`; how many they are."""
        stored = self._stored_facts()
        self._engine.put("facts_stored", stored)
        if not len(stored):
            self._engine.put("facts_before", stored)
            return 0
        return self._engine.materialise(
            "facts_before",
            f"SELECT {_FACT} FROM facts_stored WHERE prediction_id IN (SELECT prediction_id FROM attributed)"
            " OR prediction_id IN (SELECT prediction_id FROM moved_before)",
        )

    def _stored_facts(self) -> pa.Table:
        days = self._engine.sql(
            f"SELECT DISTINCT _predicted_us // {DAY_US} AS day FROM attributed WHERE NOT _is_new"
            f" UNION SELECT DISTINCT _predicted_us // {DAY_US} FROM moved_before"
        )
        return self._ledger.facts(date_of(day * DAY_US) for day in values(days, "day"))

    def _before_and_after(self) -> None:
        names = ", ".join(("prediction_id", "_predicted_us", *(f'"{name}"' for name in self._columns.names)))
        one_each = (
            f"SELECT {names}, _is_new FROM (SELECT *, row_number() OVER (PARTITION BY prediction_id ORDER BY"
            " received_us)"
            " AS _turn FROM attributed) AS turns WHERE _turn = 1"
        )
        self._engine.materialise("attributed_rows", one_each)
        self._engine.materialise(
            "rows_before",
            f"SELECT {names} FROM attributed_rows WHERE NOT _is_new UNION ALL SELECT {names} FROM moved_before",
        )
        others = (
            "SELECT prediction_id FROM moved_before"
            if self.plan.implicit_from is None
            else "SELECT prediction_id FROM new_rows"
        )
        self._engine.materialise(
            "rows_after",
            f"SELECT {names} FROM attributed_rows UNION ALL SELECT {names} FROM new_rows WHERE prediction_id IN"
            f" ({others})"
            " AND prediction_id NOT IN (SELECT prediction_id FROM attributed_rows)",
        )
        self._engine.define("facts_after", f"SELECT {_FACT} FROM facts_before UNION ALL SELECT {_FACT} FROM attributed")
        deltas.materialise_effects(self._engine, self.plan)
        taken_back = [
            row | {"labels": -int(str(row["labels"])), "delay_us": -int(str(row["delay_us"]))}
            for row in deltas.label_counts(self._engine, self.plan, "before")
        ]
        self._intake.label_changes = taken_back + deltas.label_counts(self._engine, self.plan, "after")

    def _keep_facts(self, *, moved: bool) -> None:
        """Keep the labels that count, by the date of their prediction; those of a row that moved, move along."""
        kept = f"SELECT _predicted_us // {DAY_US} AS day, {_FACT} FROM attributed WHERE _bucket IS NOT NULL"
        if moved:
            kept += (
                f" UNION ALL SELECT rows._predicted_us // {DAY_US}, facts.prediction_id, facts.received_us,"
                " facts.revision,"
                " facts.label FROM facts_before AS facts JOIN rows_after AS rows ON facts.prediction_id ="
                " rows.prediction_id"
                " WHERE facts.prediction_id IN (SELECT prediction_id FROM moved_before)"
            )
            days = self._engine.sql(f"SELECT DISTINCT _predicted_us // {DAY_US} AS day FROM moved_before")
            self._intake.replaced_dates = frozenset(date_of(day * DAY_US) for day in values(days, "day"))
            listed = ", ".join(f"'{date}'" for date in sorted(self._intake.replaced_dates))
            kept += (
                f" UNION ALL SELECT epoch_us(CAST(date AS TIMESTAMP)) // {DAY_US}, {_FACT} FROM facts_stored"
                f" WHERE date IN ({listed}) AND prediction_id NOT IN (SELECT prediction_id FROM moved_before)"
            )
        table = self._engine.sql(kept)
        for day in distinct(table, "day"):
            part = rows_where(table, "day", day).drop_columns(["day"])
            self._intake.facts[date_of(day * DAY_US)] = part.cast(fact_schema(self._kind))


def delta_plan(evaluation: Evaluation, columns: rows.RowColumns) -> deltas.DeltaPlan:
    """What an evaluation sums, and per what."""
    tile = evaluation.tile
    return deltas.DeltaPlan(
        states=evaluation.states,
        kinds=evaluation.kinds,
        columns=columns.names,
        slices=evaluation.slices,
        buckets=[maturity.seconds_whole for maturity in evaluation.maturities],
        implicit_from=evaluation.attribution_window.seconds_whole if evaluation.grace is not None else None,
        tile_us=round(tile.total_seconds() * SECOND_US),
        offset_us=round(evaluation.window_offset.total_seconds() * SECOND_US),
        delay_bounds=LABEL_DELAY_BOUNDS,
    )


def _stretches(files: Mapping[str, LabelFile], known: Mapping[str, InputFile]) -> list[Stretch]:
    """Group files of which the same stretch of time is to be read."""
    groups: dict[tuple[str, int | None], list[str]] = {}
    for name, file in files.items():
        after = known[name].taken_until_us if name in known else None
        groups.setdefault((file.form, after), []).append(file.path)
    return [Stretch(tuple(paths), form, after) for (form, after), paths in groups.items()]
