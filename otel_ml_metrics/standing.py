"""Where an evaluation's ledger stands, for those who have to decide whether a run is needed."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_ml_metrics.instants import from_us
from otel_ml_metrics.ledger.outbox import Outbox
from otel_ml_metrics.ledger.store import Ledger, schema_of

if TYPE_CHECKING:
    from datetime import datetime

    from otel_ml_metrics.configuration import Evaluation


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a ledger stands.

    Args:
        version: Commits so far; 0 where there is none, or no ledger.
        as_of: The instant up to which labels were taken; None where nothing was.
        committed_at: When the newest commit was; None where there is none.
        labels: Labels that were taken, whatever became of them.
        waiting: Points that wait for the receiver.
    """

    version: int = 0
    as_of: datetime | None = None
    committed_at: datetime | None = None
    labels: int = 0
    waiting: int = 0


def standing_of(evaluation: Evaluation) -> Standing:
    """Where the ledger of an evaluation stands; one that is not there stands nowhere, and is not made.

    Raises:
        LedgerMismatchError: The ledger belongs to another evaluation.
        LedgerError: It cannot be read.
    """
    if schema_of(evaluation.ledger) is None:
        return Standing()
    with closing(Ledger.of(evaluation)) as ledger:
        head, committed_us = ledger.head(), ledger.committed_us()
        return Standing(
            version=head.version,
            as_of=None if head.as_of_us is None else from_us(head.as_of_us),
            committed_at=None if committed_us is None else from_us(committed_us),
            labels=sum(head.totals.get("labels", {}).values()),
            waiting=Outbox(ledger).count(),
        )
