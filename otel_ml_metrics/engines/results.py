"""Sums as they come out of a grouping query, turned into the rows of the ledger, and added to those that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from otel_ml_metrics.attribution.tables import TILED_SUMS, distinct, rows_where, slice_text, values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_ml_metrics.engines.port import Engine

_KEYS: Final = ("output", "version", "variant", "slice", "bucket", "sum", "bin", "tile_us")


def long_form(wide: pa.Table, names: Sequence[str], slice_fields: Sequence[str]) -> pa.Table:
    """One row per sum that is not 0.

    Args:
        wide: A row per group: key, slice fields with their flags `_g_<field>`, columns _s0, _s1, …, maybe _bin.
        names: Name of the sum in each column s0, s1, ….
        slice_fields: Fields that slice.
    """
    slices = _slices(wide, slice_fields)
    bins = wide.column("_bin") if "_bin" in wide.column_names else pa.repeat(pa.scalar(-1, pa.int16()), len(wide))
    parts = []
    for at, name in enumerate(names):
        value = wide.column(f"_s{at}").cast(pa.decimal128(38, 0))
        columns: dict[str, pa.ChunkedArray[Any] | pa.Array[Any]] = {
            "output": wide.column("output"),
            "version": wide.column("version"),
            "variant": wide.column("variant"),
            "slice": slices,
            "bucket": wide.column("_bucket").cast(pa.int64()),
            "sum": pa.repeat(pa.scalar(name, pa.string()), len(wide)),
            "bin": bins.cast(pa.int16()),
            "value": value,
            "tile_us": wide.column("_tile_us").cast(pa.int64()),
        }
        table = pa.table([columns[each] for each in TILED_SUMS.names], schema=TILED_SUMS)
        parts.append(table.filter(pc.not_equal(value, pa.scalar(0, pa.decimal128(38, 0)))))
    return pa.concat_tables(parts)


def _slices(wide: pa.Table, fields: Sequence[str]) -> pa.StringArray:
    flags = [f"_g_{field}" for field in fields]
    rows = list(zip(*(values(wide, name) for name in (*fields, *flags)), strict=True)) if fields else [()] * len(wide)
    texts = {row: _text_of(fields, row) for row in set(rows)}
    return pa.array([texts[row] for row in rows], pa.string())


def _text_of(fields: Sequence[str], row: tuple[Any, ...]) -> str:
    """The slice of a row that has a value of each field, and then a flag of each that is 0 where the value counts."""
    grouped = zip(fields, row[: len(fields)], row[len(fields) :], strict=True)
    return slice_text({field: value for field, value, flag in grouped if flag == 0})


def add_up(engine: Engine, parts: Sequence[pa.Table]) -> dict[int, pa.Table]:
    """The sums of each tile; a tile whose sums all came to 0 has an empty table."""
    engine.put("parts", pa.concat_tables(parts))
    keys = ", ".join(_KEYS)
    total = (
        engine.sql(
            f"SELECT {keys}, CAST(sum(CAST(value AS HUGEINT)) AS DECIMAL(38, 0)) AS value FROM parts"
            f" GROUP BY {keys} ORDER BY {keys}"
        )
        .select(TILED_SUMS.names)
        .cast(TILED_SUMS)
    )
    tiles = distinct(total, "tile_us")
    kept = total.filter(pc.not_equal(total.column("value"), pa.scalar(0, pa.decimal128(38, 0))))
    return {tile: rows_where(kept, "tile_us", tile).drop_columns(["tile_us"]) for tile in tiles}
