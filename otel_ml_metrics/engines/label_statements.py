"""Labels as they lie in files, read into (prediction_id, received_us, revision, label) or told apart as invalid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.engines.text import name_sql, text_sql
from otel_ml_metrics.errors import EngineError, LabelSourceError, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_ml_metrics.declared import LabelFiles
    from otel_ml_metrics.engines.port import Engine

_ZONED: Final = r"'[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)? *(Z|z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)$'"
_ZONED_TYPES: Final = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")
_NAIVE_TYPES: Final = ("TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "DATE")


@dataclass(frozen=True)
class Stretch:
    """Files of which the same stretch of time is to be read.

    Args:
        paths: The files.
        form: parquet or csv.
        after_us: Facts received up to here were taken before; None where the files are new.
    """

    paths: tuple[str, ...]
    form: str
    after_us: int | None


def read_labels(
    engine: Engine, stretches: Sequence[Stretch], source: LabelFiles, *, kind: str, classes: Sequence[str] = ()
) -> dict[str, int | None]:
    """Materialise `raw_labels`: every row of the files, read as far as it can be.

    Its columns are filename, prediction_id, received_us, revision, label, problem (NULL for a good row), and is_open:
    whether the row was not taken before.

    Returns:
        When the last label of each file was received; None where no row says.

    Raises:
        LabelSourceError: A file cannot be read, misses a column, or has instants without a zone.
    """
    label = (kind, classes)
    selects = [
        _select(engine, alike, types, source, label)
        for stretch in stretches
        for alike, types in _alike(engine, stretch)
    ]
    try:
        engine.materialise("raw_labels", " UNION ALL ".join(selects))
    except EngineError as error:
        paths = ", ".join(path for stretch in stretches for path in stretch.paths)
        message = f"The label files cannot be read: {str(error).splitlines()[0]}. Mend or remove that one of {paths}."
        raise LabelSourceError(message) from error
    files = engine.sql(
        "SELECT filename, max(received_us) AS last_us, count(*) = count(*) FILTER (problem = 'no time zone')"
        " AS is_naive FROM raw_labels GROUP BY filename ORDER BY filename"
    ).to_pylist()
    for file in files:
        if file["is_naive"]:
            raise _no_zone(file["filename"], source.received_at)
    return {file["filename"]: file["last_us"] for file in files}


def _alike(engine: Engine, stretch: Stretch) -> list[tuple[Stretch, dict[str, str]]]:
    """Part files by their columns and types: read together, the engine would fill up and convert what differs."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for path in stretch.paths:
        types = _types(engine, stretch, path)
        groups.setdefault(tuple(sorted(types.items())), []).append(path)
    return [(replace(stretch, paths=tuple(paths)), dict(types)) for types, paths in groups.items()]


def _select(
    engine: Engine, stretch: Stretch, types: dict[str, str], source: LabelFiles, wanted_label: tuple[str, Sequence[str]]
) -> str:
    scan = engine.scan(stretch.paths, form=stretch.form)
    wanted = [source.id, source.label, source.received_at, *([source.revision] if source.revision else [])]
    for column in wanted:
        if column not in types:
            message = f"The label file {stretch.paths[0]} has no column {column!r}. {suggest(column, types)}"
            raise LabelSourceError(message)
    identity = _identity_sql(f"CAST({name_sql(source.id)} AS VARCHAR)")
    received = _received_sql(stretch, source, types[source.received_at])
    label = _label_sql(name_sql(source.label), types[source.label], *wanted_label)
    revision = (
        f"coalesce(TRY_CAST({name_sql(source.revision)} AS BIGINT), 0)" if source.revision else "CAST(0 AS BIGINT)"
    )
    naive = _is_naive_sql(source, types[source.received_at])
    is_open = "TRUE" if stretch.after_us is None else f"coalesce(received_us > {stretch.after_us}, FALSE)"
    return (
        f"SELECT filename, prediction_id, received_us, revision, label, {is_open} AS is_open,"
        " CASE WHEN prediction_id IS NULL THEN 'no prediction id' WHEN is_naive THEN 'no time zone'"
        " WHEN received_us IS NULL THEN 'no instant' WHEN label IS NULL THEN 'no usable label' END AS problem"
        f" FROM (SELECT filename, {identity} AS prediction_id, {received} AS received_us, {revision} AS revision,"
        f" {label} AS label, {naive} AS is_naive FROM {scan})"
    )


