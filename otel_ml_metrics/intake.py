"""What is new since the ledger's head: labels and segments are read, labels find their predictions, sums change.

Reads the ledger, writes nothing: everything that a run changes comes out as data, to be committed at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from otel_ml_metrics.attribution.calendar import Calendar
from otel_ml_metrics.attribution.dates import PREFIX_LENGTH, count_earlier, dates_among, id_range
from otel_ml_metrics.attribution.holding import may_wait
from otel_ml_metrics.attribution.tables import TILED_SUMS, values
from otel_ml_metrics.engines import effect_statements as effects
from otel_ml_metrics.engines import holding_statements as holding
from otel_ml_metrics.engines import resolution_statements as resolutions
from otel_ml_metrics.engines.text import text_sql
from otel_ml_metrics.instants import DAY_US, SECOND_US, date_of, to_us
from otel_ml_metrics.label_intake import LabelIntake
from otel_ml_metrics.log_intake import LogIntake
from otel_ml_metrics.summing import Summing, delta_plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_ml_metrics.attribution.inputs import Input
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.engines.port import Engine
    from otel_ml_metrics.engines.resolution_statements import Span
    from otel_ml_metrics.ledger.reader import LedgerReader
    from otel_ml_metrics.log_intake import Logged
    from otel_ml_metrics.summing import Summed

SKEW_US: Final = 3_600 * SECOND_US
"""How much earlier than its prediction a label may seem to come, where its date has to be searched."""

MOST_ROWS: Final = 2_500_000
"""New predictions that are joined at a time: what a run keeps in memory does not grow with the log's first reading."""

_FIRST_US: Final = to_us(datetime.min.replace(tzinfo=UTC))
"""The first instant that has a date; a label may say that it was received before."""


@dataclass
class Intake:
    """What a run takes in.

    Args:
        inputs: Progress of the files and segments that moved on.
        delta: What is added to the sums, by tile.
        tiles: Where rows or labels came or went, for exact measures.
        facts: New facts by date of their prediction.
        replaced_dates: Dates whose facts are replaced.
        pending: Labels that wait for their prediction, if they changed.
        held: Labels that are left for a later run, if they changed.
        lost: Rows of the log that repeat an id; None if there are no new ones.
        label_changes: Rows of (tile_us, version, variant, status, delay_bin, labels, delay_us, skewed) to count.
        invalid: Label rows that cannot be used.
        warnings: What an operator should know.
    """

    inputs: list[Input] = field(default_factory=list)
    delta: pa.Table = field(default_factory=TILED_SUMS.empty_table)
    tiles: frozenset[int] = frozenset()
    facts: dict[str, pa.Table] = field(default_factory=dict)
    replaced_dates: frozenset[str] = frozenset()
    pending: pa.Table | None = None
    held: pa.Table | None = None
    lost: pa.Table | None = None
    label_changes: list[dict[str, object]] = field(default_factory=list)
    invalid: pa.Table | None = None
    warnings: list[str] = field(default_factory=list)

    def add(self, summed: Summed) -> None:
        """Take in what a part of the rows adds up to."""
        self.delta = pa.concat_tables([self.delta, summed.delta])
        for date, facts in summed.facts.items():
            self.facts[date] = pa.concat_tables([self.facts[date], facts]) if date in self.facts else facts
        self.replaced_dates |= summed.replaced_dates
        self.tiles |= summed.tiles
        self.label_changes += summed.label_changes

    def ahead(self, ledger: LedgerReader) -> LedgerReader:
        """Inputs and labels of a ledger, once these are taken."""
        return ledger.ahead(inputs=self.inputs, facts=self.facts, replaced_dates=self.replaced_dates, lost=self.lost)


