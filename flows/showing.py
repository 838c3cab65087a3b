"""What a run leaves in Prefect's UI: a table of its values against the window before, and a picture over windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.errors import MissingExtraError
from otel_ml_metrics.spelling import window_name

from .earlier import known_values
from .telling import at, slug

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_ml_metrics.alerting import Figures
    from otel_ml_metrics.evaluation_report import Report, Value

    from .picture import Picture

MOST_ROWS: Final = 99
"""Rows of a table artifact: every run leaves its own in Prefect's database."""

MOST_ALERTS: Final = 20
"""Breaches that stand above the table; the events have them all."""

CHANGE: Final = "change against the previous window"
"""Column of the table: the value less that of the same series in the window before, at the same age."""


def publish(report: Report, *, message: str, monitoring: str) -> None:
    """Leave table and picture as artifacts, keyed by the evaluation, so that its runs line up in the UI."""
    if not report.values:
        return
    evaluation = Evaluation.from_file(monitoring)
    shown = sorted(report.values, key=whole_first)[:MOST_ROWS]
    known = known_values(evaluation, report, shown)
    link = [] if evaluation.dashboard is None else [f"[Dashboard]({evaluation.dashboard})"]
    create_table_artifact(
        key=slug(report.evaluation),
        table=[row(value, known.before(value)) for value in shown],
        description="\n\n".join([*_above_table(report, shown, message, monitoring), *link]),
    )
    picture = _picture(evaluation, report, known)
    if picture is not None:
        more = "`otel-ml-metrics report` draws older windows as well, slices, curves and delays."
        create_markdown_artifact(
            key=f"{slug(report.evaluation)}-picture",
            markdown=picture.markdown,
            description="\n\n".join([_head(report), *picture.told, more, *link]),
        )


def whole_first(value: Value) -> tuple[int, float, str, str, str, str]:
    """Sort key of the table: values of all rows before slices, new windows before old ones."""
    return (
        len(value.slice),
        -value.window_end.timestamp(),
        value.measure,
        value.maturity,
        value.variant or "",
        str(sorted(value.slice.items())),
    )


def row(value: Value, before: Value | None) -> dict[str, object]:
    """Give one value as a row of the table.

    Args:
        value: Of this run.
        before: Of the same series in the window before; None where there is none, and the change is left empty.
    """
    return {
        "window": window_name(value.window_start, value.window_end),
        "measure": value.measure,
        "variant": value.variant or "",
        "version": value.version or "",
        "slice": ", ".join(f"{field}={name}" for field, name in value.slice.items()) or "all",
        "maturity": value.maturity,
        "value": value.value,
        CHANGE: None if before is None else value.value - before.value,
        "lower": value.lower,
        "upper": value.upper,
        "unit": value.unit,
        "coverage": value.coverage,
        "support": value.support,
        "stage": value.stage,
    }


def _head(report: Report) -> str:
    return f"**{report.evaluation}** (model `{report.model}`), ledger version {report.ledger_version}."


def _above_table(report: Report, shown: Sequence[Value], message: str, monitoring: str) -> list[str]:
    labels = ", ".join(f"{count} {status}" for status, count in report.labels.items() if count)
    lines = [
        _head(report),
        f"{message}.",
        f"Labels so far: {labels or 'none'}; {report.waiting} wait for their prediction.",
    ]
    lines += [f"- **{each.alert.name}** ({each.alert.severity}): {each.told}" for each in report.breaches[:MOST_ALERTS]]
    if len(shown) < len(report.values):
        lines.append(
            f"The first {len(shown)} of {len(report.values)} values, whole windows first. All of them:"
            f" `otel-ml-metrics evaluate {monitoring} --as-of {at(report.as_of)} --format json`"
        )
    return lines


def _picture(evaluation: Evaluation, report: Report, known: Figures[Value]) -> Picture | None:
    """The picture of a run; None, and a line in its log, where the library that draws is not there."""
    try:
        from .picture import draw  # noqa: PLC0415  a run does without it where matplotlib is missing
    except ModuleNotFoundError as missing:
        library = str(missing.name).partition(".")[0]
        if library != "matplotlib":
            raise
        get_run_logger().warning("%s", MissingExtraError(library, "flows", "The picture of this run"))
        return None
    return draw(evaluation, report, known)
