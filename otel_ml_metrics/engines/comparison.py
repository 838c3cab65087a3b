"""Two sets of sums, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics.attribution.tables import TILED_SUMS

if TYPE_CHECKING:
    import pyarrow as pa

    from otel_ml_metrics.engines.port import Engine

_KEYS: Final = ("tile_us", *(name for name in TILED_SUMS.names if name not in {"tile_us", "value"}))


def differences(engine: Engine, stored: pa.Table, computed: pa.Table) -> pa.Table:
    """The sums that differ, with both values; a sum that is not there is 0.

    Args:
        engine: Compares.
        stored: Sums with the tile; several rows of one sum are added up.
        computed: The same.

    Returns:
        The columns of `TILED_SUMS` but `value`, and `stored` and `computed`, by tile.
    """
    engine.put("stored_sums", stored)
    engine.put("computed_sums", computed)
    keys = ", ".join(_KEYS)
    sides = (
        f"SELECT {keys}, CAST(value AS HUGEINT) AS stored, CAST(0 AS HUGEINT) AS computed FROM stored_sums"
        f" UNION ALL SELECT {keys}, CAST(0 AS HUGEINT), CAST(value AS HUGEINT) FROM computed_sums"
    )
    return engine.sql(
        f"SELECT {keys}, CAST(sum(stored) AS DECIMAL(38, 0)) AS stored,"
        " CAST(sum(computed) AS DECIMAL(38, 0)) AS computed"
        f" FROM ({sides}) AS sides GROUP BY {keys} HAVING sum(stored) <> sum(computed) ORDER BY {keys}"
    )
