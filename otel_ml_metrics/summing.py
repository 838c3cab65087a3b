"""What rows and labels add up to: before and after, so that what was known is taken back and what is known is added."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from otel_ml_metrics.attribution.tables import distinct, rows_where, values
from otel_ml_metrics.engines import delta_statements as deltas
from otel_ml_metrics.engines import effect_statements as effects
from otel_ml_metrics.engines.results import long_form
from otel_ml_metrics.instants import DAY_US, SECOND_US, date_of
from otel_ml_metrics.semconv import LABEL_DELAY_BOUNDS

if TYPE_CHECKING:
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.engines.port import Engine
    from otel_ml_metrics.engines.row_statements import RowColumns
    from otel_ml_metrics.ledger.reader import LedgerReader


@dataclass(frozen=True)
class Summed:
    """What one run adds.

    Args:
        delta: What is added to the sums, by tile.
        facts: New facts by date of their prediction.
        replaced_dates: Dates whose facts are replaced by those.
        label_changes: Rows of (tile_us, version, variant, status, delay_bin, labels, delay_us, skewed) to count.
        tiles: Where rows or labels came or went, whether or not that changed a sum; none unless it is asked for.
    """

    delta: pa.Table
    facts: dict[str, pa.Table]
    replaced_dates: frozenset[str]
    label_changes: list[dict[str, object]]
    tiles: frozenset[int]


def delta_plan(evaluation: Evaluation, columns: RowColumns) -> deltas.DeltaPlan:
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
        aggregate=evaluation.labels.aggregate,
        whole=[each for each in evaluation.left_out_counts if each not in evaluation.states],
    )


class Summing:
    """Adds up what an intake found.

    The engine holds `attributed` (labels with their rows), `new_rows`, `old_rows`, `moved_before` (rows that counted
    until now and do so no longer) and `withdrawn` (labels that counted and do so no longer).

    Args:
        engine: Adds.
        ledger: Has the labels that were applied before.
        plan: What is summed, and per what.
        facts: Columns of a label, and their types.
        moved: Whether `moved_before` has rows.
        withdrawn: Whether `withdrawn` has.
        tells_tiles: Whether to tell where rows or labels came or went.
    """

    def __init__(
        self,
        engine: Engine,
        ledger: LedgerReader,
        plan: deltas.DeltaPlan,
        facts: pa.Schema,
        *,
        moved: bool,
        withdrawn: bool,
        tells_tiles: bool,
    ) -> None:
        self._engine = engine
        self._ledger = ledger
        self._plan = plan
        self._schema = facts
        self._fact = ", ".join(facts.names)
        self._moved = moved
        self._withdrawn = withdrawn
        self._tells_tiles = tells_tiles

    def add_up(self) -> Summed:
        """What new rows and labels add, and what is taken back for them."""
        has_before = self._take_facts_before()
        is_simple = not (has_before or self._moved or self._withdrawn or self._plan.implicit_from is not None)
        if is_simple and effects.are_single(self._engine):
            effects.define_single_effects(self._engine, self._plan)
            label_changes = effects.single_label_counts(self._engine, self._plan)
        else:
            self._place_before_and_after()
            effects.materialise_effects(self._engine, self._plan)
            label_changes = self._recounted()
        facts, replaced = self._kept_facts()
        return self._summed(facts, replaced, label_changes)

    def add_up_anew(self, dates: frozenset[str], *, reread: bool) -> Summed:
        """What the rows in `new_rows` and their labels add up to on their own.

        Args:
            dates: Of these rows.
            reread: Whether the labels come from their source, and take the place of those that were applied before.
        """
        self.place_anew()
        if not reread:
            return self._summed({}, frozenset(), [])
        self._engine.put("facts_stored", self._ledger.facts(dates))
        self._engine.define("rows_before", "SELECT * FROM new_rows")
        mine = "prediction_id IN (SELECT prediction_id FROM new_rows)"
        self._engine.define("facts_before", f"SELECT {self._fact} FROM facts_stored WHERE {mine}")
        effects.place(self._engine, self._plan, "before")
        counts = [row for row in self._recounted() if row["status"] != "late"]  # late ones of before were not kept
        kept = f"{self._stored()} WHERE NOT {mine} UNION ALL {self._counting('placed_after')}"
        return self._summed(self._by_date(kept), dates, counts)

    def join_anew(self) -> None:
        """Define `effects` as `place_anew` does, on a shorter way where no label was said twice."""
        is_as_said = self._plan.implicit_from is None and self._plan.aggregate != "sum"  # a sum is rounded
        if is_as_said and effects.are_single(self._engine):
            effects.define_single_effects(self._engine, self._plan)
        else:
            self.place_anew()

    def place_anew(self) -> None:
        """Materialise `effects`: what is known of the rows in `new_rows` by the labels in `attributed` alone."""
        self._engine.define("rows_after", "SELECT * FROM new_rows")
        self._engine.define("facts_after", f"SELECT {self._fact} FROM attributed")
        effects.place(self._engine, self._plan, "after")
        effects.materialise_effects(self._engine, self._plan, moments=("after",))

    def _summed(
        self, facts: dict[str, pa.Table], replaced_dates: frozenset[str], label_changes: list[dict[str, object]]
    ) -> Summed:
        """What was found, and the sums that it adds up to."""
        delta = self._delta()
        return Summed(
            delta, facts, replaced_dates, label_changes, self._tiles(delta) if self._tells_tiles else frozenset()
        )

    def _tiles(self, delta: pa.Table) -> frozenset[int]:
        tile = f"{deltas.tile_sql(self._plan)} AS tile_us"
        reached = self._engine.sql(f"SELECT _tile_us AS tile_us FROM effects UNION SELECT {tile} FROM moved_before")
        return frozenset({*distinct(delta, "tile_us"), *values(reached, "tile_us")})

    def _delta(self) -> pa.Table:
        plan = replace(self._plan, combinations=self._combinations())
        parts = [self._long(deltas.prediction_sums(plan, "new_rows", sign=1), deltas.prediction_names(plan))]
        if self._moved:
            query = deltas.prediction_sums(plan, "moved_before", sign=-1)
            parts.append(self._long(query, deltas.prediction_names(plan)))
        parts.append(self._long(deltas.label_sums(plan), deltas.label_names(plan)))
        if plan.whole:
            whole = self._engine.sql(deltas.whole_sums(plan))
            parts.append(long_form(whole, [each.key for each in plan.whole], ()))
        parts += [self._long(query, names) for query, names in deltas.binned_sums(plan)]
        return pa.concat_tables(parts)

    def _combinations(self) -> int | None:
        """How many combinations of slices there are, as far as a look at some labelled rows tells."""
        query = deltas.combinations_sql(self._plan, "effects")
        return None if query is None else int(values(self._engine.sql(query), "combinations")[0]) or None

    def _long(self, query: str, names: list[str]) -> pa.Table:
        return long_form(self._engine.sql(query), names, self._plan.slice_fields)

    def _recounted(self) -> list[dict[str, object]]:
        """Label counts to add, the ones from before with a minus."""
        counted = ("labels", "delay_us", "skewed")
        taken_back = [
            row | {name: -int(str(row[name])) for name in counted}
            for row in effects.label_counts(self._engine, self._plan, "before", fact=self._fact)
        ]
        return taken_back + effects.label_counts(self._engine, self._plan, "after", fact=self._fact)

    def _take_facts_before(self) -> int:
        """Keep the labels that were applied before to the rows at hand as `facts_before`; how many they are."""
        stored = self._ledger.facts(self._dates())
        self._engine.put("facts_stored", stored)
        if not len(stored):
            self._engine.put("facts_before", stored)
            return 0
        touched = " OR ".join(
            f"prediction_id IN (SELECT prediction_id FROM {relation})"
            for relation in ("attributed", "moved_before", "withdrawn")
        )
        return self._engine.materialise("facts_before", f"SELECT {self._fact} FROM facts_stored WHERE {touched}")

    def _dates(self) -> frozenset[str]:
        """Dates of rows that may have labels already."""
        if self._withdrawn:
            rows = "prediction_id IN (SELECT prediction_id FROM withdrawn)"
            self._engine.materialise("withdrawn_rows", f"SELECT * FROM old_rows WHERE {rows}")
        else:
            self._engine.define("withdrawn_rows", "SELECT * FROM moved_before WHERE FALSE")
        relations = ["(SELECT _predicted_us FROM attributed WHERE NOT _is_new)"]
        relations += ["moved_before"] if self._moved else []
        relations += ["withdrawn_rows"] if self._withdrawn else []
        return self._dates_of(*relations)

    def _place_before_and_after(self) -> None:
        """Materialise the rows that labels came to or left, and their labels, as they were and as they are."""
        names = ", ".join(("prediction_id", "_predicted_us", *(f'"{name}"' for name in self._plan.columns)))
        self._engine.materialise(
            "attributed_rows",
            f"SELECT {names}, _is_new FROM (SELECT *, row_number() OVER (PARTITION BY prediction_id ORDER BY"
            " received_us) AS _turn FROM attributed) AS turns WHERE _turn = 1",
        )
        elsewhere = (
            "prediction_id NOT IN (SELECT prediction_id FROM attributed_rows)"
            " AND prediction_id NOT IN (SELECT prediction_id FROM moved_before)"
        )
        stayed = f"SELECT {names} FROM withdrawn_rows WHERE {elsewhere}"
        self._engine.materialise(
            "rows_before",
            f"SELECT {names} FROM attributed_rows WHERE NOT _is_new UNION ALL SELECT {names} FROM moved_before"
            f" UNION ALL {stayed}",
        )
        others = "moved_before" if self._plan.implicit_from is None else "new_rows"
        self._engine.materialise(
            "rows_after",
            f"SELECT {names} FROM attributed_rows UNION ALL SELECT {names} FROM new_rows WHERE prediction_id IN"
            f" (SELECT prediction_id FROM {others})"
            f" AND prediction_id NOT IN (SELECT prediction_id FROM attributed_rows) UNION ALL {stayed}",
        )
        left = f"SELECT {self._fact} FROM facts_before"
        if self._withdrawn:
            left = f"({left} EXCEPT ALL SELECT {self._fact} FROM withdrawn)"
        self._engine.define("facts_after", f"{left} UNION ALL SELECT {self._fact} FROM attributed")
        for moment in ("before", "after"):
            effects.place(self._engine, self._plan, moment)

    def _kept_facts(self) -> tuple[dict[str, pa.Table], frozenset[str]]:
        """The labels to keep by the date of their prediction, and the dates for which these are all there are."""
        if not (self._moved or self._withdrawn):
            return self._by_date(self._counting("attributed")), frozenset()
        touched = "(SELECT prediction_id FROM moved_before UNION ALL SELECT prediction_id FROM withdrawn)"
        replaced = self._dates_of("moved_before", "withdrawn_rows")
        listed = ", ".join(f"'{date}'" for date in sorted(replaced))
        parts = (
            f"{self._counting('attributed')} AND prediction_id NOT IN {touched}",
            f"{self._counting('placed_after')} AND prediction_id IN {touched}",
            f"{self._stored()} WHERE date IN ({listed}) AND prediction_id NOT IN {touched}",
        )
        return self._by_date(" UNION ALL ".join(parts)), replaced

    def _counting(self, relation: str) -> str:
        """SQL of the labels in a relation that are kept, with their day; a late one matters only if it may yet move."""
        kept = "TRUE" if "entity" in self._schema.names else "_bucket IS NOT NULL"
        return f"SELECT _predicted_us // {DAY_US} AS day, {self._fact} FROM {relation} WHERE {kept}"

    def _stored(self) -> str:
        """SQL of the labels that were applied before, with their day."""
        return f"SELECT epoch_us(CAST(date AS TIMESTAMP)) // {DAY_US} AS day, {self._fact} FROM facts_stored"

    def _by_date(self, query: str) -> dict[str, pa.Table]:
        table = self._engine.sql(query)
        days = distinct(table, "day")
        parts = {day: table if len(days) == 1 else rows_where(table, "day", day) for day in days}
        return {date_of(day * DAY_US): part.drop_columns(["day"]).cast(self._schema) for day, part in parts.items()}

    def _dates_of(self, *relations: str) -> frozenset[str]:
        days = self._engine.sql(
            " UNION ".join(f"SELECT DISTINCT _predicted_us // {DAY_US} AS day FROM {each}" for each in relations)
        )
        return frozenset(date_of(day * DAY_US) for day in values(days, "day"))
