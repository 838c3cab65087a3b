"""Columns as users pass them (lists, numpy, pandas, Polars, PyArrow; none imported), read into arrays of our own.

Nothing here raises on a bad value: it reads as missing, and is pointed out. Every array is a copy, so the caller may
reuse theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import numpy as np

from otel_ml_metrics.errors import InstantError
from otel_ml_metrics.instants import to_us

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_TEXT: Final = 256
SET_BAR: Final = "|"
"""Stands around and between the names of a set in one text; alone it is the empty set."""

NO_INSTANT: Final = np.iinfo(np.int64).min
_LAST_US: Final = 253_402_300_800_000_000  # 10000-01-01: folders are named by four-digit years
_OUT_OF_RANGE: Final = "an instant outside the years 1970 to 9999"
_UNHASHABLE: Final = object()
_PLAIN_NUMBERS: Final = frozenset({float, int, bool, type(None)})
_MISSING_TYPES: Final = frozenset({"NAType", "NaTType"})  # pandas.NA and NaT, known by name: pandas is not imported
_SCALARS: Final = (str, bytes, bool, int, float, datetime, np.generic, Mapping, AbstractSet)

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Read(Generic[T_co]):
    """A column as it was read.

    Args:
        values: One value per row.
        wrong: Positions of the rows whose value could not be used as it is.
        found: What the first of them was, for the message.
    """

    values: T_co
    wrong: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    found: str = ""


@dataclass(frozen=True)
class Categories:
    """A column of texts with few distinct values.

    Args:
        codes: Shape (n,), position in `values`; -1 where the row has none.
        values: The distinct texts, in order of appearance.
    """

    codes: NDArray[np.int32]
    values: tuple[str, ...]

    def texts(self, missing: str | None = None, rows: NDArray[np.int64] | None = None) -> NDArray[np.object_]:
        """The text of every row, or of some."""
        return np.array([*self.values, missing], dtype=object)[self.codes if rows is None else self.codes[rows]]


def is_scalar(value: object) -> bool:
    """Whether a value stands for every row of a batch rather than for one row each."""
    if value is None or isinstance(value, _SCALARS) or getattr(value, "ndim", 1) == 0:
        return True
    return not hasattr(value, "__len__") and not hasattr(value, "__iter__")


def as_column(value: object) -> NDArray[Any] | list[Any]:
    """One value per row, as an array or a list, whatever library the column came from."""
    if isinstance(value, (np.ndarray, list)):
        return value
    if hasattr(value, "to_numpy"):
        return _with_nulls(_to_numpy(value), value)
    if hasattr(value, "__array__"):
        return np.asarray(value)
    return list(value) if isinstance(value, Iterable) else [value]


def _to_numpy(value: Any) -> NDArray[Any]:  # noqa: ANN401  # a column of any library
    try:
        return np.asarray(value.to_numpy())
    except (TypeError, ValueError):  # PyArrow refuses to copy unless it is asked to
        return np.asarray(value.to_numpy(zero_copy_only=False))


def _with_nulls(array: NDArray[Any], value: Any) -> NDArray[Any]:  # noqa: ANN401  # a column of any library
    """Keep nulls apart from NaN, where the library does; conversion to numpy makes both NaN."""
    nullable = type(getattr(getattr(value, "dtype", None), "na_value", None)).__name__ in _MISSING_TYPES
    is_null = getattr(value, "isna" if nullable else "is_null", None)
    if array.dtype.kind != "f" or is_null is None:
        return array
    nulls = _to_numpy(is_null()).astype(np.bool_)
    if not nulls.any():
        return array
    kept = array.astype(np.object_)
    kept[nulls] = None
    return kept


def read_numbers(column: NDArray[Any] | list[Any]) -> Read[NDArray[np.float64]]:
    """Read real numbers; NaN is a missing value, booleans are 0 and 1."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub" and column.ndim == 1:
        return Read(column.astype(np.float64))
    if isinstance(column, list) and set(map(type, column)) <= _PLAIN_NUMBERS:
        try:
            return Read(np.array(column, dtype=np.float64))
        except OverflowError:  # an int beyond the range of a float
            pass
    return _read_each(column, _number, np.float64, math.nan)


