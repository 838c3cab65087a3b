"""Rows of a foreign log become rows of ours: ids, instants and values as the evaluator reads them, and score bins."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from otel_ml_metrics.attribution.tables import values
from otel_ml_metrics.binning import SCHEME, logit_bins
from otel_ml_metrics.columns import SET_BAR
from otel_ml_metrics.declared_predictions import MAPPED
from otel_ml_metrics.engines.row_statements import RowColumns
from otel_ml_metrics.engines.text import entity_sql, name_sql, sampled_sql
from otel_ml_metrics.engines.value_statements import instant_sql, no_zone, truth_sql, zoneless_sql
from otel_ml_metrics.errors import ConfigurationError, LogError, suggest
from otel_ml_metrics.prediction_log import arrow
from otel_ml_metrics.prediction_log.layout import BINS_KEY, LEADING_COLUMNS, SCHEMA_KEY, SCHEMA_VERSION
from otel_ml_metrics.sources.values import as_one

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.declared_predictions import ForeignLog
    from otel_ml_metrics.engines.port import Engine

_END_US: Final = 253_402_300_800_000_000
"""10000-01-01: folders are named by four-digit years."""

_TYPES: Final = {
    "boolean": "BOOLEAN",
    "number": "DOUBLE",
    "string": "VARCHAR",
    "key": "VARCHAR",
    "set": "VARCHAR",
    "vector": "DOUBLE[]",
}
_ARROW: Final[dict[str, pa.DataType]] = {
    "boolean": arrow.BOOLEAN,
    "number": arrow.NUMBER,
    "string": arrow.TEXT,
    "key": arrow.TEXT,
    "set": arrow.TEXT,
    "vector": arrow.NUMBERS,
}
_EXPECTED: Final = {
    "vector": "one number per class",
    "key": "a part of a name",
    "set": "a list of classes, or a text with bars between them",
}
_REQUIRED: Final = frozenset({"prediction_id", "predicted_at"})
_METADATA: Final = {SCHEMA_KEY: SCHEMA_VERSION, BINS_KEY: SCHEME}


@dataclass(frozen=True)
class ForeignColumns:
    """Which columns of a foreign log are carried over, and as what.

    Args:
        foreign: The log.
        kinds: What each of our columns holds: boolean, number, string, part of a key, set, or vector of numbers.
        fields: Those of them that slices, measures or labels name, and where the settings do.
        share: Share of the ids that is kept.
    """

    foreign: ForeignLog
    kinds: Mapping[str, str]
    fields: Mapping[str, str]
    share: float = 1.0

    @classmethod
    def of(cls, evaluation: Evaluation, foreign: ForeignLog) -> ForeignColumns:
        """What an evaluation needs."""
        needed = RowColumns.of(evaluation)
        measured = {
            name.partition("[")[0]: kind for name, kind in needed.kinds.items()
        }  # a part of it means the vector
        fields = dict.fromkeys(measured, "measures") | dict.fromkeys(needed.slices, "slices")
        fields |= dict.fromkeys(needed.keys, "labels.key")
        kinds: dict[str, str] = {**measured, **dict.fromkeys(needed.slices, "string")}
        kinds |= dict.fromkeys(needed.keys, "key")
        score = "vector" if evaluation.classes else "number"
        decided = "set" if evaluation.label_kind == "set" else evaluation.kinds["prediction"]
        ours = {"score": score, "prediction": decided}
        kinds |= ours | dict.fromkeys(("version", "variant", "output"), "string")
        return cls(foreign, kinds, fields, 1.0 if needed.keys else evaluation.sample)

    @property
    def names(self) -> dict[str, str]:
        """Their column of each of ours, be it there or not."""
        return {name: name for name in self.kinds} | self.foreign.mapped

    def wanted(self, available: AbstractSet[str]) -> list[str]:
        """Their columns that are read."""
        others = [theirs for theirs in self.names.values() if theirs in available]
        return list(dict.fromkeys((self.foreign.id, self.foreign.predicted_at, *others)))

    @property
    def carried(self) -> dict[str, str]:
        """What each field holds that slices, measures and labels name."""
        return {name: self.kinds[name] for name in self.fields}

    def going_on(self, carried: Mapping[str, str]) -> ForeignColumns:
        """The same, with what was carried over before: one day it may be needed again."""
        return replace(self, kinds={**self.kinds, **carried})

    def check(self, available: AbstractSet[str], shown: str) -> None:
        """See that what the settings name is there.

        Raises:
            LogError: It is not.
        """
        foreign = self.foreign
        for name, theirs in {"id": foreign.id, "predicted_at": foreign.predicted_at, **foreign.mapped}.items():
            if theirs not in available:
                message = f"{shown} has no column {theirs!r} for predictions.{name}. {suggest(theirs, available)}"
                raise LogError(message)

    def check_fields(self, available: AbstractSet[str], shown: str) -> None:
        """See that what slices, measures and labels name is there.

        Raises:
            ConfigurationError: It is not.
        """
        for name, where in self.fields.items():
            if self.names[name] not in available:
                known = suggest(self.names[name], available)
                hint = f" Name it, as in predictions: {{{name}: ...}}." if name in MAPPED else ""
                message = f"{shown} has no column {self.names[name]!r}.{hint} {known}"
                raise ConfigurationError(message, where)


@dataclass
class Converter:
    """Converts the rows of a foreign log.

    Args:
        engine: Reads values of any type.
        columns: What is carried over.
        shown: The log, for messages.
        left_out: Rows that cannot be used, by reason.
    """

    engine: Engine
    columns: ForeignColumns
    shown: str
    left_out: dict[str, int] = field(default_factory=dict)

    def convert(
        self,
        rows: pa.Table,
        available: AbstractSet[str],
        *,
        span_us: tuple[int | None, int] | None = None,
        without: str = "",
    ) -> pa.Table:
        """The rows as a segment has them, in the same order.

        Args:
            rows: Theirs.
            available: Names of their columns; those that these rows lack are NULL.
            span_us: Rows with an instant in (first, second] are wanted; None for all.
            without: A relation of ids to leave out.

        Raises:
            LogError: A column has values of another kind.
        """
        at: Any = pa.array(np.arange(len(rows)))
        self.engine.put("foreign_rows", as_one([rows]).append_column("_at", at))
        types = self.engine.types("foreign_rows")
        read = self.engine.sql(f"{self._sql(types, available)} WHERE {self._chosen(span_us, without)} ORDER BY _at")
        good = read.filter(pc.is_null(read.column("trouble")))
        if len(good) < len(read):
            self._note(values(read, "trouble"))
        return self._segment(good, [name for name in self.columns.kinds if name in good.column_names])

    def _note(self, troubles: Iterable[str | None]) -> None:
        for trouble, rows in Counter(troubles).items():
            if trouble == "no time zone":
                raise LogError(no_zone(self.shown, self.columns.foreign.predicted_at))
            if trouble is not None:
                self.left_out[trouble] = self.left_out.get(trouble, 0) + rows

    def _chosen(self, span_us: tuple[int | None, int] | None, without: str) -> str:
        """SQL: whether a row is wanted; one that names no prediction is, to be counted."""
        wanted = [f"(prediction_id IS NULL OR {sampled_sql('prediction_id', self.columns.share)})"]
        if span_us is not None:
            after_us, until_us = span_us
            wanted += [f"_predicted_us > {after_us}"] if after_us is not None else []
            wanted.append(f"_predicted_us <= {until_us}")
        if without:
            wanted.append(f"prediction_id NOT IN (SELECT prediction_id FROM {without})")
        return " AND ".join(wanted)

    def _sql(self, types: Mapping[str, str], available: AbstractSet[str]) -> str:
        foreign = self.columns.foreign
        at, zone = foreign.predicted_at, foreign.zone
        read = {
            "prediction_id": f"nullif({entity_sql([(foreign.id, types[foreign.id])])}, '')",
            "_predicted_us": instant_sql(at, types[at], zone, shown=self.shown, refusal=LogError),
            "_is_zoneless": zoneless_sql(at, types[at], zone),
        }
        for name, kind in self.columns.kinds.items():
            theirs = self.columns.names[name]
            if theirs in available:
                read[name] = self._value(theirs, types[theirs], kind) if theirs in types else f"NULL::{_TYPES[kind]}"
        listed = ", ".join(f"{sql} AS {name_sql(name)}" for name, sql in read.items())
        return (
            "SELECT * EXCLUDE (_at, _is_zoneless), CASE WHEN prediction_id IS NULL THEN 'no id' WHEN _is_zoneless THEN"
            f" 'no time zone' WHEN _predicted_us IS NULL OR _predicted_us < 0 OR _predicted_us >= {_END_US} THEN"
            f" 'no instant' END AS trouble FROM (SELECT _at, {listed} FROM foreign_rows) AS read"
        )

    def _value(self, name: str, found: str, kind: str) -> str:
        if kind == "set" and found == "VARCHAR[]":
            return f"'{SET_BAR}' || array_to_string({name_sql(name)}, '{SET_BAR}') || '{SET_BAR}'"
        if found.startswith(("STRUCT", "MAP", "UNION")) or found.endswith("]") is not (kind == "vector"):
            expected = _EXPECTED.get(kind, f"a {kind}")
            message = f"The column {name!r} of {self.shown} has the type {found}; expected {expected}."
            raise LogError(message)
        if kind == "boolean":
            return truth_sql(name, found)
        if kind == "key":
            return entity_sql([(name, found)])
        return f"TRY_CAST({name_sql(name)} AS {_TYPES[kind]})"

    def _segment(self, rows: pa.Table, names: list[str]) -> pa.Table:
        columns: dict[str, arrow.Array] = {
            "prediction_id": rows.column("prediction_id").cast(pa.string()),
            "predicted_at": rows.column("_predicted_us").cast(arrow.INSTANT),
        }
        columns |= {name: rows.column(name).cast(_ARROW[self.columns.kinds[name]]) for name in names}
        if "score" in columns and self.columns.kinds["score"] == "number":
            scores = rows.column("score").to_numpy().astype(np.float64)
            bins = logit_bins(scores)
            columns["score"] = arrow.numbers(scores)
            columns["score_bin"] = arrow.plain(bins, arrow.SMALL_INTEGER, bins < 0)
        order = [*(name for name in LEADING_COLUMNS if name in columns), *sorted(columns.keys() - {*LEADING_COLUMNS})]
        return arrow.table({name: columns[name] for name in order}, required=_REQUIRED, metadata=_METADATA)
