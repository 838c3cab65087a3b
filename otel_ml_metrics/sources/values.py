"""Rows of Python values, as databases and functions give them, as Arrow tables."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from otel_ml_metrics.columns import is_missing
from otel_ml_metrics.instants import to_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pyarrow import Array

_INSTANT: Final = pa.timestamp("us", "UTC")
_NAIVE: Final = pa.timestamp("us")


def table_of(rows: Iterable[Sequence[object]], names: Sequence[str]) -> pa.Table:
    """Rows as a table."""
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.table({name: column_of(column) for name, column in zip(names, columns, strict=True)})


def column_of(values: Sequence[Any]) -> Array[Any]:
    """A column of the type that fits all values; text where no other does, so that each keeps its own form.

    >>> column_of([True, None]).type, column_of([1, Decimal("0.5")]).type, column_of(["2013-04-08", 7]).to_pylist()
    (DataType(bool), DataType(double), ['2013-04-08', '7'])
    """
    present = [None if is_missing(value) else value for value in values]
    kinds = {_kind(value) for value in present if value is not None}
    if not kinds:
        return pa.nulls(len(values))
    made = _COLUMNS.get(kinds.pop() if len(kinds) == 1 else "number" if kinds == {"boolean", "number"} else "")
    try:
        return _texts(present) if made is None else made(present)
    except (OverflowError, pa.ArrowInvalid):  # an integer of more than 64 bits
        return _texts(present)


def as_one(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of the same columns as one; a column whose type differs among them becomes text.

    Raises:
        pa.ArrowInvalid: A column cannot be written as text.
    """
    types: dict[str, set[pa.DataType]] = {}
    for column in (column for table in tables for column in table.schema):
        types.setdefault(column.name, set()).update({column.type} - {pa.null()})
    wanted = [(name, found.pop() if len(found) == 1 else pa.string()) for name, found in types.items()]
    return pa.concat_tables([_cast(table, wanted) for table in tables])


def _cast(table: pa.Table, wanted: Sequence[tuple[str, pa.DataType]]) -> pa.Table:
    missing: Array[Any] = pa.nulls(len(table))
    columns = [table.column(name) if name in table.column_names else missing for name, _ in wanted]
    return pa.table([column.cast(kind) for column, (_, kind) in zip(columns, wanted, strict=True)], [*dict(wanted)])


def _kind(value: object) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "boolean"
    if isinstance(value, (int, float, Decimal, np.number)):
        return "number"
    if isinstance(value, datetime):
        return "naive instant" if value.utcoffset() is None else "instant"
    return "date" if isinstance(value, date) else "bytes" if isinstance(value, bytes) else "text"


def _booleans(values: Sequence[Any]) -> Array[Any]:
    return pa.array(values, pa.bool_())


def _numbers(values: Sequence[Any]) -> Array[Any]:
    """Whole numbers as such, be they integers or decimals: a float of an id would not be the id."""
    if all(value is None or _is_whole(value) for value in values):
        return pa.array([None if value is None else int(value) for value in values], pa.int64())
    return pa.array([None if value is None else float(value) for value in values], pa.float64())


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) or (isinstance(value, Decimal) and value == value.to_integral_value())


def _instants(values: Sequence[Any]) -> Array[Any]:
    return pa.array([None if value is None else to_us(value) for value in values], pa.int64()).cast(_INSTANT)


def _naive_instants(values: Sequence[Any]) -> Array[Any]:
    return pa.array(values, _NAIVE)


def _dates(values: Sequence[Any]) -> Array[Any]:
    return pa.array(values, pa.date32())


def _texts(values: Sequence[Any]) -> Array[Any]:
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.isoformat() if isinstance(value, date) else str(value)


_COLUMNS: Final[Mapping[str, Callable[[Sequence[Any]], Array[Any]]]] = {
    "boolean": _booleans,
    "number": _numbers,
    "instant": _instants,
    "naive instant": _naive_instants,
    "date": _dates,
}
