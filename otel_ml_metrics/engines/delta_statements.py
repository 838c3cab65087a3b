"""From labels and rows to what is added to the sums, as SQL.

A label is *known* at a maturity if it is the newest of its prediction with at most that delay. Bucket j of a sum takes
`f(label known at m_j) - f(label known at m_{j-1})`, so that the sum at maturity m is the sum over the buckets up to m.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.engines.text import name_sql
from otel_ml_metrics.expressions import present_sql
from otel_ml_metrics.measures.bootstrap import GROUP_SQL as _ID_GROUP
from otel_ml_metrics.measures.bootstrap import ID_GROUP
from otel_ml_metrics.measures.sums import Binned, Sum

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_ml_metrics.engines.port import Engine
    from otel_ml_metrics.expressions import Kind
    from otel_ml_metrics.measures.sums import Grid
    from otel_ml_metrics.measures.totals import State

PREDICTIONS: Final = "predictions"
LABELLED: Final = "labelled"
EXPLICIT: Final = "explicit"
SECOND_US: Final = 1_000_000
_WORTH_SHARING: Final = 40  # characters of SQL
KEY: Final = ("_tile_us", "output", "version", "variant")


@dataclass(frozen=True)
class DeltaPlan:
    """What is summed, and per what.

    Args:
        states: The sums of all measures.
        kinds: Kind of each column.
        columns: Columns of a row besides id and instant.
        slices: Fields to group by, besides all rows.
        buckets: Maturities in seconds, ascending.
        implicit_from: Maturity in seconds from which on silence means no; None where it does not.
        tile_us: Length of a tile.
        offset_us: Shift of the tiles against the epoch.
        delay_bounds: Upper bounds, in seconds, of the distribution of label delays.
    """

    states: Sequence[State]
    kinds: Mapping[str, Kind]
    columns: Sequence[str]
    slices: Sequence[tuple[str, ...]]
    buckets: Sequence[int]
    implicit_from: int | None
    tile_us: int
    offset_us: int
    delay_bounds: Sequence[float]

    @property
    def slice_fields(self) -> tuple[str, ...]:
        """Every field that slices."""
        return tuple(sorted({field for fields in self.slices for field in fields}))

    def sums(self, rows: str) -> list[Sum]:
        """The plain sums over labelled rows, or over predictions."""
        return [state for state in self.states if isinstance(state, Sum) and state.rows == rows]

    @property
    def binned(self) -> dict[Grid, list[Binned]]:
        """The sums per cell, by their grid."""
        found: dict[Grid, list[Binned]] = {}
        for state in self.states:
            if isinstance(state, Binned):
                found.setdefault(state.grid, []).append(state)
        return found


def attribute(engine: Engine, plan: DeltaPlan, *, waiting: bool) -> int:
    """Materialise `attributed`: the labels in `incoming` (and `waiting`) with the row of their prediction.

    A waiting label was compared with every older row before, so only new rows can be its prediction.
    """
    columns = ", ".join(f"rows.{name_sql(name)}" for name in plan.columns)
    facts = "SELECT prediction_id, received_us, revision, label, FALSE AS _has_waited FROM incoming"
    if waiting:
        facts += " UNION ALL SELECT prediction_id, received_us, revision, label, TRUE FROM waiting"
    return engine.materialise(
        "attributed",
        "SELECT facts.prediction_id, facts.received_us, facts.revision, facts.label, facts._has_waited, rows._is_new,"
        f" rows._predicted_us, {_bucket_sql(plan)} AS _bucket, {columns}"
        f" FROM ({facts}) AS facts JOIN (SELECT *, TRUE AS _is_new FROM new_rows UNION ALL SELECT *, FALSE AS _is_new"
        " FROM old_rows) AS rows ON facts.prediction_id = rows.prediction_id"
        " WHERE rows._is_new OR NOT facts._has_waited",
    )


def unmatched(facts: str) -> str:
    """SQL of the labels in a relation that found no prediction."""
    return (
        f"SELECT prediction_id, received_us, revision, label FROM {facts} AS facts WHERE NOT EXISTS"
        " (SELECT 1 FROM attributed WHERE attributed.prediction_id = facts.prediction_id)"
    )


def are_single(engine: Engine) -> bool:
    """Whether every prediction in `attributed` has one label there."""
    query = "SELECT count(*) AS facts, count(DISTINCT prediction_id) AS predictions FROM attributed"
    row = engine.sql(query).to_pylist()[0]
    return bool(row["facts"] == row["predictions"])


def define_single_effects(engine: Engine, plan: DeltaPlan) -> None:
    """Define `effects` where each prediction has its first and only label in `attributed`: each label adds itself."""
    engine.define(
        "effects",
        f"SELECT *, {_tile_sql(plan)} AS _tile_us, TRUE AS _explicit, 1 AS _sign FROM attributed"
        " WHERE _bucket IS NOT NULL",
    )


def materialise_effects(engine: Engine, plan: DeltaPlan) -> None:
    """Materialise `effects` from before and after: what was known is taken back, what is known is added.

    Reads `rows_before`, `facts_before`, `rows_after` and `facts_after`.
    """
    parts = []
    for moment, sign in (("before", -1), ("after", 1)):
        engine.materialise(f"placed_{moment}", _placed_sql(plan, moment))
        columns = ", ".join(f"rows.{name_sql(name)}" for name in plan.columns)
        parts.append(
            f"SELECT rows.prediction_id, rows._predicted_us, {_tile_sql(plan)} AS _tile_us, {columns}, known._bucket,"
            f" known.label, known._explicit, known._sign * {sign} AS _sign FROM ({_known_sql(plan, moment)}) AS known"
            f" JOIN rows_{moment} AS rows ON known.prediction_id = rows.prediction_id"
        )
    engine.materialise("effects", " UNION ALL ".join(parts))


def _placed_sql(plan: DeltaPlan, moment: str) -> str:
    return (
        f"SELECT facts.prediction_id, facts.received_us, facts.revision, facts.label, {_bucket_sql(plan)} AS _bucket,"
        f" greatest(facts.received_us - rows._predicted_us, 0) AS delay_us, rows.version, rows.variant"
        f" FROM facts_{moment} AS facts JOIN rows_{moment} AS rows ON facts.prediction_id = rows.prediction_id"
    )


def _known_sql(plan: DeltaPlan, moment: str) -> str:
    newest = (
        "SELECT prediction_id, _bucket, label, TRUE AS _explicit FROM (SELECT *, row_number() OVER (PARTITION BY"
        " prediction_id, _bucket ORDER BY received_us DESC, revision DESC, label DESC) AS age"
        f" FROM placed_{moment} WHERE _bucket IS NOT NULL) AS aged WHERE age = 1"
    )
    if plan.implicit_from is not None:
        newest += (
            f" UNION ALL SELECT prediction_id, {plan.implicit_from}, FALSE, FALSE FROM rows_{moment} WHERE"
            " prediction_id"
            f" NOT IN (SELECT prediction_id FROM placed_{moment} WHERE _bucket <= {plan.implicit_from})"
        )
    steps = (
        "SELECT *, lag(label) OVER one AS label_before, lag(_explicit) OVER one AS explicit_before"
        f" FROM ({newest}) AS newest WINDOW one AS (PARTITION BY prediction_id ORDER BY _bucket)"
    )
    return (
        f"WITH steps AS ({steps}) SELECT prediction_id, _bucket, label, _explicit, 1 AS _sign FROM steps UNION ALL"
        " SELECT prediction_id, _bucket, label_before, explicit_before, -1 FROM steps WHERE explicit_before IS NOT NULL"
    )


def label_counts(engine: Engine, plan: DeltaPlan, moment: str) -> list[dict[str, object]]:
    """Count the labels in `placed_<moment>` by version, variant, delay bin and status.

    The first of a prediction in the order (received, revision, label) is matched; a later one is revised where it says
    something else than the one before, else duplicate; what is past the horizon is late and belongs to no order.
    """
    status = (
        "CASE WHEN _bucket IS NULL THEN 'late' WHEN place = 1 THEN 'matched' WHEN label = label_before THEN 'duplicate'"
        " ELSE 'revised' END"
    )
    ordered = (
        "SELECT *, row_number() OVER one AS place, lag(label) OVER one AS label_before"
        f" FROM placed_{moment} WINDOW one AS (PARTITION BY prediction_id, _bucket IS NULL ORDER BY"
        " received_us, revision, label)"
    )
    return _counted(engine, plan, f"SELECT *, {status} AS status FROM ({ordered}) AS ordered")


def single_label_counts(engine: Engine, plan: DeltaPlan) -> list[dict[str, object]]:
    """Count the labels in `attributed` where each prediction has its first and only label there."""
    return _counted(
        engine,
        plan,
        "SELECT version, variant, greatest(received_us - _predicted_us, 0) AS delay_us,"
        " CASE WHEN _bucket IS NULL THEN 'late' ELSE 'matched' END AS status FROM attributed",
    )


def _counted(engine: Engine, plan: DeltaPlan, labels: str) -> list[dict[str, object]]:
    cases = " ".join(
        f"WHEN delay_us <= {round(bound * SECOND_US)} THEN {at}" for at, bound in enumerate(plan.delay_bounds)
    )
    query = (
        f"SELECT version, variant, status, CASE {cases} ELSE {len(plan.delay_bounds)} END AS delay_bin,"
        f" count(*) AS labels, CAST(sum(delay_us) AS BIGINT) AS delay_us FROM ({labels}) AS labels"
        " GROUP BY version, variant, status, delay_bin"
    )
    return engine.sql(query).to_pylist()


def _bucket_sql(plan: DeltaPlan) -> str:
    """The bucket of a label by its delay; a label from before its prediction has delay 0; NULL past the horizon."""
    cases = " ".join(
        f"WHEN facts.received_us - rows._predicted_us <= {bucket * SECOND_US} THEN {bucket}" for bucket in plan.buckets
    )
    return f"CASE {cases} END"


def _tile_sql(plan: DeltaPlan) -> str:
    """Start of the tile; the remainder is made positive, since SQL rounds towards zero."""
    past = f"((_predicted_us - {plan.offset_us}) % {plan.tile_us} + {plan.tile_us}) % {plan.tile_us}"
    return f"_predicted_us - {past}"


def prediction_sums(plan: DeltaPlan, rows: str, *, sign: int) -> str:
    """SQL of the sums over predictions in a relation of rows, as (key, slices, _bucket, columns _s0, _s1, …)."""
    listed = [f"CAST({sign} * count(*) AS HUGEINT) AS _s0"]
    for at, state in enumerate(plan.sums("predictions"), start=1):
        listed.append(f"CAST({sign} * sum({state.to_sql(plan.kinds)}) AS HUGEINT) AS _s{at}")
    return _grouped(plan, f"SELECT *, {_tile_sql(plan)} AS _tile_us, 0 AS _bucket FROM {rows}", ", ".join(listed))


def prediction_names(plan: DeltaPlan) -> list[str]:
    """Name of each column _s0, _s1, … of `prediction_sums`."""
    return [PREDICTIONS, *(state.key for state in plan.sums("predictions"))]


def label_sums(plan: DeltaPlan) -> str:
    """SQL of the sums over `effects`, as (key, slices, _bucket, columns _s0, _s1, …)."""
    listed = [
        "CAST(sum(_sign) AS HUGEINT) AS _s0",
        "CAST(coalesce(sum(CASE WHEN _explicit THEN _sign END), 0) AS HUGEINT) AS _s1",
    ]
    rows, contributions = _sharing(plan, plan.sums("labelled"))
    for at, contribution in enumerate(contributions, start=2):
        listed.append(f"CAST(sum(_sign * ({contribution})) AS HUGEINT) AS _s{at}")
    return _grouped(plan, rows, ", ".join(listed))


def _sharing(plan: DeltaPlan, sums: Sequence[Sum]) -> tuple[str, list[str]]:
    """Rows of `effects` with what several sums need in columns of its own, and the contribution of a row to each sum.

    Inside a CASE an engine computes the same expression again and again. Sums with texts in them are left as they are:
    a text might look like SQL.
    """
    contributions = [each.to_sql(plan.kinds) for each in sums]
    parts = dict.fromkeys(part for each in sums for part in each.shareable_sql(plan.kinds))
    columns: list[str] = []
    for part in sorted(parts, key=len, reverse=True):
        if len(part) > _WORTH_SHARING and sum(part in each for each in contributions) > 1:
            name = f"_e{len(columns)}"
            columns.append(f", {part} AS {name}")
            contributions = [each if "'" in each else each.replace(part, name) for each in contributions]
    return f"SELECT *{''.join(columns)} FROM effects", contributions


def label_names(plan: DeltaPlan) -> list[str]:
    """Name of each column _s0, _s1, … of `label_sums`."""
    return [LABELLED, EXPLICIT, *(state.key for state in plan.sums("labelled"))]


def binned_sums(plan: DeltaPlan) -> list[tuple[str, list[str]]]:
    """SQL of the sums per cell over `effects`, a query per grid, and the name of each of its columns _s0, _s1, …."""
    return [(_grid_sums(plan, grid, states), [each.key for each in states]) for grid, states in plan.binned.items()]


def _grid_sums(plan: DeltaPlan, grid: Grid, states: Sequence[Binned]) -> str:
    listed = ", ".join(
        f"CAST(sum(_sign * ({state.summed.to_sql(plan.kinds)})) AS HUGEINT) AS _s{at}"
        for at, state in enumerate(states)
    )
    needed = frozenset[str]().union(*(state.columns() for state in states))
    source = f"(SELECT *, {_ID_GROUP} AS {name_sql(ID_GROUP)} FROM effects)" if ID_GROUP in needed else "effects"
    place = f"CAST({grid.place.to_sql(plan.kinds)} AS SMALLINT)"
    within = present_sql(grid.place, plan.kinds)
    cells = f"SELECT *, {place} AS _bin FROM {source} AS placed WHERE {within}"
    inside = f"SELECT * FROM ({cells}) AS cells WHERE _bin >= 0 AND _bin < {grid.cells}"
    return _grouped(plan, inside, listed, also=("_bin",))


def _grouped(plan: DeltaPlan, rows: str, sums: str, also: Sequence[str] = ()) -> str:
    """Group by key, over all rows and by each slice; `_g_<field>` is 0 where a field is grouped by."""
    fixed = [*KEY, "_bucket", *also]
    sets = [", ".join(map(name_sql, (*fixed, *fields))) for fields in ((), *plan.slices)]
    flags = "".join(f", grouping({name_sql(field)}) AS {name_sql('_g_' + field)}" for field in plan.slice_fields)
    keys = ", ".join(map(name_sql, (*fixed, *plan.slice_fields)))
    grouping = ", ".join(f"({each})" for each in sets)
    return f"SELECT {keys}{flags}, {sums} FROM ({rows}) AS summed GROUP BY GROUPING SETS ({grouping})"
