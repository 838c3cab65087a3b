"""Blocks of facts, before they are written."""

from __future__ import annotations

from otel_ml_metrics.ledger.blocks import encoded
from otel_ml_metrics.ledger.schema import decode
from tests.ledger.material import facts


def test_the_blocks_of_many_dates_come_by_date_each_with_its_labels() -> None:
    """Blocks are compressed ahead of the one that is written, and none is lost, doubled or given to another date."""
    given = {f"2013-04-{day:02}": facts(range(day, day + 3)) for day in (9, 3, 7, 1, 5, 8)}

    blocks = list(encoded(given))

    assert [(date, decode(block, "block")) for date, block in blocks] == sorted(given.items())