def _identity_sql(text: str) -> str:
    """An id without the spaces around it, NULL if nothing is left; `trim` is slow, so it sees only what may need it."""
    may_need_it = f"starts_with({text}, ' ') OR ends_with({text}, ' ') OR strlen({text}) <> length({text})"
    return f"nullif(CASE WHEN {may_need_it} THEN trim({text}) ELSE {text} END, '')"


def _types(engine: Engine, stretch: Stretch, path: str) -> dict[str, str]:
    try:
        rows = engine.sql(f"DESCRIBE SELECT * FROM {engine.scan([path], form=stretch.form)}").to_pylist()
    except EngineError as error:
        message = (
            f"The label file {path} cannot be read as {stretch.form}: {str(error).splitlines()[0]}. If it is still"
            " being written, write it aside and rename it when it is whole; else remove it."
        )
        raise LabelSourceError(message) from error
    return {row["column_name"]: row["column_type"] for row in rows if row["column_name"] != "filename"}


def _received_sql(stretch: Stretch, source: LabelFiles, found: str) -> str:
    column = name_sql(source.received_at)
    if found in _ZONED_TYPES:
        return f"epoch_us(CAST({column} AS TIMESTAMPTZ))"
    if found in _NAIVE_TYPES:
        if source.zone is None:
            raise _no_zone(stretch.paths[0], source.received_at)
        return _in_zone(f"CAST({column} AS TIMESTAMP)", source.zone)
    if found == "VARCHAR":
        zoned = f"epoch_us(TRY_CAST({column} AS TIMESTAMPTZ))"
        naive = "NULL" if source.zone is None else _in_zone(f"TRY_CAST({column} AS TIMESTAMP)", source.zone)
        return f"CASE WHEN regexp_matches(trim({column}), {_ZONED}) THEN {zoned} ELSE {naive} END"
    message = (
        f"The column {source.received_at!r} of {stretch.paths[0]} has the type {found}; expected an instant:"
        " a timestamp"
        " with its zone, or ISO 8601 text."
    )
    raise LabelSourceError(message)


def _in_zone(timestamp: str, zone: str) -> str:
    return f"epoch_us(timezone({text_sql(zone)}, {timestamp}))"


def _is_naive_sql(source: LabelFiles, found: str) -> str:
    if found != "VARCHAR" or source.zone is not None:
        return "FALSE"
    column = name_sql(source.received_at)
    return f"(TRY_CAST({column} AS TIMESTAMP) IS NOT NULL AND NOT regexp_matches(trim({column}), {_ZONED}))"


def _no_zone(path: str, column: str) -> LabelSourceError:
    message = (
        f"The instants in column {column!r} of {path} have no time zone. Say which it is under labels:, such"
        " as zone: UTC,"
        " or write them with their zone."
    )
    return LabelSourceError(message)


def _label_sql(column: str, found: str, kind: str, classes: Sequence[str]) -> str:
    if kind == "string":
        text = f"trim(CAST({column} AS VARCHAR))"
        return f"CASE WHEN {text} IN ({', '.join(map(text_sql, classes))}) THEN {text} END"
    if kind == "number":
        number = f"TRY_CAST({column} AS DOUBLE)"
        return f"CASE WHEN abs({number}) <= 1.7976931348623157e308 THEN {number} END"
    if found == "BOOLEAN":
        return column
    number = f"TRY_CAST({column} AS DOUBLE)"
    text = f"lower(trim(CAST({column} AS VARCHAR)))"
    words = (
        ""
        if found != "VARCHAR"
        else f" WHEN {text} IN ('true', 't', 'yes') THEN TRUE WHEN {text} IN ('false', 'f', 'no') THEN FALSE"
    )
    return f"CASE{words} WHEN {number} = 1 THEN TRUE WHEN {number} = 0 THEN FALSE END"
