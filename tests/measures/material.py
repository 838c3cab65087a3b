"""Random rows of binary and regression models, gaps and nasty scores included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from otel_ml_metrics.binning import logit_bins
from otel_ml_metrics.measures.bootstrap import ID_GROUP
from otel_ml_metrics.measures.measure import Measure, Undefined, states_of, totals_of
from otel_ml_metrics.measures.sums import Binned
from otel_ml_metrics.measures.table import MEASURES
from otel_ml_metrics.measures.totals import Totals
from otel_ml_metrics.presence import present_sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import duckdb
    from numpy.typing import NDArray

    from otel_ml_metrics.expressions import Kind

Row = dict[str, Any]

KINDS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "binary": {
        "label": "boolean", "prediction": "boolean", "score": "number", "score_bin": "number", "fare": "number",
        "weight": "number", ID_GROUP: "number", "airline": "string",
    },
    "regression": {
        "label": "number", "prediction": "number", "lower": "number", "upper": "number", "fare": "number",
        "weight": "number", ID_GROUP: "number",
    },
}  # fmt: skip
FARES: Final = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1e15, -1e15, np.nan, np.inf]))
SCORES: Final = st.one_of(
    st.floats(0, 1), st.sampled_from([0.0, 1.0, 0.5, 1e-12, 1 - 1e-12, 5e-324]), st.floats(0.5, 0.500001)
)
WEIGHTS: Final = st.one_of(st.floats(0, 10), st.sampled_from([0.0, 1.0, 2.0, 1e9, -1.0, np.nan]))
BOTH: Final[dict[str, st.SearchStrategy[Any]]] = {"fare": FARES, "weight": WEIGHTS, ID_GROUP: st.integers(0, 63)}
NUMBERS: Final = st.one_of(st.floats(-1e6, 1e6).map(lambda number: round(number, 3)), st.integers(-3, 3).map(float))
BINARY_ROW: Final = st.fixed_dictionaries(
    {
        "label": st.booleans(),
        "prediction": st.booleans(),
        "score": SCORES,
        "airline": st.sampled_from(["AA", "DL", "UA"]),
        **BOTH,
    }
)
BINARY_ROW_WITH_GAPS: Final = st.fixed_dictionaries(
    {
        "label": st.sampled_from([True, False, None]),
        "prediction": st.sampled_from([True, False, None]),
        "score": st.one_of(SCORES, st.sampled_from([np.nan, -0.1, 1.5, np.inf])),
        "airline": st.sampled_from(["AA", "DL", None]),
        **BOTH,
    }
)
ERROR_ROW: Final = st.fixed_dictionaries(
    {"label": NUMBERS, "prediction": NUMBERS, "lower": NUMBERS, "upper": NUMBERS, **BOTH}
)
ERROR_ROW_WITH_GAPS: Final = st.fixed_dictionaries(
    {
        "label": st.one_of(NUMBERS, st.sampled_from([np.nan, 1e15, 1e300])),
        "prediction": st.one_of(NUMBERS, st.sampled_from([np.nan, -1e15, np.inf])),
        "lower": st.one_of(NUMBERS, st.just(np.nan)),
        "upper": NUMBERS,
        **BOTH,
    }
)
ROWS_OF: Final[Mapping[str, st.SearchStrategy[list[Row]]]] = {
    "binary": st.lists(BINARY_ROW_WITH_GAPS),
    "regression": st.lists(ERROR_ROW_WITH_GAPS),
}


_OTHERWISE: Final = {"weight": 1.0, ID_GROUP: 0.0, "fare": 0.0, "lower": 0.0, "upper": 0.0, "airline": "UA"}


def task_of(measure: Measure) -> str:
    """The task that the rows of a test are made for."""
    return "regression" if measure.tasks == {"regression"} else "binary"


def as_columns(rows: list[Row], task: str) -> dict[str, NDArray[Any]]:
    """The rows as numpy columns, with the score bin that the prediction log adds."""
    kinds = KINDS[task]
    columns: dict[str, NDArray[Any]] = {
        name: np.array(
            [row.get(name, _OTHERWISE.get(name)) for row in rows], dtype=np.float64 if kind == "number" else object
        )
        for name, kind in kinds.items()
        if name != "score_bin"
    }
    if "score_bin" in kinds:
        columns["score_bin"] = logit_bins(columns["score"]).astype(np.float64)
    return columns


def totals(measures: Iterable[Measure], rows: list[Row], task: str) -> Totals:
    """What these measures need, added up over the rows."""
    return totals_of(measures, as_columns(rows, task), KINDS[task])


def value(name: str, rows: list[Row]) -> float | Undefined:
    """The value of a built-in measure over the rows."""
    measure = MEASURES[name]
    return measure.value(totals([measure], rows, task_of(measure)))


def sql_totals(
    connection: duckdb.DuckDBPyConnection, measures: Iterable[Measure], rows: list[Row], task: str
) -> Totals:
    """The same totals, summed by the engine over the labelled rows."""
    kinds = KINDS[task]
    types = {"boolean": pa.bool_(), "number": pa.float64(), "string": pa.string()}
    columns = as_columns(rows, task)
    connection.register(
        "joined", pa.table({name: pa.array(columns[name].tolist(), type=types[kind]) for name, kind in kinds.items()})
    )
    present = '"label" IS NOT NULL' + (' AND NOT isnan("label")' if task == "regression" else "")
    found: dict[str, Any] = {}
    for state in states_of(measures):
        if isinstance(state, Binned):
            place = f"CAST({state.grid.place.to_sql(kinds)} AS INTEGER)"
            within = f"{present} AND {present_sql(state.grid.place, kinds)}"
            query = f"SELECT {place}, sum({state.summed.to_sql(kinds)}) FROM joined WHERE {within} GROUP BY 1"
            found[state.key] = state.zeros()
            for cell, total in connection.execute(query).fetchall():
                if 0 <= cell < state.grid.cells:
                    found[state.key][cell] = int(total)
        else:
            query = f"SELECT coalesce(sum({state.to_sql(kinds)}), 0) FROM joined WHERE {present}"
            (found[state.key],) = connection.execute(query).fetchall()[0]
    return Totals(found)
