"""Sends the current gauges of a ledger again, for backends that forget what they do not hear of every few minutes."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.evaluation_report import Delivered
from otel_ml_metrics.instants import to_us
from otel_ml_metrics.ledger.outbox import Outbox
from otel_ml_metrics.ledger.store import Ledger, schema_of
from otel_ml_metrics.sending import send
from otel_ml_metrics.telemetry.delivery import Delivery, Outcome
from otel_ml_metrics.telemetry.lagging import LaggingPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_ml_metrics.configuration import Evaluation

PATIENCE: Final = 60.0
"""Seconds after which the points that are left are given up: the next renewal sends them all."""


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """What one renewal did.

    Args:
        points: Current points that the receiver took again.
        refused: Those that it refused for good.
        missed: Those that it did not take, for a reason that may pass.
        caught_up: What became of the points that waited in the outbox, which go first.
        message: Why not all of them were renewed; may be empty.
    """

    points: int = 0
    refused: int = 0
    missed: int = 0
    caught_up: Delivered = field(default_factory=Delivered)
    message: str = ""


def renew(
    evaluation: Evaluation,
    *,
    environ: Mapping[str, str] | None = None,
    clock: Callable[[], datetime] | None = None,
) -> Renewal:
    """Send the points that the newest run stamped with its own time once more: the same values, stamped now.

    Points that carry the end of their window are history and not sent again. Whoever sends already is left alone.

    Args:
        evaluation: Whose points; its ledger is not changed, but for the outbox.
        environ: `OTEL_EXPORTER_OTLP_*` settings; default: the environment of the process.
        clock: Gives the current instant; default: the system's.

    Returns:
        What became of the points; nothing where there is no ledger, no endpoint or nothing to renew.

    Raises:
        EndpointError: The OTLP endpoint cannot be used as it is written.
        LedgerError: The ledger cannot be read.
    """
    settings = os.environ if environ is None else environ
    service = {"service": evaluation.service, "evaluation": evaluation.name}
    delivery = Delivery.from_environment(settings, **service, budget=PATIENCE)
    if delivery is None:
        return Renewal(message="no OTLP endpoint is set")
    with delivery:
        if schema_of(evaluation.ledger) is None:
            return Renewal(message="there is no ledger yet; the first evaluation makes it")
        with closing(Ledger.of(evaluation)) as ledger:
            return _renew(Outbox(ledger), delivery, clock or (lambda: datetime.now(UTC)))


def _renew(outbox: Outbox, delivery: Delivery, clock: Callable[[], datetime]) -> Renewal:
    caught_up = send(outbox, delivery, progress=lambda *_told: None)
    if caught_up.kept:
        return Renewal(missed=caught_up.kept, caught_up=caught_up, message=caught_up.message)
    with outbox.sole_sender() as is_sole:
        if not is_sole:
            return Renewal(caught_up=caught_up, message="another process is sending")
        now = to_us(clock()) * 1_000
        points = [replace(LaggingPoint.from_json(each), time_unix_nano=now) for each in outbox.current()]
        outcome = delivery.send(points)
    return _renewal(outcome, caught_up)


def _renewal(outcome: Outcome, caught_up: Delivered) -> Renewal:
    partly = sum(len(partial.positions) - partial.rejected for partial in outcome.partial)
    return Renewal(
        points=len(outcome.accepted) + partly,
        refused=outcome.refused,
        missed=len(outcome.retry),
        caught_up=caught_up,
        message=outcome.message,
    )
