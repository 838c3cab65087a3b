"""Predictions as they lie in segments, read into one relation; and the rows among them that repeat an id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.attribution.dates import id_range
from otel_ml_metrics.attribution.portions import CARRIED, ROW_COLUMN, SEGMENT_COLUMN
from otel_ml_metrics.attribution.tables import values
from otel_ml_metrics.engines.text import entity_sql, finite_sql, name_sql, sampled_sql, text_sql
from otel_ml_metrics.engines.value_statements import set_sql
from otel_ml_metrics.errors import ConfigurationError, EngineError, LogError, suggest
from otel_ml_metrics.measures.bootstrap import ID_GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_ml_metrics.attribution.portions import Portion
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.engines.port import Engine

_SQL_TYPES: Final = {"boolean": "BOOLEAN", "number": "DOUBLE", "string": "VARCHAR"}
_ELEMENT: Final = re.compile(r"score\[([0-9]+)\]")  # as `measures.multiclass.score_column` names them
_OURS: Final = frozenset({"label", "score_bin", ID_GROUP})


@dataclass(frozen=True)
class RowColumns:
    """What a joined row carries besides its id and instant.

    Args:
        slices: Fields whose values are slices.
        kinds: Kind of each column that a measure needs.
        by: Which of version and variant split values.
        keys: Fields that name the entity, where labels are an entity's; their name is in `_entity` then.
        sample: Share of the rows that is read.
        sets_of: Classes of which decisions are sets; none where they are none.
    """

    slices: tuple[str, ...]
    kinds: Mapping[str, str]
    by: tuple[str, ...]
    keys: tuple[str, ...] = ()
    sample: float = 1.0
    sets_of: tuple[str, ...] = ()

    @classmethod
    def of(cls, evaluation: Evaluation) -> RowColumns:
        """What an evaluation needs."""
        kinds = {name: kind for name, kind in evaluation.kinds.items() if name in evaluation.columns - _OURS}
        keys = tuple(field for _, field in evaluation.labels.keys)
        is_sampled = evaluation.foreign is not None and not keys  # when it was taken over
        sample = 1.0 if is_sampled else evaluation.sample
        sets_of = evaluation.classes if evaluation.label_kind == "set" else ()
        return cls(evaluation.slice_fields, kinds, evaluation.by, keys, sample, sets_of)

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
        if name not in known and not _ELEMENT.fullmatch(name):
            where = "slices" if name in columns.slices else "measures" if name in columns.kinds else "labels.key"
            message = f"no segment of the prediction log has the field {name!r}. {suggest(name, known)}"
            raise ConfigurationError(message, where)


def logged_types(engine: Engine, paths: Sequence[str]) -> dict[str, str]:
    """Type of each column that the segments have together.

    Raises:
        LogError: A segment cannot be read.
    """
    try:
        types = engine.types(engine.scan(paths, form="parquet"))
    except EngineError as error:
        message = f"The prediction log cannot be read: {str(error).splitlines()[0]}. Remove or mend that segment."
        raise LogError(message) from error
    ours = {"filename", "file_row_number", *CARRIED}
    return {name: found for name, found in types.items() if name not in ours}


def define_rows(
    engine: Engine, name: str, portions: Sequence[Portion], columns: RowColumns, *, without_lost: bool
) -> None:
    """Define a relation of rows: prediction_id, _predicted_us, _segment, _row and the columns of the evaluation.

    Args:
        engine: Where.
        name: Of the relation.
        portions: Files with segments; none gives an empty relation of the same columns.
        columns: What a row carries.
        without_lost: Whether the rows in `lost` are left out.
    """
    engine.define(name, _rows_sql(engine, portions, columns, without_lost=without_lost))


def _rows_sql(engine: Engine, portions: Sequence[Portion], columns: RowColumns, *, without_lost: bool) -> str:
    paths = [portion.path for portion in portions]
    types = logged_types(engine, paths) if paths else {}
    selected = {
        "prediction_id": "prediction_id" if paths else "CAST(NULL AS VARCHAR)",
        "_predicted_us": "epoch_us(CAST(predicted_at AS TIMESTAMPTZ))" if paths else "CAST(NULL AS BIGINT)",
        "_segment": _segment_sql(portions) if paths else "CAST(NULL AS VARCHAR)",
        "_row": _row_sql(portions) if paths else "CAST(NULL AS BIGINT)",
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
            source = f"TRY_CAST({_source_sql(name, types, columns.sets_of)} AS {_SQL_TYPES[kind]})"
            selected[name] = finite_sql(source) if kind == "number" else source
    if columns.keys:
        named = [(name, types[name]) for name in columns.keys if name in types]
        selected["_entity"] = entity_sql(named) if len(named) == len(columns.keys) else "CAST(NULL AS VARCHAR)"
    listed = ", ".join(f"{expression} AS {name_sql(name)}" for name, expression in selected.items())
    if not paths:
        return f"SELECT {listed} WHERE FALSE"
    rows = f"SELECT {listed} FROM {engine.scan(paths, form='parquet')} WHERE {_chosen_sql(portions)}"
    rows = f"SELECT * FROM ({rows}) AS kept WHERE {_sampled_sql(columns)}" if columns.sample < 1 else rows
    if not without_lost:
        return rows
    return (
        f"SELECT * FROM ({rows}) AS logged WHERE NOT EXISTS"
        " (SELECT 1 FROM lost WHERE lost.segment = logged._segment AND lost.row = logged._row)"
    )


def _segment_sql(portions: Sequence[Portion]) -> str:
    """The segment of a row: a compacted file carries it, else the file is the segment."""
    name = "parse_filename(filename)"
    return f"coalesce({SEGMENT_COLUMN}, {name})" if _carry(portions) else name


def _row_sql(portions: Sequence[Portion]) -> str:
    return f"coalesce({ROW_COLUMN}, file_row_number)" if _carry(portions) else "file_row_number"


def _carry(portions: Sequence[Portion]) -> bool:
    return any(portion.is_compacted for portion in portions)


def _chosen_sql(portions: Sequence[Portion]) -> str:
    """The condition of the rows that are meant, where a compacted file holds others as well."""
    parts = []
    for portion in portions:
        if portion.only is not None:
            file, names = text_sql(portion.path.rpartition("/")[2]), ", ".join(map(text_sql, portion.only))
            parts.append(f"(parse_filename(filename) <> {file} OR {SEGMENT_COLUMN} IN ({names}))")
    return " AND ".join(parts) or "TRUE"


def _sampled_sql(columns: RowColumns) -> str:
    """Whether a row is in the sample: by its id, or by the entity that labels name, so that they keep together."""
    return sampled_sql("coalesce(_entity, prediction_id)" if columns.keys else "prediction_id", columns.sample)


def _source_sql(name: str, types: Mapping[str, str], sets_of: Sequence[str]) -> str:
    """A column of the log, or a part of the vector of scores; NULL where the segments do not have it."""
    if name == "prediction" and sets_of and name in types:
        return set_sql(name_sql(name), types[name], sets_of)
    place = _ELEMENT.fullmatch(name)
    if place:
        return f"score[{int(place[1]) + 1}]" if types.get("score", "").endswith("[]") else "NULL"
    return name_sql(name) if name in types else "NULL"


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


def foreign_segments(engine: Engine, dated: Mapping[str, Sequence[Portion]]) -> set[str]:
    """Name the segments that have ids which do not tell their date.

    The bounds of a date are literals: the statistics of a file usually say that nothing in it is beyond them.

    Args:
        engine: Reads them.
        dated: Files with segments by the date of their predictions.
    """
    parts = []
    for date, portions in dated.items():
        first, last = map(text_sql, id_range(date))
        parts.append(
            f"SELECT DISTINCT {_segment_sql(portions)} AS segment"
            f" FROM {engine.scan([portion.path for portion in portions], form='parquet')}"
            f" WHERE (prediction_id < {first} OR prediction_id >= {last}) AND {_chosen_sql(portions)}"
        )
    query = " UNION ALL ".join(parts)
    return set(values(engine.sql(query), "segment"))
