"""Values as somebody else wrote them, as SQL: instants of any type, and what says yes or no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics.engines.text import finite_sql, name_sql, text_sql

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ZONED: Final = r"'[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)? *(Z|z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)$'"
_ZONED_TYPES: Final = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")
_NAIVE_TYPES: Final = ("TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "DATE")


def instant_sql(name: str, found: str, zone: str | None, *, shown: str, refusal: Callable[[str], Exception]) -> str:
    """SQL of the microseconds of Unix time that a column names; NULL where a text names none.

    Args:
        name: The column.
        found: Its type.
        zone: IANA zone of instants that name none; None if there must not be any.
        shown: Where the column is, for messages.
        refusal: Makes the error from its message.

    Raises:
        Exception: What `refusal` makes: the column has no instants, or they have no zone.
    """
    column = name_sql(name)
    if found in _ZONED_TYPES:
        return f"epoch_us(CAST({column} AS TIMESTAMPTZ))"
    if found in _NAIVE_TYPES:
        if zone is None:
            raise refusal(no_zone(shown, name))
        return _in_zone(f"CAST({column} AS TIMESTAMP)", zone)
    if found == "VARCHAR":
        zoned = f"epoch_us(TRY_CAST({column} AS TIMESTAMPTZ))"
        naive = "NULL" if zone is None else _in_zone(f"TRY_CAST({column} AS TIMESTAMP)", zone)
        return f"CASE WHEN regexp_matches(trim({column}), {_ZONED}) THEN {zoned} ELSE {naive} END"
    message = (
        f"The column {name!r} of {shown} has the type {found}; expected an instant: a timestamp with its zone, or"
        " ISO 8601 text."
    )
    raise refusal(message)


def zoneless_sql(name: str, found: str, zone: str | None) -> str:
    """SQL: whether a value is an instant that lacks a zone, which none was declared to have."""
    if found != "VARCHAR" or zone is not None:
        return "FALSE"
    column = name_sql(name)
    return f"(TRY_CAST({column} AS TIMESTAMP) IS NOT NULL AND NOT regexp_matches(trim({column}), {_ZONED}))"


def no_zone(shown: str, column: str) -> str:
    """What to say of instants without a zone."""
    return (
        f"The instants in column {column!r} of {shown} have no time zone. Say which it is, such as zone: UTC, or write"
        " them with their zone."
    )


def truth_sql(name: str, found: str) -> str:
    """SQL of a boolean: a number that is 1 or 0, or a word; NULL for anything else."""
    column = name_sql(name)
    if found == "BOOLEAN":
        return column
    number = finite_sql(f"TRY_CAST({column} AS DOUBLE)")
    text = f"lower(trim(CAST({column} AS VARCHAR)))"
    words = (
        ""
        if found != "VARCHAR"
        else f" WHEN {text} IN ('true', 't', 'yes') THEN TRUE WHEN {text} IN ('false', 'f', 'no') THEN FALSE"
    )
    return f"CASE{words} WHEN {number} = 1 THEN TRUE WHEN {number} = 0 THEN FALSE END"


def set_sql(column: str, found: str, names: Sequence[str]) -> str:
    """SQL of a set of names as a number, 2^k for the name at place k; NULL for anything else, or with another name.

    Args:
        column: SQL of a list of texts, or of one text with bars between the names and maybe around them.
        found: Its type.
        names: What a set may hold.
    """
    is_list = found.endswith("[]")
    joined = f"CASE WHEN {column} IS NOT NULL THEN coalesce(array_to_string({column}, '|'), '') END"
    text = joined if is_list else f"nullif(trim(CAST({column} AS VARCHAR)), '')"
    spaced = f"regexp_replace('|' || {text} || '|', ' *[|] *', '||', 'g')"  # a bar of its own on either side of a name
    rest = spaced
    for name in names:
        rest = f"replace({rest}, {text_sql(f'|{name}|')}, '')"
    worth = " + ".join(
        f"CASE WHEN strpos({spaced}, {text_sql(f'|{name}|')}) > 0 THEN {2.0**at!r} ELSE 0 END"
        for at, name in enumerate(names)
    )
    return f"CASE WHEN trim({rest}, '|') = '' THEN {worth} END"


def _in_zone(timestamp: str, zone: str) -> str:
    return f"epoch_us(timezone({text_sql(zone)}, {timestamp}))"
