"""How many slices the ledger tells apart in a tile: a field of many values does not explode it either.

No bounded memory can keep the largest slices exactly: one that is dropped may grow, and what it had cannot be told from
the rest any more. What can be kept, whatever order rows come in, is the slices with the smallest digests: a further
slice only makes the bound smaller, so whatever is below it has been kept from its first row on. Up to the bound (10,000
slices of a kind in a tile) the largest slices of a window are exact; beyond, they are the largest of a sample by name,
and a run says so.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from otel_ml_metrics.attribution.tables import SUMS, distinct, rows_where, slice_text
from otel_ml_metrics.declared import MOST_SLICES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Fields = tuple[str, ...]

_KEYS: Final = [name for name in SUMS.names if name != "value"]


def rest_of(fields: Iterable[str]) -> str:
    """The slice that stands in a ledger for those that it does not tell apart; no value of a field looks like it.

    >>> rest_of(["merchant"])
    '{"merchant": null}'
    """
    return slice_text(dict.fromkeys(fields))


def digest(slice_: str) -> str:
    """By which slices are chosen, the same on every machine."""
    return hashlib.md5(slice_.encode(), usedforsecurity=False).hexdigest()


def bounded(sums: pa.Table, earlier: pa.Table | None = None, *, at_most: int = MOST_SLICES) -> pa.Table:
    """The sums of a tile, with a bounded number of slices of each kind; the rest of them are one.

    Args:
        sums: `SUMS` of one tile as they are now.
        earlier: What the ledger had of this tile until now, if anything.
        at_most: Slices of each kind that are told apart.
    """
    slices, known = distinct(sums, "slice"), [] if earlier is None else distinct(earlier, "slice")
    had = bounds_of(known)
    if len(slices) <= at_most and not had:
        return sums
    folded: dict[str, str] = {}
    for fields, names in by_kind(slices).items():
        rest, bound = rest_of(fields), had.get(fields)
        apart = sorted((each for each in names if each != rest), key=digest)
        fitting = apart if bound is None else [each for each in apart if digest(each) <= bound]
        folded |= dict.fromkeys(set(apart).difference(fitting[:at_most]), rest)
    return _merged(sums, folded) if folded else sums


def bounds_of(slices: Iterable[str]) -> dict[Fields, str]:
    """By kind, up to which digest the slices of a tile are told apart; kinds that have no rest are not bounded."""
    slices = list(slices)
    if not any(": null" in each for each in slices):  # looking is faster than reading
        return {}
    return {
        fields: max((digest(each) for each in names if each != rest_of(fields)), default="")
        for fields, names in by_kind(slices).items()
        if rest_of(fields) in names
    }


def by_kind(slices: Iterable[str]) -> dict[Fields, list[str]]:
    """Slices by the fields that they have; all rows are no slice."""
    kinds: dict[Fields, list[str]] = {}
    for each in slices:
        fields = tuple(sorted(json.loads(each)))
        if fields:
            kinds.setdefault(fields, []).append(each)
    return kinds


def bounded_tiles(sums: pa.Table) -> pa.Table:
    """Sums of several tiles that were computed on their own, each bounded as `bounded` does.

    Args:
        sums: `TILED_SUMS`; several rows of one sum belong together.
    """
    if len(distinct(sums, "slice")) <= MOST_SLICES:
        return sums
    parts = []
    for tile in distinct(sums, "tile_us"):
        part = bounded(rows_where(sums, "tile_us", tile).select(SUMS.names))
        parts.append(part.append_column("tile_us", pa.repeat(pa.scalar(tile, pa.int64()), len(part))))
    return pa.concat_tables(parts)


def _merged(sums: pa.Table, folded: Mapping[str, str]) -> pa.Table:
    """The sums with some slices in the place of others."""
    names = sums.column("slice").combine_chunks().dictionary_encode()
    told = pa.array([folded.get(str(each), str(each)) for each in names.dictionary.to_pylist()], pa.string())
    placed = sums.set_column(sums.schema.get_field_index("slice"), "slice", told.take(names.indices))
    added = placed.group_by(_KEYS).aggregate([("value", "sum")]).rename_columns([*_KEYS, "value"])
    kept = added.select(SUMS.names).cast(SUMS)
    return kept.filter(pc.not_equal(kept.column("value"), pa.scalar(0, pa.decimal128(38, 0))))
