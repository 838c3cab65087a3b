"""Names and texts as SQL, quoted."""

from __future__ import annotations


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
