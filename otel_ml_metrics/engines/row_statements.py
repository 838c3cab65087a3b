"""Predictions as they lie in segments, read into one relation; and the rows among them that repeat an id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.attribution.dates import id_range
from otel_ml_metrics.attribution.tables import values
from otel_ml_metrics.engines.text import entity_sql, finite_sql, name_sql, text_sql
from otel_ml_metrics.errors import ConfigurationError, EngineError, LogError, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.engines.port import Engine

_SQL_TYPES: Final = {"boolean": "BOOLEAN", "number": "DOUBLE", "string": "VARCHAR"}
_OURS: Final = frozenset({"label", "score_bin"})


@dataclass(frozen=True)
class RowColumns:
    """What a joined row carries besides its id and instant.

    Args:
        slices: Fields whose values are slices.
        kinds: Kind of each column that a measure needs.
        by: Which of version and variant split values.
        keys: Fields that name the entity, where labels are an entity's; their name is in `_entity` then.
    """

    slices: tuple[str, ...]
    kinds: Mapping[str, str]
    by: tuple[str, ...]
    keys: tuple[str, ...] = ()

    @classmethod
    def of(cls, evaluation: Evaluation) -> RowColumns:
        """What an evaluation needs."""
        needed = {column for measure in evaluation.measures for column in measure.columns()}
        kinds = {name: kind for name, kind in evaluation.kinds.items() if name in needed - _OURS}
        return cls(evaluation.slice_fields, kinds, evaluation.by, tuple(field for _, field in evaluation.labels.keys))

    @property
    def names(self) -> tuple[str, ...]:
        """Every column besides prediction_id and _predicted_us."""
        measured = [name for name in self.kinds if name not in self.slices]
        return ("output", "version", "variant", *self.slices, "score_bin", *measured)


def check_fields(engine: Engine, paths: Sequence[str], columns: RowColumns) -> None:
    """See that the log has every field that the evaluation names.

    Raises:
        ConfigurationError: No segment has it; names those that would work.
        LogError: A segment cannot be read.
    """
    known = logged_types(engine, paths)
    for name in (*columns.slices, *columns.kinds, *columns.keys):
        if name not in known:
            where = "slices" if name in columns.slices else "measures" if name in columns.kinds else "labels.key"
            message = f"no segment of the prediction log has the field {name!r}. {suggest(name, known)}"
            raise ConfigurationError(message, where)


def logged_types(engine: Engine, paths: Sequence[str]) -> dict[str, str]:
    """Type of each column that the segments have together.

    Raises:
        LogError: A segment cannot be read.
    """
    try:
        rows = engine.sql(f"DESCRIBE SELECT * FROM {engine.scan(paths, form='parquet')}").to_pylist()
    except EngineError as error:
        message = f"The prediction log cannot be read: {str(error).splitlines()[0]}. Remove or mend that segment."
        raise LogError(message) from error
    ours = {"filename", "file_row_number"}
    return {row["column_name"]: row["column_type"] for row in rows if row["column_name"] not in ours}


def define_rows(engine: Engine, name: str, paths: Sequence[str], columns: RowColumns, *, without_lost: bool) -> None:
    """Define a relation of rows: prediction_id, _predicted_us, _segment, _row and the columns of the evaluation.

    Args:
        engine: Where.
        name: Of the relation.
        paths: Segments; none gives an empty relation of the same columns.
        columns: What a row carries.
        without_lost: Whether the rows in `lost` are left out.
    """
    engine.define(name, _rows_sql(engine, paths, columns, without_lost=without_lost))


def _rows_sql(engine: Engine, paths: Sequence[str], columns: RowColumns, *, without_lost: bool) -> str:
    types = logged_types(engine, paths) if paths else {}
    selected = {
        "prediction_id": "prediction_id" if paths else "CAST(NULL AS VARCHAR)",
        "_predicted_us": "epoch_us(CAST(predicted_at AS TIMESTAMPTZ))" if paths else "CAST(NULL AS BIGINT)",
        "_segment": "parse_filename(filename)" if paths else "CAST(NULL AS VARCHAR)",
        "_row": "file_row_number" if paths else "CAST(NULL AS BIGINT)",
    }
    for name in ("output", "version", "variant"):
        is_split = name == "output" or name in columns.by
        selected[name] = f"coalesce(CAST({name_sql(name)} AS VARCHAR), '')" if is_split and name in types else "''"
    for name in columns.slices:
        text = f"CAST({name_sql(name)} AS VARCHAR)" if name in types else "NULL"
        selected[name] = f"coalesce({text}, '(missing)')"
    selected["score_bin"] = "CAST(score_bin AS SMALLINT)" if "score_bin" in types else "CAST(NULL AS SMALLINT)"
    for name, kind in columns.kinds.items():
        if name not in columns.slices:
            source = f"TRY_CAST({name_sql(name) if name in types else 'NULL'} AS {_SQL_TYPES[kind]})"
            selected[name] = finite_sql(source) if kind == "number" else source
    if columns.keys:
        named = [(name, types[name]) for name in columns.keys if name in types]
        selected["_entity"] = entity_sql(named) if len(named) == len(columns.keys) else "CAST(NULL AS VARCHAR)"
    listed = ", ".join(f"{expression} AS {name_sql(name)}" for name, expression in selected.items())
    if not paths:
        return f"SELECT {listed} WHERE FALSE"
    rows = f"SELECT {listed} FROM {engine.scan(paths, form='parquet')}"
    if not without_lost:
        return rows
    return (
        f"SELECT * FROM ({rows}) AS logged WHERE NOT EXISTS"
        " (SELECT 1 FROM lost WHERE lost.segment = logged._segment AND lost.row = logged._row)"
    )


def repeated_rows(engine: Engine, *, has_old: bool) -> int:
    """Materialise `contenders`: every row of `new_rows` and `old_rows` whose id is there twice, and its place.

    The smallest (_predicted_us, _segment, _row) of an id comes first and wins, whatever was logged or found first.

    Args:
        engine: Where.
        has_old: Whether `old_rows` has rows; looking for ids among them reads the new ones once more.

    Returns:
        How many rows lose.
    """
    rows = "SELECT prediction_id FROM new_rows" + (" UNION ALL SELECT prediction_id FROM old_rows" if has_old else "")
    if not engine.may_repeat("prediction_id", rows):
        return 0
    repeated = "SELECT prediction_id FROM new_rows GROUP BY prediction_id HAVING count(*) > 1"
    if has_old:
        old = "SELECT prediction_id FROM old_rows"
        repeated += f" UNION SELECT DISTINCT prediction_id FROM new_rows WHERE prediction_id IN ({old})"
    if not engine.materialise("repeated", repeated):
        return 0  # only rows that lost before repeat, or two ids have the same hash
    engine.materialise(
        "contenders",
        "SELECT *, row_number() OVER (PARTITION BY prediction_id ORDER BY _predicted_us, _segment, _row) AS place"
        " FROM ("
        "SELECT prediction_id, _predicted_us, _segment, _row, TRUE AS _is_new FROM new_rows"
        " WHERE prediction_id IN (SELECT prediction_id FROM repeated)"
        " UNION ALL SELECT prediction_id, _predicted_us, _segment, _row, FALSE AS _is_new FROM old_rows"
        " WHERE prediction_id IN (SELECT prediction_id FROM repeated))",
    )
    return int(engine.sql("SELECT count(*) AS losing FROM contenders WHERE place > 1").column("losing")[0].as_py())


def foreign_segments(engine: Engine, dated: Mapping[str, Sequence[str]]) -> set[str]:
    """Name the segments that have ids which do not tell their date.

    The bounds of a date are literals: the statistics of a file usually say that nothing in it is beyond them.

    Args:
        engine: Reads them.
        dated: Paths of segments by the date of their predictions.
    """
    parts = []
    for date, paths in dated.items():
        first, last = map(text_sql, id_range(date))
        parts.append(
            f"SELECT DISTINCT parse_filename(filename) AS segment FROM {engine.scan(paths, form='parquet')}"
            f" WHERE prediction_id < {first} OR prediction_id >= {last}"
        )
    query = " UNION ALL ".join(parts)
    return set(values(engine.sql(query), "segment"))