@dataclass(frozen=True)
class _Batch:
    """New predictions that are joined at a time, and the ids whose labels can be theirs.

    Args:
        segments: Names; None for every new one.
        first: Smallest id, None for all.
        end: Smallest id past them, None for all.
    """

    segments: tuple[str, ...] | None = None
    first: str | None = None
    end: str | None = None

    def chosen(self, relation: str) -> str:
        """SQL of the labels in a relation that are of this batch."""
        bounds = [f"prediction_id >= {text_sql(self.first)}"] if self.first is not None else []
        bounds += [f"prediction_id < {text_sql(self.end)}"] if self.end is not None else []
        return f"SELECT {effects.FACT} FROM {relation} WHERE {' AND '.join(bounds) or 'TRUE'}"


class Reading:
    """One reading of what is new.

    Args:
        evaluation: What is evaluated.
        engine: Reads and joins.
        ledger: Says what was taken before.
    """

    def __init__(self, evaluation: Evaluation, engine: Engine, ledger: LedgerReader) -> None:
        self._evaluation = evaluation
        self._engine = engine
        self._ledger = ledger
        self._labels = LabelIntake(evaluation, engine, ledger)
        self._log = LogIntake(evaluation, engine, ledger)
        self._plan = delta_plan(evaluation, self._log.columns)
        self._calendar = Calendar.of(evaluation)
        self._within_us = evaluation.within.us
        self._retired_before = self._log.retirement.before

    def take(self, *, as_of_us: int, hold_back: bool = True) -> Intake:
        """Read the labels received up to an instant, and the segments that are new.

        Args:
            as_of_us: The instant.
            hold_back: Whether labels may be left for a later run, where that is declared.

        Raises:
            ConfigurationError: The log lacks a field that the evaluation names.
            LabelSourceError: A label file cannot be read as it is declared.
            LogError: The prediction log cannot be read.
        """
        labelled = self._labels.take(as_of_us=as_of_us)
        logged = self._log.take()
        intake = Intake(
            inputs=labelled.inputs + logged.inputs,
            lost=logged.lost,
            invalid=labelled.invalid,
            warnings=labelled.warnings + logged.warnings,
        )
        waiting = self._ledger.pending()
        self._engine.put("waiting_before", waiting)
        if self._labels.by_entity:
            self._take_outcomes(intake, logged, waiting)
        else:
            self._hold_back(intake, logged, as_of_us=as_of_us, is_allowed=hold_back)
            self._take_facts(intake, logged, waiting)
        return intake

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
        dates = _dates_between(start_us, end_us)
        taken = self._log.retake(dates, start_us=start_us, end_us=end_us)
        applied = self._ledger.facts(dates).select(self._labels.schema.names)
        intake = Intake()
        if reread_until_us is None:
            self._engine.put("incoming", applied)
        else:
            self._reread(intake, taken, applied, start_us=start_us, end_us=end_us, until_us=reread_until_us)
        self._join(has_waiting=False)
        summing = self._summing(moved=False, withdrawn=False)
        intake.add(summing.add_up_anew(dates, reread=reread_until_us is not None))
        return intake

    def gone(self, *, start_us: int, end_us: int) -> str | None:
        """A segment with predictions of a range that was taken before and is gone; None where all are there."""
        return self._log.gone(_dates_between(start_us, end_us))

    def join(self, *, start_us: int, end_us: int) -> None:
        """Define `effects`: what is known of the predictions of a range, as log and applied labels have it.

        Args:
            start_us: Start of the range.
            end_us: End of it, not included.

        Raises:
            LogError: The log cannot be read, or it has lost what was evaluated.
        """
        dates = _dates_between(start_us, end_us)
        self._log.retake(dates, start_us=start_us, end_us=end_us)
        self._engine.put("incoming", self._ledger.facts(dates).select(self._labels.schema.names))
        self._join(has_waiting=False)
        self._summing(moved=False, withdrawn=False).join_anew()

    def _summing(self, *, moved: bool, withdrawn: bool) -> Summing:
        return Summing(
            self._engine,
            self._ledger,
            self._plan,
            self._labels.schema,
            moved=moved,
            withdrawn=withdrawn,
            tells_tiles=bool(self._evaluation.exact),
        )

    def _join(self, *, has_waiting: bool) -> int:
        fact = ", ".join(self._labels.schema.names)
        return effects.attribute(self._engine, self._plan, fact=fact, waiting=has_waiting)

    # Labels that name their prediction

    def _take_facts(self, intake: Intake, logged: Logged, waiting: pa.Table) -> None:
        """Let labels find their predictions, a part of the log at a time, and add up what they change."""
        self._engine.put("withdrawn", self._labels.schema.empty_table())
        left, too_old = [], 0
        for batch in self._batches(logged):
            if batch.segments is not None:
                self._log.define("new_rows", batch.segments)
            incoming = self._choose(batch)
            self._engine.define("waiting", batch.chosen("waiting_before"))
            attributed = self._attribute(logged.old, has_waiting=len(waiting) > 0)
            found = self._left(incoming - attributed, has_waiting=len(waiting) > 0)
            too_old += sum(map(self._count_retired, found[:1]))
            left += found
            intake.add(self._summing(moved=logged.moved, withdrawn=False).add_up())
        pending = pa.concat_tables([self._labels.schema.empty_table(), *left])
        intake.pending = pending if len(pending) or len(waiting) else None
        if too_old:
            intake.warnings.append(
                f"{too_old} labels are of predictions before {self._retired_before}, which were retired: they can be"
                " attributed to none, and count as orphans once they have waited for as long as any."
            )

    def _choose(self, batch: _Batch) -> int:
        """Give the labels of a batch the name `incoming`; how many they are.

        Of a part the engine could only guess how many there are, and it joins in the order that its guesses advise.
        """
        if batch.segments is not None:
            return self._engine.materialise("incoming", batch.chosen("released"))
        self._engine.define("incoming", batch.chosen("released"))
        [labels] = values(self._engine.sql("SELECT count(*) AS labels FROM incoming"), "labels")
        return int(labels)

    def _hold_back(self, intake: Intake, logged: Logged, *, as_of_us: int, is_allowed: bool) -> None:
        """Define `released`: the labels to be applied now, those of earlier runs among them."""
        before = self._ledger.held()
        self._engine.put("held_before", before)
        relations = ("received", "held_before") if len(before) else ("received",)
        declared = self._evaluation.hold_back if is_allowed else None
        days = set[int]()
        if declared is not None and not any(each.foreign_ids for each in (*logged.old, *logged.inputs)):
            found = holding.dated_labels(self._engine, relations)
            days = {each.day for each in found if may_wait(each, declared, self._calendar, as_of_us=as_of_us)}
        holding.define_without(self._engine, "released", relations, days, columns=self._labels.schema.names)
        if days or len(before):
            held = holding.of_days(self._engine, relations, days, columns=self._labels.schema.names)
            intake.held = held.cast(self._labels.schema)

    def _count_retired(self, facts: pa.Table) -> int:
        """How many labels are of predictions that were retired, as far as their ids tell."""
        before = self._retired_before
        return 0 if before is None else count_earlier(facts.column("prediction_id"), before)

    def _batches(self, logged: Logged) -> Iterator[_Batch]:
        """All at once, or by the dates of the predictions: an id of ours says of which date it is."""
        if logged.moved or len(logged.new) < 2 or any(each.foreign_ids for each in logged.inputs):  # noqa: PLR2004  # one segment
            yield _Batch()
            return
        counts = self._engine.sql(
            f"SELECT _predicted_us // {DAY_US} AS day, count(*) AS rows FROM new_rows GROUP BY day ORDER BY day"
        ).to_pylist()
        parts: list[list[str]] = [[]]
        filled = 0
        for row in counts:
            if filled and filled + row["rows"] > MOST_ROWS:
                parts.append([])
                filled = 0
            parts[-1].append(date_of(row["day"] * DAY_US))
            filled += row["rows"]
        starts = [id_range(dates[0])[0] for dates in parts[1:]]
        for dates, first, end in zip(parts, [None, *starts], [*starts, None], strict=True):
            names = tuple(each.name for each in logged.new if each.date in dates)
            yield _Batch(names if len(parts) > 1 else None, first, end)

    def _attribute(self, old: list[Input], *, has_waiting: bool) -> int:
        """Materialise `attributed`, reading only the dates that the labels can be of; how many found their row."""
        likely = self._likely(old)
        self._log.define("old_rows", likely)
        attributed = self._join(has_waiting=has_waiting)
        rest = {each.name for each in old if each.foreign_ids} - likely
        if rest and len(self._engine.sql(f"{effects.unmatched('incoming')} LIMIT 1")):
            self._log.define("old_rows", likely | rest)
            attributed = self._join(has_waiting=has_waiting)
        return attributed

    def _likely(self, old: list[Input]) -> set[str]:
        """Old segments that can hold the predictions of the incoming labels: by the id's date, or else searched."""
        if not old:
            return set()
        found = self._engine.sql(
            "SELECT min(prediction_id) AS first_id, max(prediction_id) AS last_id, min(received_us) AS first_us,"
            f" max(received_us) AS last_us FROM incoming GROUP BY substr(prediction_id, 1, {PREFIX_LENGTH})"
        )
        if not len(found):
            return set()
        spans = zip(values(found, "first_id"), values(found, "last_id"), strict=True)
        dates = dates_among(spans, {each.date for each in old if each.date is not None})
        first = date_of(max(min(values(found, "first_us")) - self._evaluation.horizon.us, _FIRST_US))
        last = date_of(max(values(found, "last_us")) + SKEW_US)
        return {
            each.name
            for each in old
            if each.date is not None and (each.date in dates or (each.foreign_ids and first <= each.date <= last))
        }

    def _left(self, unmatched: int, *, has_waiting: bool) -> list[pa.Table]:
        """The labels that have no prediction yet."""
        if not has_waiting and not unmatched:
            return []  # a label finds one row at most, so each has found its own
        relations = ("incoming", "waiting") if has_waiting else ("incoming",)
        return [self._engine.sql(effects.unmatched(each)).cast(self._labels.schema) for each in relations]

    # Labels that name an entity

    def _take_outcomes(self, intake: Intake, logged: Logged, waiting: pa.Table) -> None:
        """Let outcomes find the predictions about their entity, and add up what they change."""
        self._engine.define("waiting", "SELECT * FROM waiting_before")
        self._engine.define("incoming_outcomes", "SELECT * FROM received")
        self._put_kept(waiting)
        resolutions.unsettle(self._engine, within_us=self._within_us)
        span = resolutions.open_outcomes(self._engine, within_us=self._within_us)
        self._log.define("old_rows", set() if span is None else _between(logged.old, span))
        resolutions.resolve(self._engine, within_us=self._within_us, take=self._evaluation.labels.take)
        left = self._engine.sql(resolutions.still_waiting()).cast(self._labels.schema)
        intake.pending = left if len(left) or len(waiting) else None
        withdrawn = self._engine.materialise("withdrawn", resolutions.withdrawn()) > 0
        self._join(has_waiting=False)
        intake.add(self._summing(moved=logged.moved, withdrawn=withdrawn).add_up())

    def _put_kept(self, waiting: pa.Table) -> None:
        """Put `kept`: outcomes that were settled near the new rows, and those that wait."""
        spans = [resolutions.reach(self._engine, each, self._within_us) for each in ("new_rows", "moved_before")]
        dates = frozenset[str]().union(
            *(_dates_between(span.first_us, span.last_us + 1) for span in spans if span is not None)
        )
        settled = self._ledger.facts(dates).select(self._labels.schema.names)
        self._engine.put("kept", pa.concat_tables([settled, waiting]))

    # Once more

    def _reread(
        self, intake: Intake, taken: list[Input], applied: pa.Table, *, start_us: int, end_us: int, until_us: int
    ) -> None:
        """Define `incoming`: the labels of a range of predictions, as their source has them now."""
        since_us, last_us = start_us - SKEW_US, min(until_us, end_us + self._labels.reach_us)
        labelled = self._labels.retake(start_us=since_us, end_us=end_us, until_us=until_us)
        intake.inputs, intake.warnings = labelled.inputs, labelled.warnings
        if self._labels.by_entity:
            again = f"occurred_us BETWEEN {start_us} AND {end_us + self._within_us}"
            strays = self._resolve_again(taken, start_us, end_us, again)
        else:
            again = f"received_us BETWEEN {since_us} AND {last_us}"
            strays = self._strays(taken, again)
        # What a source no longer has can only be known from what was taken, and so can what was not looked at again.
        gone = "FALSE" if labelled.gone_before_us is None else f"received_us < {labelled.gone_before_us}"
        intake.pending = self._waiting_again(strays, f"{gone} OR NOT ({again})")
        kept = f"({gone} OR received_us NOT BETWEEN {since_us} AND {last_us})"
        self._engine.put("applied", applied)
        columns = ", ".join(self._labels.schema.names)
        self._engine.materialise(
            "believed",
            f"SELECT {columns} FROM incoming UNION ALL"
            f" (SELECT {columns} FROM applied WHERE {kept} EXCEPT ALL SELECT {columns} FROM incoming)",
        )
        self._engine.define("incoming", "SELECT * FROM believed")

    def _resolve_again(self, taken: list[Input], start_us: int, end_us: int, which: str) -> pa.Table:
        """Define `incoming` from outcomes; those of them that are of no prediction."""
        span = resolutions.Span(start_us - self._within_us, end_us + self._within_us)
        self._engine.put("unsettled", self._labels.schema.empty_table())
        self._engine.define("incoming_outcomes", "SELECT * FROM received")
        resolutions.open_outcomes(self._engine, within_us=self._within_us)
        self._log.define("rows_around", _between(taken, span))
        take = self._evaluation.labels.take
        resolutions.resolve(self._engine, within_us=self._within_us, take=take, relations=("rows_around",))
        return self._engine.sql(f"{resolutions.without_row()} AND {which}")

    def _strays(self, taken: list[Input], which: str) -> pa.Table:
        """Define `incoming` from labels; those of them that are of no prediction."""
        self._engine.define("incoming", f"SELECT * FROM received WHERE {which}")
        self._attribute(taken, has_waiting=False)
        strays = self._engine.sql(effects.unmatched("incoming"))
        self._engine.define("incoming", "SELECT * FROM received")
        self._log.define("old_rows", [])
        return strays

    def _waiting_again(self, strays: pa.Table, kept: str) -> pa.Table | None:
        """The labels that wait as their source has them now, and of those that waited before, the ones to be kept."""
        waiting = self._ledger.pending()
        self._engine.put("waited", waiting)
        self._engine.put("strays", strays.cast(self._labels.schema))
        columns = ", ".join(self._labels.schema.names)
        left = self._engine.sql(
            f"SELECT {columns} FROM strays UNION ALL"
            f" (SELECT {columns} FROM waited WHERE {kept} EXCEPT ALL SELECT {columns} FROM strays)"
        ).cast(self._labels.schema)
        return left if len(left) or len(waiting) else None


def _dates_between(start_us: int, end_us: int) -> frozenset[str]:
    return frozenset(date_of(day * DAY_US) for day in range(start_us // DAY_US, (end_us - 1) // DAY_US + 1))


def _between(segments_known: Iterable[Input], span: Span) -> set[str]:
    """Names of the segments that can have predictions in a span."""
    first, last = date_of(max(span.first_us, _FIRST_US)), date_of(span.last_us)
    return {each.name for each in segments_known if each.date is not None and first <= each.date <= last}