def read_booleans(column: NDArray[Any] | list[Any]) -> Read[NDArray[Any]]:
    """Read booleans, or numbers that are 0 or 1: a bool array, or 0.0, 1.0 and NaN where some are missing."""
    if isinstance(column, np.ndarray) and column.dtype.kind == "b" and column.ndim == 1:
        return Read(column.copy())
    read = read_numbers(column)
    odd = np.flatnonzero(~np.isnan(read.values) & (read.values != 0) & (read.values != 1))
    found = read.found or (f"the number {float(read.values[odd[0]])!r}" if len(odd) else "")
    read.values[odd] = math.nan
    values = read.values if np.isnan(read.values).any() else read.values.astype(np.bool_)
    return Read(values, np.union1d(read.wrong, odd), found)


def read_texts(column: NDArray[Any] | list[Any]) -> Read[NDArray[np.object_]]:
    """Read texts; an empty text is a missing value, a long one is cut, invalid Unicode is replaced."""
    read = read_categories(column)
    return Read(read.values.texts(), read.wrong, read.found)


def read_categories(column: NDArray[Any] | list[Any]) -> Read[Categories]:
    """Read texts that repeat, looking at each distinct one once."""
    values = column.tolist() if isinstance(column, np.ndarray) else column
    try:
        distinct = dict.fromkeys(values)
    except TypeError:  # something that cannot be hashed is no text
        values = [value if value is None or isinstance(value, str) else _UNHASHABLE for value in values]
        distinct = dict.fromkeys(values)
    texts: dict[str, int] = {}
    codes: dict[Any, int] = {}
    odd: set[Any] = set()
    found = ""
    for value in distinct:
        text, problem = _text(value)
        codes[value] = texts.setdefault(text, len(texts)) if text else -1
        if problem:
            odd.add(value)
            found = found or problem
    wrong = [row for row, value in enumerate(values) if value in odd] if odd else []
    rows = np.fromiter(map(codes.__getitem__, values), dtype=np.int32, count=len(values))
    return Read(Categories(rows, tuple(texts)), np.array(wrong, dtype=np.int64), found)


def read_instants(column: NDArray[Any] | list[Any]) -> Read[NDArray[np.int64]]:
    """Read instants as microseconds of Unix time; `NO_INSTANT` where there is none. datetime64 is UTC by definition."""
    if isinstance(column, np.ndarray) and column.dtype.kind == "M" and column.ndim == 1:
        microseconds = column.astype("datetime64[us]").astype(np.int64)
        odd = np.flatnonzero((microseconds < 0) | (microseconds >= _LAST_US))
        microseconds[odd] = NO_INSTANT
        return Read(microseconds, odd, _OUT_OF_RANGE if len(odd) else "")
    return _read_each(column, _instant, np.int64, NO_INSTANT)


def read_instant(value: object) -> tuple[int, str]:
    """Read one instant: microseconds of Unix time, or `NO_INSTANT` and what was wrong with it."""
    microseconds, problem = _instant(value)
    return (NO_INSTANT if microseconds is None else microseconds), problem


def read_ids(column: NDArray[Any] | list[Any]) -> Read[NDArray[np.object_]]:
    """Read ids that the caller gave; None where one cannot be used, because a changed id would meet no label."""
    values = column.tolist() if isinstance(column, np.ndarray) else column
    return _read_each(values, read_id, np.object_, None)


def read_id(value: Any) -> tuple[str | None, str]:  # anything may be in a column  # noqa: ANN401  # anything may be passed
    """Read one id: the text, or None and what was wrong with it."""
    text, problem = _text(value)
    return (None, problem or "no id") if problem or not text else (text, "")


def are_given(column: NDArray[Any] | list[Any]) -> NDArray[np.bool_]:
    """Shape (n,): where a value stands, be it NaN; False for None and its kin."""
    if isinstance(column, np.ndarray) and column.dtype.kind != "O":
        return np.ones(len(column), dtype=np.bool_)
    missing = {kind for kind in set(map(type, column)) if kind is type(None) or kind.__name__ in _MISSING_TYPES}
    if not missing:
        return np.ones(len(column), dtype=np.bool_)
    return np.fromiter((type(value) not in missing for value in column), dtype=np.bool_, count=len(column))


