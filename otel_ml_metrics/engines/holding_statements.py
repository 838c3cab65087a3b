"""Statements over labels that are left for a later run, by the date that an id of ours tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics.attribution.dates import OURS
from otel_ml_metrics.attribution.holding import DatedLabels
from otel_ml_metrics.engines.text import text_sql
from otel_ml_metrics.instants import DAY_US

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pyarrow as pa

    from otel_ml_metrics.engines.port import Engine

_DAY_MS: Final = DAY_US // 1000
_MILLISECONDS: Final = "CAST('0x' || substr(prediction_id, 1, 8) || substr(prediction_id, 10, 4) AS BIGINT)"
_DAY: Final = f"CASE WHEN regexp_matches(prediction_id, {text_sql(OURS)}) THEN {_MILLISECONDS} // {_DAY_MS} END"


def dated_labels(engine: Engine, relations: Sequence[str]) -> list[DatedLabels]:
    """The labels in some relations by date, those whose id tells one."""
    labels = " UNION ALL ".join(f"SELECT {_DAY} AS day, received_us FROM {relation}" for relation in relations)
    found = engine.sql(
        f"SELECT day, count(*) AS labels, min(received_us) AS first_us FROM ({labels}) AS dated WHERE day IS NOT NULL"
        " GROUP BY day ORDER BY day"
    )
    return [DatedLabels(**row) for row in found.to_pylist()]


def of_days(engine: Engine, relations: Sequence[str], days: Collection[int], *, columns: Sequence[str]) -> pa.Table:
    """The labels in some relations that are of these days."""
    return engine.sql(_chosen(relations, columns, f"({_listed(days)})"))


def define_without(
    engine: Engine, name: str, relations: Sequence[str], days: Collection[int], *, columns: Sequence[str]
) -> None:
    """Define a relation: the labels in some others that are not of these days."""
    engine.define(name, _chosen(relations, columns, f"({_listed(days)}) IS NOT TRUE"))


def _chosen(relations: Sequence[str], columns: Sequence[str], condition: str) -> str:
    wanted = ", ".join(columns)
    return " UNION ALL ".join(f"SELECT {wanted} FROM {relation} WHERE {condition}" for relation in relations)


def _listed(days: Collection[int]) -> str:
    return f"{_DAY} IN ({', '.join(map(str, sorted(days)))})" if days else "FALSE"
