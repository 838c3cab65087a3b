"""Which slices of a window are told apart, and which are told as one: a field of many values explodes no backend."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from otel_ml_metrics.semconv import OTHER_SLICE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Row = dict[str, Any]

_FOLD: Final[dict[str, pa.DataType]] = {
    "window_us": pa.int64(),
    "maturity_s": pa.int64(),
    "slice": pa.string(),
    "folded": pa.string(),  # the slice that it is a part of
}
FOLDS: Final = pa.schema(_FOLD)
"""Slices that are part of another one."""


def folds_of(ranked: pa.Table, tops: Mapping[tuple[str, ...], int]) -> list[Row]:
    """The slices that are folded, as rows of `FOLDS`.

    The slices with the most predictions of their window, over all versions and variants, stay apart; ties by name.

    Args:
        ranked: Slices (JSON objects) with window_us, maturity_s and predictions.
        tops: By the sorted fields of a slice, how many of it stay apart.

    >>> ranked = [("UA", 3), ("B6", 3), ("AA", 9)]
    >>> rows = [
    ...     {"window_us": 0, "maturity_s": 60, "slice": json.dumps({"carrier": name}), "predictions": predictions}
    ...     for name, predictions in ranked
    ... ]
    >>> [each["slice"] for each in folds_of(pa.Table.from_pylist(rows), {("carrier",): 2})]
    ['{"carrier": "UA"}']
    """
    rows = [row | {"named": json.loads(row["slice"])} for row in ranked.to_pylist()]
    rows.sort(key=_place)
    return [fold for _, group in groupby(rows, key=_kind) for fold in _rest(list(group), tops)]


def _kind(row: Row) -> tuple[int, int, tuple[str, ...]]:
    return row["window_us"], row["maturity_s"], tuple(sorted(row["named"]))


def _place(row: Row) -> tuple[Any, ...]:
    values = tuple(row["named"][field] for field in sorted(row["named"]))
    return (*_kind(row), -row["predictions"], values)


def _rest(rows: list[Row], tops: Mapping[tuple[str, ...], int]) -> Iterator[Row]:
    fields = tuple(sorted(rows[0]["named"]))
    told = slice_text(dict.fromkeys(fields, OTHER_SLICE))
    for row in rows[tops.get(fields, len(rows)) :]:
        yield {name: row[name] for name in FOLDS.names if name != "folded"} | {"folded": told}


def slice_text(named: Mapping[str, str | None]) -> str:
    """A slice as the ledger writes it.

    >>> slice_text({"origin": "EWR", "carrier": "UA"})
    '{"carrier": "UA", "origin": "EWR"}'
    """
    return json.dumps(dict(named), ensure_ascii=False, sort_keys=True)
