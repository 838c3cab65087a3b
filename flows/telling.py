"""The report of a run in the words of an operator: the message of its final state, and how names are spelled."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from otel_ml_metrics.instants import iso

if TYPE_CHECKING:
    from datetime import datetime

    from otel_ml_metrics.evaluation_report import Report


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


def slug(name: str) -> str:
    """Spell a name with what artifact keys allow: lower-case letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def at(instant: datetime) -> str:
    """Write an instant in UTC to the second."""
    return iso(instant.replace(microsecond=0))
