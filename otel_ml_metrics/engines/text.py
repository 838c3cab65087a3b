"""Names and texts as SQL, quoted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def entity_sql(parts: Iterable[tuple[str, str]]) -> str:
    """The name of an entity from the columns that name it, with their types; NULL where one of them is.

    A whole number says the same whether it was written as an integer or as a float.

    >>> entity_sql([("customer", "BIGINT"), ("country", "VARCHAR")])
    'CAST("customer" AS VARCHAR) || chr(31) || CAST("country" AS VARCHAR)'
    """
    return " || chr(31) || ".join(_part_sql(name_sql(name), found) for name, found in parts)


def _part_sql(column: str, found: str) -> str:
    if found not in _FLOATS:
        return f"CAST({column} AS VARCHAR)"
    return (
        f"CASE WHEN {column} = floor({column}) AND abs({column}) < 1e15 THEN CAST(CAST({column} AS BIGINT) AS VARCHAR)"
        f" ELSE CAST({column} AS VARCHAR) END"
    )
