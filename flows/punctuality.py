"""Late, doubled and missed runs: whether a run is needed at all, and what nobody did in time.

Prefect catches up late runs one by one, the oldest first. A run takes everything up to now, so the first of them does
the work of all, and the ledger tells the others.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

from prefect import get_run_logger, task
from pydantic import AfterValidator

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.instants import Duration
from otel_ml_metrics.standing import Standing, standing_of

from .running import LEDGER_TASK
from .telling import at

if TYPE_CHECKING:
    from .measuring import Observation

GAP: Final = 1.5
"""Intervals without a run from which on that is a gap, and not a run that began a little late."""

Every = Annotated[str, AfterValidator(lambda text: str(Duration(text)))]
"""Interval of a schedule, such as `1h`."""


@task(name="look-at-ledger", **LEDGER_TASK)
def look_at_ledger(monitoring: str) -> Standing:
    """See where the ledger stands."""
    return standing_of(Evaluation.from_file(monitoring))


def look(observation: Observation) -> Standing:
    """See where the ledger stands, and note it."""
    found = look_at_ledger(observation.monitoring)
    if found.as_of is not None:
        observation.ledger_age = max(0.0, (observation.started - found.as_of).total_seconds())
    return found


def taken_by_another(found: Standing, due: datetime) -> str | None:
    """Say who did the work of a run that was due at an instant; None where it is still to be done."""
    if found.as_of is None or found.committed_at is None or found.as_of < due:
        return None
    waiting = f"; {found.waiting} points wait for the endpoint, which keep-alive sends" if found.waiting else ""
    return (
        f"nothing to do: this run was due at {at(due)}, and the one that committed ledger version {found.version} at"
        f" {at(found.committed_at)} took everything up to {at(found.as_of)}{waiting}"
    )


def gap(found: Standing, *, every: str | None, now: datetime | None = None) -> str | None:
    """Say how long nobody has advanced the ledger; None where that is as it should be, or not known.

    Args:
        found: Where the ledger stands.
        every: Interval of the schedule; None where it is not known.
        now: The current instant; default: the system's.
    """
    if every is None or found.as_of is None:
        return None
    interval, since = Duration(every), (now or datetime.now(UTC)) - found.as_of
    if since <= GAP * interval:
        return None
    missed = max(1, round(since / interval) - 1)
    return (
        f"gap: nobody advanced the ledger from {at(found.as_of)} on, though it is due every {interval};"
        f" {missed} runs were missed"
    )


def warn(message: str | None) -> str:
    """Log what is wrong, and give it as the beginning of a message."""
    if message is None:
        return ""
    get_run_logger().warning(message)
    return f"{message}; "
