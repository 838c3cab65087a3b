"""Whatever is tabular, as Arrow tables: Arrow itself, pandas and Polars by Arrow's C stream, mappings, rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

import pyarrow as pa

from otel_ml_metrics.columns import is_scalar
from otel_ml_metrics.sources.values import column_of

MOST_ROWS: Final = 65_536
"""Rows given one by one that are made into a table at a time."""

_ACCEPTED: Final = "an Arrow, pandas or Polars table, a mapping of columns, a list of mappings, or an iterable of such"


def tables_of(found: object) -> Iterator[pa.Table]:
    """The tables in something tabular, those without rows left out; None is nothing.

    >>> [table.to_pydict() for table in tables_of([{"id": "a", "late": True}, {"id": "b"}])]
    [{'id': ['a', 'b'], 'late': [True, None]}]

    Raises:
        TypeError: It is not tabular.
        ValueError: Columns of one table differ in length.
    """
    return (table for table in _tables(found) if len(table))


def _tables(found: Any) -> Iterator[pa.Table]:  # noqa: ANN401  # whatever a user's function gives
    if found is None:
        return
    if isinstance(found, pa.Table):
        yield _plain(found)
    elif hasattr(found, "__arrow_c_stream__"):
        yield _plain(pa.RecordBatchReader.from_stream(found).read_all())
    elif isinstance(found, pa.RecordBatch):
        yield _plain(pa.Table.from_batches([found]))
    elif isinstance(found, Mapping):
        yield _of_columns(found)
    elif isinstance(found, Iterable) and not isinstance(found, (str, bytes)):
        yield from _of_many(iter(found))
    else:
        message = f"found {type(found).__name__}, expected {_ACCEPTED}"
        raise TypeError(message)


def _of_many(found: Iterator[object]) -> Iterator[pa.Table]:
    """Tables one after the other; mappings with one value per name are rows of one."""
    rows: list[Mapping[str, Any]] = []
    for each in found:
        if isinstance(each, Mapping) and all(map(is_scalar, each.values())):
            rows.append(each)
            if len(rows) == MOST_ROWS:
                yield _of_rows(rows)
                rows = []
        else:
            yield from _tables(each)
    if rows:
        yield _of_rows(rows)


def _of_rows(rows: list[Mapping[str, Any]]) -> pa.Table:
    names = dict.fromkeys(chain.from_iterable(rows))
    return pa.table({name: column_of([row.get(name) for row in rows]) for name in names})


def _of_columns(columns: Mapping[str, Any]) -> pa.Table:
    made = {name: _column(column) for name, column in columns.items()}
    lengths = {name: len(column) for name, column in made.items()}
    if len(set(lengths.values())) > 1:
        message = f"found columns of different lengths: {lengths}"
        raise ValueError(message)
    return _plain(pa.table(made))


def _column(column: Any) -> Any:  # noqa: ANN401  # of any library
    if isinstance(column, (pa.Array, pa.ChunkedArray)) or hasattr(column, "__arrow_c_array__"):
        return column
    if isinstance(column, (list, tuple)):
        return column_of(column)
    if hasattr(column, "__arrow_c_stream__"):
        return pa.chunked_array(column)
    return column_of(column.tolist()) if str(getattr(column, "dtype", "")) == "object" else pa.array(column)


def _plain(table: pa.Table) -> pa.Table:
    """A table without dictionary-encoded columns, whose texts the engine would not know for texts."""
    for at, column in enumerate(table.columns):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(at, table.column_names[at], column.cast(column.type.value_type))
    return table
