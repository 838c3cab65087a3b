"""From rows and the labels known of them to what is added to the sums, as SQL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.engines.text import name_sql
from otel_ml_metrics.measures.bootstrap import GROUP_SQL as _ID_GROUP
from otel_ml_metrics.measures.bootstrap import ID_GROUP
from otel_ml_metrics.measures.sums import Binned, Sum
from otel_ml_metrics.presence import present_sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_ml_metrics.expressions import Kind
    from otel_ml_metrics.measures.sums import Grid
    from otel_ml_metrics.measures.totals import State

PREDICTIONS: Final = "predictions"
LABELLED: Final = "labelled"
EXPLICIT: Final = "explicit"
SECOND_US: Final = 1_000_000
_WORTH_SHARING: Final = 40  # characters of SQL
KEY: Final = ("_tile_us", "output", "version", "variant")
UNITS_OF_A_SUM: Final = 1 << 30
"""Labels that are added up are rounded to 2^-30, so that their sum does not depend on the order."""


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
        aggregate: What several labels of one prediction say together: `last`, `any` or `sum`.
        whole: Sums over labelled rows that are taken over all of them, and not by slice.
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
    aggregate: str = "last"
    whole: Sequence[Sum] = ()

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


def bucket_sql(plan: DeltaPlan) -> str:
    """The bucket of a label by its delay; a label from before its prediction has delay 0; NULL past the horizon."""
    cases = " ".join(
        f"WHEN facts.received_us - rows._predicted_us <= {bucket * SECOND_US} THEN {bucket}" for bucket in plan.buckets
    )
    return f"CASE {cases} END"


def tile_sql(plan: DeltaPlan) -> str:
    """Start of the tile; the remainder is made positive, since SQL rounds towards zero."""
    past = f"((_predicted_us - {plan.offset_us}) % {plan.tile_us} + {plan.tile_us}) % {plan.tile_us}"
    return f"_predicted_us - {past}"


def prediction_sums(plan: DeltaPlan, rows: str, *, sign: int) -> str:
    """SQL of the sums over predictions in a relation of rows, as (key, slices, _bucket, columns _s0, _s1, …)."""
    listed = [f"CAST({sign} * count(*) AS HUGEINT) AS _s0"]
    for at, state in enumerate(plan.sums("predictions"), start=1):
        listed.append(f"CAST({sign} * sum({state.to_sql(plan.kinds)}) AS HUGEINT) AS _s{at}")
    return _grouped(plan, f"SELECT *, {tile_sql(plan)} AS _tile_us, 0 AS _bucket FROM {rows}", ", ".join(listed))


def prediction_names(plan: DeltaPlan) -> list[str]:
    """Name of each column _s0, _s1, … of `prediction_sums`."""
    return [PREDICTIONS, *(state.key for state in plan.sums("predictions"))]


def label_sums(plan: DeltaPlan) -> str:
    """SQL of the sums over `effects`, as (key, slices, _bucket, columns _s0, _s1, …)."""
    listed = [
        "CAST(sum(_sign) AS HUGEINT) AS _s0",
        "CAST(coalesce(sum(CASE WHEN _explicit THEN _sign END), 0) AS HUGEINT) AS _s1",
    ]
    return _added(plan, plan.sums("labelled"), listed)


def whole_sums(plan: DeltaPlan) -> str:
    """SQL of the sums over `effects` that are not taken by slice, as (key, _bucket, columns _s0, _s1, …)."""
    return _added(replace(plan, slices=()), plan.whole, [])


def _added(plan: DeltaPlan, sums: Sequence[Sum], listed: list[str]) -> str:
    """Add up over `effects`, after what is listed already."""
    rows, contributions = _sharing(plan, sums)
    for at, contribution in enumerate(contributions, start=len(listed)):
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
