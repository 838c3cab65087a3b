"""Arrow tables from buffers of our own, and the Parquet files that they become.

`pyarrow.array()` is shorter, but it imports pandas wherever that is installed: at the first drain that is a second of
work in a model server, and a child that forks off in the meantime hangs on the import lock.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from otel_ml_metrics.attribution.portions import SEGMENT_COLUMN
from otel_ml_metrics.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

try:
    import pyarrow as pa
    from pyarrow import compute, parquet  # noqa: F401  # `take` and `filter` would load `compute` at the first drain
except ImportError as error:
    raise MissingExtraError("pyarrow", "log", "The prediction log (log=...)") from error  # noqa: EM101  # fields, no message

Array = Any
"""A pyarrow array; its stubs and its classes disagree on type arguments."""

SMALL_ROWS: Final = 4_096
"""Rows up to which a file is small."""

NUMBER: Final = pa.float64()
BOOLEAN: Final = pa.bool_()
TEXT: Final = pa.string()
INSTANT: Final = pa.timestamp("us", tz="UTC")
SMALL_INTEGER: Final = pa.int16()
NUMBERS: Final = pa.list_(NUMBER)

_MOST_BYTES: Final = np.iinfo(np.int32).max
_LOOKED_UP: Final = ("prediction_id", "predicted_at", SEGMENT_COLUMN)
_DIFFERENT: Final = frozenset({"prediction_id", "trace_id", "span_id"})


def table(columns: Mapping[str, Array], *, required: frozenset[str], metadata: Mapping[str, str]) -> pa.Table:
    """A table; columns that are not required may hold NULL."""
    fields = [pa.field(name, array.type, nullable=name not in required) for name, array in columns.items()]
    noted: dict[bytes | str, bytes | str] = dict(metadata.items())
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields, noted))


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of one schema, one after the other."""
    return pa.concat_tables(tables).combine_chunks()


def chosen(rows: pa.Table, where: NDArray[np.bool_]) -> pa.Table:
    """Some rows of a table."""
    return rows if where.all() else rows.filter(booleans(where))


def write(rows: pa.Table, file: IO[bytes]) -> None:
    """Write a Parquet file, by one call: it is made in memory before."""
    made = pa.BufferOutputStream()
    with writer(made, rows.schema, is_small=rows.num_rows <= SMALL_ROWS) as target:
        target.write_table(rows)
    file.write(made.getvalue())


def writer(file: IO[bytes] | pa.NativeFile, schema: pa.Schema, *, is_small: bool = False) -> parquet.ParquetWriter:
    """Writes a Parquet file, to be closed.

    Only texts that repeat get a dictionary, since looking for one where every value is new is half of the work; and
    only the columns that readers look rows up by get statistics. A small file takes its time by the column, so it gets
    the codec that starts soonest; it is a third larger for it, until it is compacted.
    """
    repeating = [field.name for field in schema if field.type == TEXT and field.name not in _DIFFERENT]
    settings: Any = {
        "use_dictionary": repeating,
        "write_statistics": [name for name in _LOOKED_UP if name in schema.names],
    }
    settings |= {"compression": "snappy"} if is_small else {"compression": "zstd", "compression_level": 1}
    return parquet.ParquetWriter(file, schema, **settings)


def plain(values: NDArray[Any], kind: Any, missing: NDArray[np.bool_] | None = None) -> Array:  # noqa: ANN401  # a type
    """Numbers or instants, in the representation that the type has."""
    return pa.Array.from_buffers(kind, len(values), [_valid(missing), _buffer(values)])


def numbers(values: NDArray[np.float64]) -> Array:
    """Numbers; NaN is NULL."""
    return plain(values, NUMBER, np.isnan(values))


def booleans(values: NDArray[Any]) -> Array:
    """Booleans; of 0.0, 1.0 and NaN, NaN is NULL."""
    missing = np.isnan(values) if values.dtype == np.float64 else None
    bits = np.packbits(values == 1, bitorder="little")
    return pa.Array.from_buffers(BOOLEAN, len(values), [_valid(missing), _buffer(bits)])


def texts(values: Sequence[str | None] | NDArray[np.object_]) -> Array:
    """Texts; None is NULL."""
    missing = None
    if type(None) in set(map(type, values)):
        missing = np.fromiter((text is None for text in values), dtype=np.bool_, count=len(values))
    present = [text or "" for text in values]
    together = "".join(present)
    lengths = map(len, present if together.isascii() else [text.encode() for text in present])
    offsets = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(lengths, dtype=np.int64, count=len(values)), out=offsets[1:])
    return _strings(offsets, together.encode(), missing)


def characters(ascii_codes: NDArray[np.uint8]) -> Array:
    """Texts of one length, shape (n, length)."""
    rows, length = ascii_codes.shape
    return _strings(np.arange(rows + 1, dtype=np.int64) * length, ascii_codes.tobytes(), None)


def categories(codes: NDArray[np.int32], values: Sequence[str]) -> Array:
    """Texts by their position in `values`; -1 is NULL."""
    return texts(values).take(plain(codes, pa.int32(), codes < 0)) if values else nulls(len(codes), TEXT)


def vectors(values: NDArray[np.object_]) -> Array:
    """One array of numbers per row; None is NULL."""
    missing = np.fromiter((vector is None for vector in values), dtype=np.bool_, count=len(values))
    lengths = [0 if vector is None else len(vector) for vector in values]
    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    parts = [vector for vector in values if vector is not None]
    flat = plain(np.concatenate(parts) if parts else np.zeros(0), NUMBER)
    return pa.Array.from_buffers(NUMBERS, len(values), [_valid(missing), _buffer(offsets)], children=[flat])


def nulls(rows: int, kind: Any) -> Array:  # noqa: ANN401  # a type
    """Nothing but NULL."""
    return pa.nulls(rows, kind)


def repeated(text: str | None, rows: int) -> Array:
    """The same text in every row."""
    if text is None:
        return nulls(rows, TEXT)
    data = text.encode()
    return _strings(np.arange(rows + 1, dtype=np.int64) * len(data), data * rows, None)


def _strings(offsets: NDArray[np.int64], data: bytes, missing: NDArray[np.bool_] | None) -> Array:
    """Texts by where each starts; with offsets of 64 bits where 32 do not reach, which is then for a cast to refuse."""
    if offsets[-1] <= _MOST_BYTES:
        buffers = [_valid(missing), _buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
        return pa.Array.from_buffers(TEXT, len(offsets) - 1, buffers)
    buffers = [_valid(missing), _buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers).cast(TEXT)


def _valid(missing: NDArray[np.bool_] | None) -> pa.Buffer | None:
    if missing is None or not missing.any():
        return None
    return _buffer(np.packbits(~missing, bitorder="little"))


def _buffer(values: NDArray[Any]) -> pa.Buffer:
    return pa.py_buffer(np.ascontiguousarray(values).data)
