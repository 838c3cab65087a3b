"""Our statements on PostgreSQL: written for it as they should be, and with the whole numbers that numpy gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from otel_ml_metrics.engines import delta_statements as deltas
from otel_ml_metrics.engines.text import name_sql
from otel_ml_metrics.engines.transpiling import prelude, transpiled
from otel_ml_metrics.errors import EngineError
from otel_ml_metrics.measures.bootstrap import ID_GROUP, id_groups
from otel_ml_metrics.measures.custom import mean_measure
from otel_ml_metrics.measures.measure import Measure, states_of
from otel_ml_metrics.measures.table import MEASURES
from tests.measures.material import KINDS, ROWS_OF, as_columns
from tests.measures.material import totals as totals_of
from tests.measures.test_conformance import EVERY_TASK, OF_TASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import psycopg

    from tests.measures.material import Row
    from tests.postgresql import Server

GOLDEN: Final = Path(__file__).parent / "golden"
ORIGINS: Final = ("EWR", "JFK")
TYPES: Final = {"boolean": "boolean", "number": "double precision", "string": "text"}
FIXED: Final = {
    "_tile_us": "bigint", "output": "text", "version": "text", "variant": "text", "_bucket": "bigint",
    "_explicit": "boolean", "_sign": "integer", "origin": "text", "prediction_id": "text",
}  # fmt: skip
EXPONENTIAL: Final = mean_measure("exponential", unit="1", expression="exp(-abs(fare) / 1000)", description="Of a test")


def plan_of(measures: Iterable[Measure], task: str) -> deltas.DeltaPlan:
    """What is summed, over all rows and by origin."""
    return deltas.DeltaPlan(
        states=states_of(measures),
        kinds=KINDS[task],
        columns=(),
        slices=[("origin",)],
        buckets=[86_400],
        implicit_from=None,
        tile_us=86_400_000_000,
        offset_us=0,
        delay_bounds=[],
    )


def statements_of(plan: deltas.DeltaPlan) -> list[tuple[str, list[str]]]:
    """Every statement, and the name of each of its columns _s0, _s1, …."""
    return [
        (deltas.prediction_sums(plan, "logged", sign=1), deltas.prediction_names(plan)),
        (deltas.label_sums(plan), deltas.label_names(plan)),
        *deltas.binned_sums(plan),
    ]


@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
def test_statements_are_written_as_before(dialect: str) -> None:
    """Whoever changes a statement, or takes another sqlglot, sees what an engine is asked from then on."""
    statements = [sql for sql, _ in statements_of(plan_of([MEASURES["accuracy"], MEASURES["roc_auc"]], "binary"))]
    crossed = replace(plan_of([], "binary"), slices=[("origin",), ("cabin",)], combinations=6)
    statements += [deltas.combinations_sql(crossed, "logged") or "", deltas.prediction_sums(crossed, "logged", sign=1)]
    statements.append(f"SELECT sum({MEASURES['log_loss'].sums[0].to_sql(KINDS['binary'])}) FROM effects")  # type: ignore[union-attr]  # a plain sum
    if dialect != "duckdb":
        statements = [*prelude(dialect), *(transpiled(each, dialect) for each in statements)]

    assert "".join(f"{each};\n" for each in statements) == (GOLDEN / f"{dialect}.sql").read_text(encoding="utf-8")


def test_an_engine_that_was_not_tried_is_refused() -> None:
    """Its arithmetic may differ, and nobody would see it."""
    with pytest.raises(EngineError, match=r"'mysql' yet\. Known are: postgres"):
        transpiled("SELECT 1", "mysql")


@pytest.fixture(scope="module")
def session(postgresql_server: Server) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection that has run the prelude."""
    with postgresql_server.connect() as connection:
        for statement in prelude("postgres"):
            connection.execute(statement.encode())
        yield connection


def sums_on_postgresql(
    session: psycopg.Connection[tuple[Any, ...]], plan: deltas.DeltaPlan, rows: Sequence[Row], task: str
) -> dict[str, dict[tuple[str, int], int]]:
    """By origin (and "" for all rows): every sum by its name and bin."""
    kinds = {name: kind for name, kind in KINDS[task].items() if name != ID_GROUP}
    columns = as_columns(list(rows), task)
    types = FIXED | {name: TYPES[kind] for name, kind in kinds.items()}
    session.execute("DROP TABLE IF EXISTS logged, effects")
    listed = ", ".join(f"{name_sql(name)} {kind}" for name, kind in types.items())
    session.execute(f"CREATE TEMP TABLE effects ({listed})".encode())
    with session.cursor() as cursor, cursor.copy(b"COPY effects FROM STDIN") as copy:
        for at in range(len(rows)):
            found = [columns[name][at] for name in kinds]
            plain = [each.item() if isinstance(each, np.generic) else each for each in found]
            copy.write_row([0, "", "1", "", 86_400, True, 1, ORIGINS[at % 2], f"p-{at}", *plain])
    logged = ", ".join(name_sql(name) for name in types if name not in {"_tile_us", "_bucket"})
    session.execute(f"CREATE TEMP TABLE logged AS SELECT 0 AS _predicted_us, {logged} FROM effects".encode())
    sums: dict[str, dict[tuple[str, int], int]] = {each: {} for each in ("", *ORIGINS)}
    for statement, names in statements_of(plan):
        cursor = session.execute(transpiled(statement, "postgres").encode())
        told = [each.name for each in cursor.description or ()]
        for row in cursor.fetchall():
            group = dict(zip(told, row, strict=True))
            place = "" if group["_g_origin"] else group["origin"]
            for at, name in enumerate(names):
                sums[place][name, group.get("_bin", -1)] = int(group[f"_s{at}"])
    return sums


@pytest.mark.postgresql
@pytest.mark.slow
@EVERY_TASK
@settings(max_examples=5, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
def test_postgresql_adds_up_the_same_integers(
    session: psycopg.Connection[tuple[Any, ...]], task: str, data: st.DataObject
) -> None:
    """The whole table, over all rows and by slice: exactly, or within a unit per row where there is a logarithm."""
    drawn = [row for row in data.draw(ROWS_OF[task]) if row["label"] is not None and row["label"] == row["label"]]
    groups = id_groups(f"p-{at}" for at in range(len(drawn)))
    rows = [row | {ID_GROUP: float(group)} for row, group in zip(drawn, groups, strict=True)]
    measures = [*OF_TASK[task], *([EXPONENTIAL] if task == "binary" else [])]

    plan = replace(plan_of(measures, task), combinations=data.draw(st.sampled_from([None, len(ORIGINS)])))
    found = sums_on_postgresql(session, plan, rows, task)

    for place, part in {"": rows, **{name: rows[at::2] for at, name in enumerate(ORIGINS)}}.items():
        expected = totals_of(measures, part, task).whole
        units = sum(1 + max(0.0, float(np.nan_to_num(row["weight"]))) ** 2 for row in part)
        for state in states_of(measures):
            whole = np.atleast_1d(np.asarray(expected[state.key], dtype=object))
            wanted = {cell: int(total) for cell, total in enumerate(whole) if total}
            summed = {max(cell, 0): total for (name, cell), total in found[place].items() if name == state.key}
            most = units if "ln(" in state.key or "exp(" in state.key else 0
            for cell in wanted.keys() | summed.keys():
                assert abs(wanted.get(cell, 0) - summed.get(cell, 0)) <= most, (place, state.key, cell)
