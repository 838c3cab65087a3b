"""The report of a run in the words of an operator: the message of its final state, and a table in the UI."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from prefect.artifacts import create_table_artifact

from otel_ml_metrics.instants import iso

if TYPE_CHECKING:
    from datetime import datetime

    from otel_ml_metrics.evaluation_report import Report, Value

MOST_ROWS: Final = 99
"""Rows of a table artifact: every run leaves its own in Prefect's database."""

MOST_ALERTS: Final = 20
"""Breaches that stand above the table; the events have them all."""


def told(report: Report, *, kept: int) -> str:
    """Say in one line what a run did: the message of its final state."""
    delivery = report.delivery
    parts = [f"{len(report.values)} values became final or changed as of {at(report.as_of)}"]
    if report.read_only:
        parts.append("nothing was written")
    elif delivery.endpoint is None:
        parts.append("no OTLP endpoint is set, so points stay in the outbox")
    elif kept:
        parts.append(
            f"{kept} points are safe in the outbox, because {delivery.endpoint} did not take them"
            f" ({delivery.message}); the next run sends them"
        )
    else:
        parts.append(f"{delivery.sent + delivery.kept} points sent to {delivery.endpoint}")
    if report.breaches:
        parts.append(f"{len(report.breaches)} values are beyond a declared threshold")
    if delivery.rejected:
        parts.append(f"{delivery.rejected} points refused for good: {delivery.message}")
    if report.rejected_rows_file:
        parts.append(f"bad label rows are kept aside in {report.rejected_rows_file}")
    return "; ".join(parts)


def publish(report: Report, *, message: str, monitoring: str) -> None:
    """Leave a table of the values as an artifact, keyed by the evaluation, so that its runs line up in the UI."""
    if not report.values:
        return
    shown = sorted(report.values, key=whole_first)[:MOST_ROWS]
    labels = ", ".join(f"{count} {status}" for status, count in report.labels.items() if count)
    lines = [
        f"**{report.evaluation}** (model `{report.model}`), ledger version {report.ledger_version}.",
        f"{message}.",
        f"Labels so far: {labels or 'none'}; {report.waiting} wait for their prediction.",
    ]
    lines += [f"- **{each.alert.name}** ({each.alert.severity}): {each.told}" for each in report.breaches[:MOST_ALERTS]]
    if len(shown) < len(report.values):
        lines.append(
            f"The first {len(shown)} of {len(report.values)} values, whole windows first. All of them:"
            f" `otel-ml-metrics evaluate {monitoring} --as-of {at(report.as_of)} --format json`"
        )
    create_table_artifact(
        key=slug(report.evaluation), table=[row(value) for value in shown], description="\n\n".join(lines)
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


def row(value: Value) -> dict[str, object]:
    """Give one value as a row of the table."""
    return {
        "window": f"{at(value.window_start)} to {at(value.window_end)}",
        "maturity": value.maturity,
        "slice": ", ".join(f"{field}={name}" for field, name in value.slice.items()) or "all",
        "version": value.version or "",
        "variant": value.variant or "",
        "measure": value.measure,
        "value": value.value,
        "lower": value.lower,
        "upper": value.upper,
        "unit": value.unit,
        "coverage": value.coverage,
        "support": value.support,
        "stage": value.stage,
    }


def slug(name: str) -> str:
    """Spell a name with what artifact keys allow: lower-case letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def at(instant: datetime) -> str:
    """Write an instant in UTC to the second."""
    return iso(instant.replace(microsecond=0))
