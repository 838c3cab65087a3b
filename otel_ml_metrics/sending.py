"""The outbox meets the receiver: what it accepts is marked, what it refuses for good is marked too, the rest waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics.evaluation_report import Delivered
from otel_ml_metrics.telemetry.lagging import LaggingPoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_ml_metrics.ledger.outbox import Outbox
    from otel_ml_metrics.telemetry.delivery import Delivery

STAGE: Final = "sending"


def send(outbox: Outbox, delivery: Delivery | None, *, progress: Callable[[str, int, int], None]) -> Delivered:
    """Send the waiting points, oldest version first, and note what became of each.

    A process that dies in between leaves the points waiting; they are sent again with the same values and times.

    Args:
        outbox: Where they wait.
        delivery: How they are sent; None where no endpoint is set.
        progress: Told how many of how many are done.
    """
    endpoint = None if delivery is None else delivery.endpoint.shown
    with outbox.sole_sender() as is_sole:
        if not is_sole:
            return Delivered(kept=outbox.count(), endpoint=endpoint, message="another process is sending them")
        superseded = outbox.supersede()
        if delivery is None:
            return Delivered(kept=outbox.count(), superseded=superseded)
        sent, rejected, message = _send_all(outbox, delivery, progress)
        return Delivered(
            sent=sent,
            rejected=rejected,
            kept=outbox.count(),
            superseded=superseded,
            endpoint=endpoint,
            message=message,
        )


def _send_all(outbox: Outbox, delivery: Delivery, progress: Callable[[str, int, int], None]) -> tuple[int, int, str]:
    sent = rejected = 0
    message, last, total = "", 0, outbox.count()
    while waiting := outbox.waiting(after=last):
        last = waiting[-1].id
        outcome = delivery.send([LaggingPoint.from_json(each.point) for each in waiting])
        outbox.mark("accepted", [waiting[at].id for at in outcome.accepted])
        told = {waiting[at].id: why for at, why in outcome.rejected.items()}
        outbox.mark("rejected", list(told), told)
        for partial in outcome.partial:
            ids = [waiting[at].id for at in partial.positions]
            outbox.mark("partial", ids, dict.fromkeys(ids, partial.message))
            sent += len(ids) - partial.rejected
        sent += len(outcome.accepted)
        rejected += outcome.refused
        message = outcome.message or message
        progress(STAGE, sent + rejected, total)
        if outcome.retry:
            break
    return sent, rejected, message