def read_vectors(column: NDArray[Any] | list[Any]) -> Read[NDArray[np.object_]]:
    """Read one array of numbers per row (a score per class); None where a row has none."""
    return _read_each(list(column), _vector, np.object_, None)


def read_sets(column: NDArray[Any] | list[Any]) -> Read[NDArray[np.object_]]:
    """Read one set of names per row (the classes that were decided) as a text; a text holds them as `SET_BAR` says.

    >>> read_sets([["cat", "dog"], [], None]).values.tolist()
    ['|cat|dog|', '|', None]
    """
    return _read_each(list(column), _set, np.object_, None)


def _read_each(
    column: NDArray[Any] | list[Any], read: Callable[[Any], tuple[Any, str]], dtype: type[Any], missing: object
) -> Read[NDArray[Any]]:
    values = np.full(len(column), missing, dtype=dtype)
    wrong: list[int] = []
    found = ""
    for row, value in enumerate(column):
        good, problem = read(value)
        if problem:
            wrong.append(row)
            found = found or problem
        elif good is not None:
            values[row] = good
    return Read(values, np.array(wrong, dtype=np.int64), found)


def is_missing(value: object) -> bool:
    """Whether a value stands for none: None, NaN, and what pandas writes for them."""
    return value is None or type(value).__name__ in _MISSING_TYPES or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> tuple[float | None, str]:  # anything may be in a column  # noqa: ANN401  # anything may be passed
    if is_missing(value):
        return None, ""
    if isinstance(value, (str, bytes, complex)) or not hasattr(value, "__float__") or getattr(value, "ndim", None):
        return None, type(value).__name__
    try:
        return float(value), ""
    except (TypeError, ValueError, OverflowError):
        return None, type(value).__name__


def _text(value: Any) -> tuple[str, str]:  # anything may be in a column  # noqa: ANN401  # anything may be passed
    if is_missing(value):
        return "", ""
    if not isinstance(value, str):
        return "", "a value that cannot be hashed" if value is _UNHASHABLE else type(value).__name__
    text = str.__str__(value)[:MAX_TEXT]
    problem = f"a text of more than {MAX_TEXT} characters" if len(value) > MAX_TEXT else ""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode(), "text that is not valid Unicode"
    return text, problem


def _instant(value: Any) -> tuple[int | None, str]:  # anything may be in a column  # noqa: ANN401  # anything may be passed
    if is_missing(value) or (isinstance(value, np.datetime64) and np.isnat(value)):
        return None, "no instant"
    if isinstance(value, np.datetime64):
        microseconds = int(value.astype("datetime64[us]").astype(np.int64))
    elif isinstance(value, datetime):
        try:
            microseconds = to_us(value)
        except InstantError:
            return None, "a datetime without a time zone"
    else:
        return None, type(value).__name__
    in_range = 0 <= microseconds < _LAST_US
    return (microseconds, "") if in_range else (None, _OUT_OF_RANGE)


def _vector(value: Any) -> tuple[NDArray[np.float64] | None, str]:  # anything may be in a column  # noqa: ANN401  # anything may be passed
    if is_missing(value):
        return None, ""
    if isinstance(value, str) or getattr(value, "ndim", 1) != 1 or not hasattr(value, "__len__"):
        return None, type(value).__name__
    read = read_numbers(as_column(value))
    return (None, f"numbers with {read.found} among them") if len(read.wrong) else (read.values, "")


def _set(value: Any) -> tuple[str | None, str]:  # anything may be in a column  # noqa: ANN401  # anything may be passed
    if is_missing(value):
        return None, ""
    if isinstance(value, str):
        value = [name for name in value.split(SET_BAR) if name.strip()] if SET_BAR in value else [value]
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        return None, type(value).__name__
    names = [_text(name) for name in value]
    if any(problem or not name or SET_BAR in name for name, problem in names):
        return None, "a set of something else than names"
    return "".join(f"{SET_BAR}{name}" for name, _ in names) + SET_BAR, ""
