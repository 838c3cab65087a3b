"""Which slices of a window are told apart, and which are told as one: a field of many values explodes no backend."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from otel_ml_metrics.attribution.bounding import digest, rest_of
from otel_ml_metrics.attribution.tables import slice_text
from otel_ml_metrics.semconv import OTHER_SLICE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_ml_metrics.attribution.bounding import Fields

    Row = dict[str, Any]

_FOLD: Final[dict[str, pa.DataType]] = {
    "window_us": pa.int64(),
    "maturity_s": pa.int64(),
    "slice": pa.string(),
    "folded": pa.string(),  # the slice that it is a part of
}
FOLDS: Final = pa.schema(_FOLD)
"""Slices that are part of another one."""


def folds_of(ranked: pa.Table, tops: Mapping[Fields, int], bounds: Mapping[tuple[int, Fields], str]) -> list[Row]:
    """The slices that are folded, as rows of `FOLDS`.

    The slices with the most predictions of their window, over all versions and variants, stay apart; ties by name.

    Args:
        ranked: Slices (JSON objects) with window_us, maturity_s and predictions.
        tops: By the sorted fields of a slice, how many of it stay apart.
        bounds: By window and fields, up to which digest the ledger tells slices apart, where it does not tell all.

    >>> ranked = [("UA", 3), ("B6", 3), ("AA", 9)]
    >>> rows = [
    ...     {"window_us": 0, "maturity_s": 60, "slice": json.dumps({"carrier": name}), "predictions": predictions}
    ...     for name, predictions in ranked
    ... ]
    >>> [each["slice"] for each in folds_of(pa.Table.from_pylist(rows), {("carrier",): 2}, {})]
    ['{"carrier": "UA"}']
    """
    rows = [row | {"named": json.loads(row["slice"])} for row in ranked.to_pylist()]
    rows.sort(key=_place)
    return [fold for _, group in groupby(rows, key=_kind) for fold in _rest(list(group), tops, bounds)]


def _kind(row: Row) -> tuple[int, int, Fields]:
    return row["window_us"], row["maturity_s"], tuple(sorted(row["named"]))


def _place(row: Row) -> tuple[Any, ...]:
    values = tuple(row["named"][field] or "" for field in sorted(row["named"]))
    return (*_kind(row), -row["predictions"], values)


def _rest(rows: list[Row], tops: Mapping[Fields, int], bounds: Mapping[tuple[int, Fields], str]) -> Iterator[Row]:
    window_us, _, fields = _kind(rows[0])
    told = slice_text(dict.fromkeys(fields, OTHER_SLICE))
    bound = bounds.get((window_us, fields))
    whole = rows if bound is None else [row for row in rows if _is_whole(row["slice"], fields, bound)]
    apart = {row["slice"] for row in whole[: tops.get(fields, len(whole))]}
    for row in rows:
        if row["slice"] not in apart:
            yield {name: row[name] for name in FOLDS.names if name != "folded"} | {"folded": told}


def _is_whole(slice_: str, fields: Fields, bound: str) -> bool:
    """Whether the ledger has all rows of a slice under its name."""
    return slice_ != rest_of(fields) and digest(slice_) <= bound
