"""What the ledger holds beside the values of a run: those of the windows before, which they are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prefect import get_run_logger

from otel_ml_metrics.alerting import Figures
from otel_ml_metrics.errors import OtelMLMetricsError
from otel_ml_metrics.evaluation_report import Value
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.semconv import STAGE_FINAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.evaluation_report import Report
    from otel_ml_metrics.history import Move

MOST_WINDOWS: Final = 60
"""Windows up to the newest one whose values of all rows are looked up."""

_TAKEN_OVER: Final = (
    "measure", "lower", "upper", "support", "coverage", "window_start", "window_end", "maturity", "model", "version",
    "variant", "output", "slice",
)  # fmt: skip


def known_values(evaluation: Evaluation, report: Report, shown: Iterable[Value]) -> Figures[Value]:
    """The values of a run, and what they are seen against, as the ledger stood when the run had committed.

    Args:
        evaluation: Whose ledger.
        report: Of the run.
        shown: Values whose predecessors are wanted: those of the window before, slices included.

    Returns:
        The values; those of this run alone, with a warning in its log, where the ledger cannot be read now. That is no
        reason to fail a run that has committed.
    """
    units = {measure.name: measure.unit for measure in evaluation.all_measures}
    try:
        moves = list(_moves(evaluation, report, shown))
    except OtelMLMetricsError as error:
        get_run_logger().warning("Values of earlier windows are not shown: %s", error)
        moves = []
    earlier = (_value(move, units[move.measure]) for move in moves if move.measure in units)
    return Figures([*filter(None, earlier), *report.values])


def _moves(evaluation: Evaluation, report: Report, shown: Iterable[Value]) -> Iterator[Move]:
    window = evaluation.window
    since = report.as_of - evaluation.maturities[-1] - (MOST_WINDOWS + 1) * window
    before = {value.window_start - window for value in shown}
    with Evaluator(evaluation, environ={}) as evaluator:
        yield from evaluator.history(since=since, slice={}).settled_by(report.as_of)
        for start in sorted(before):
            yield from evaluator.history(window=start).settled_by(report.as_of)


def _value(move: Move, unit: str) -> Value | None:
    if move.value is None:
        return None
    same = {name: getattr(move, name) for name in _TAKEN_OVER}
    return Value(value=move.value, unit=unit, certificate=None, stage=STAGE_FINAL, **same)
