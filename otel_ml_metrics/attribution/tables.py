"""The Arrow tables that pass between engine and ledger."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

LABEL_TYPES: Final[dict[str, pa.DataType]] = {"boolean": pa.bool_(), "number": pa.float64(), "string": pa.string()}


def _schema(**types: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in types.items()])


def fact_schema(label_kind: str, *, by_entity: bool = False) -> pa.Schema:
    """One row per label as it was received; where labels name entities, with whose it is and since when."""
    facts = _schema(
        prediction_id=pa.string(), received_us=pa.int64(), revision=pa.int64(), label=LABEL_TYPES[label_kind]
    )
    return (
        pa.schema([*facts, pa.field("entity", pa.string()), pa.field("occurred_us", pa.int64())])
        if by_entity
        else facts
    )


SUMS: Final = _schema(
    output=pa.string(),
    version=pa.string(),
    variant=pa.string(),
    slice=pa.string(),  # JSON object, "{}" for all rows
    bucket=pa.int64(),  # maturity in seconds from which on it counts; 0 for sums over predictions
    sum=pa.string(),
    bin=pa.int16(),  # -1 for sums without bins
    value=pa.decimal128(38, 0),
)

TILED_SUMS: Final = SUMS.append(pa.field("tile_us", pa.int64()))
"""Sums of several tiles."""

LOST: Final = _schema(prediction_id=pa.string(), date=pa.string(), segment=pa.string(), row=pa.int64())
"""Rows of the prediction log whose id an earlier row has: they count for nothing."""

MOVES: Final = _schema(
    maturity=pa.string(),  # as declared
    maturity_s=pa.int64(),
    output=pa.string(),
    version=pa.string(),  # of the model
    variant=pa.string(),
    slice=pa.string(),
    measure=pa.string(),
    value=pa.float64(),  # null where it is undefined
    lower=pa.float64(),
    upper=pa.float64(),
    support=pa.int64(),
    coverage=pa.float64(),
    undefined=pa.string(),  # the reason, where there is no value
)
"""Final values of one window that a commit gave, changed or took away."""

EXACT: Final = _schema(
    maturity_s=pa.int64(),
    output=pa.string(),
    version=pa.string(),  # of the model
    variant=pa.string(),
    slice=pa.string(),
    measure=pa.string(),
    value=pa.float64(),  # null where it is undefined
    support=pa.int64(),
    undefined=pa.string(),  # the reason, where there is no value
)
"""Final values of the exact measures of one window."""

RETIRED: Final = _schema(before_us=pa.int64(), definition=pa.string())  # definition is JSON
"""Up to where predictions and labels were retired, and what the sums of their windows mean."""


def values(table: pa.Table, column: str) -> list[Any]:
    """The values of a column."""
    return table.column(column).to_pylist()


def distinct(table: pa.Table, column: str) -> list[Any]:
    """The different values of a column."""
    return table.column(column).unique().to_pylist()


def rows_where(table: pa.Table, column: str, value: object) -> pa.Table:
    """The rows whose column has this value."""
    return table.filter(pc.equal(table.column(column), pa.scalar(value, table.schema.field(column).type)))


def sums_over_all(sums: pa.Table, names: Collection[str]) -> dict[str, int]:
    """The totals of some plain sums over every tile and bucket, all rows and no slice, by name."""
    named = pc.is_in(sums.column("sum"), value_set=pa.array(names, pa.string()))
    found = rows_where(sums.filter(named), "slice", "{}")
    totals: Counter[str] = Counter()
    for name, value in zip(values(found, "sum"), values(found, "value"), strict=True):
        totals[name] += int(value)
    return dict(totals)


def slice_text(named: Mapping[str, str | None]) -> str:
    """A slice as the ledger writes it.

    >>> slice_text({"origin": "EWR", "carrier": "UA"})
    '{"carrier": "UA", "origin": "EWR"}'
    """
    return json.dumps(dict(named), ensure_ascii=False, sort_keys=True)
