"""Names and texts as SQL, quoted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_DIGITS: Final = 8
_FLOATS: Final = ("DOUBLE", "FLOAT", "REAL")


def text_sql(value: str) -> str:
    """A text as an SQL literal.

    >>> text_sql("O'Hare")
    "'O''Hare'"
    """
    return "'" + value.replace("'", "''") + "'"


def name_sql(name: str) -> str:
    """The name of a column.

    >>> name_sql("fare")
    '"fare"'
    """
    return '"' + name.replace('"', '""') + '"'


def sampled_sql(name: str, share: float) -> str:
    """Whether a name is in a sample: the leading digits of its MD5 digest are below a bound, on every engine alike.

    >>> sampled_sql("prediction_id", 0.1)
    "substr(md5(prediction_id), 1, 8) < '1999999a'"
    """
    bound = round(share * 16**_DIGITS)
    return f"substr(md5({name}), 1, {_DIGITS}) < '{bound:0{_DIGITS}x}'" if bound < 16**_DIGITS else "TRUE"


def entity_sql(parts: Iterable[tuple[str, str]]) -> str:
    """The name of an entity from the columns that name it, with their types; NULL where one is, or is NaN.

    A whole number says the same whether it was written as an integer or as a float.

    >>> entity_sql([("customer", "BIGINT"), ("country", "VARCHAR")])
    'CAST("customer" AS VARCHAR) || chr(31) || CAST("country" AS VARCHAR)'
    """
    return " || chr(31) || ".join(_part_sql(name_sql(name), found) for name, found in parts)


def finite_sql(number: str) -> str:
    """A number, or NULL where it is NaN or infinite.

    DuckDB concludes from the bounds that a Parquet file keeps of a column that every value lies between them, and takes
    comparisons and `isnan` for decided; but bounds leave NaN out. Of `isfinite` it concludes nothing.

    >>> finite_sql('"fare"')
    'CASE WHEN isfinite("fare") THEN "fare" END'
    """
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def _part_sql(column: str, found: str) -> str:
    if found not in _FLOATS:
        return f"CAST({column} AS VARCHAR)"
    finite = finite_sql(column)
    return (
        f"CASE WHEN {finite} = floor({finite}) AND abs({finite}) < 1e15 THEN CAST(CAST({finite} AS BIGINT) AS VARCHAR)"
        f" ELSE CAST({finite} AS VARCHAR) END"
    )
