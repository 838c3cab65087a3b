"""The prediction log: is anything in it, and has it every field that is evaluated?"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from otel_ml_metrics.checks.findings import Finding
from otel_ml_metrics.engines.duckdb import DuckDBEngine
from otel_ml_metrics.engines.row_statements import RowColumns, check_fields
from otel_ml_metrics.importing.taking import glance
from otel_ml_metrics.prediction_log.reader import segments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.declared_predictions import ForeignLog


def look_at_log(evaluation: Evaluation) -> Iterator[Finding]:
    """See whether predictions are there, with every field that the evaluation names."""
    if evaluation.foreign is not None:
        yield _look_at_foreign_log(evaluation, evaluation.foreign)
        return
    found = segments(evaluation.predictions, evaluation.model)
    if not found:
        told = f"nothing is logged yet for the model {evaluation.model!r} in {evaluation.predictions}"
        fix = "Record a prediction with ModelMonitor(..., log=that folder), or mend predictions: in the settings."
        yield Finding("prediction log", "warn", told, fix)
        return
    columns = RowColumns.of(evaluation)
    with closing(DuckDBEngine()) as engine:
        check_fields(engine, sorted({segment.path for segment in found.values()}), columns)
    dates = sorted(segment.date for segment in found.values())
    fields = ", ".join((*columns.slices, *columns.kinds))
    told = f"{len(found):,} segments from {dates[0]} to {dates[-1]}; every field is there: {fields}"
    yield Finding("prediction log", "ok", told)


def _look_at_foreign_log(evaluation: Evaluation, foreign: ForeignLog) -> Finding:
    """See whether a foreign log can be taken over; looking takes nothing over."""
    with closing(DuckDBEngine()) as engine:
        found = glance(evaluation, foreign, engine)
    if not found.rows and not found.left_out:
        return Finding("prediction log", "warn", f"nothing is there yet: {found.shown}", "Is that the one?")
    told = f"{found.shown} can be read; {found.rows:,} rows looked at, with {', '.join(found.fields)}"
    if found.left_out:
        bad = ", ".join(f"{rows:,} with {trouble}" for trouble, rows in found.left_out.items())
        return Finding("prediction log", "warn", f"{told}; not usable: {bad}", "A run leaves them out and goes on.")
    return Finding("prediction log", "ok", told)
