"""What a ledger forgets of dates that are retired: segments, applied labels, repeated ids. The sums stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from otel_ml_metrics.attribution.inputs import LABEL, SEGMENT
from otel_ml_metrics.ledger import rows, schema
from otel_ml_metrics.ledger.schema import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_ml_metrics.attribution.retirement import Retirement

RETIRED: Final = "retired"
"""Name of the block that says what is retired."""


@dataclass(frozen=True)
class Forgotten:
    """What a ledger forgot.

    Args:
        dates: UTC dates of the predictions.
        segments: Segments of the log.
        label_files: Label files whose progress was noted.
    """

    dates: int = 0
    segments: int = 0
    label_files: int = 0


def forget(
    connection: sa.Connection, retirement: Retirement, *, label_files: Sequence[str], lost: pa.Table, version: int
) -> Forgotten:
    """Forget everything of retired dates, in a transaction that has moved the ledger on.

    Args:
        connection: The transaction.
        retirement: What is retired from now on.
        label_files: Names of label files whose progress nobody needs any more.
        lost: The rows that repeat an id.
        version: Of the ledger from now on.
    """
    before = retirement.before or ""
    inputs, facts = schema.input_file, schema.fact_block
    old = (inputs.c.kind == SEGMENT) & (inputs.c.date < before)
    dates = connection.scalar(sa.select(sa.func.count(sa.distinct(inputs.c.date))).where(old)) or 0
    segments = connection.execute(sa.delete(inputs).where(old)).rowcount
    connection.execute(sa.delete(facts).where(facts.c.date < before))
    for some in rows.chosen(connection, inputs.c.name, list(label_files)):
        connection.execute(sa.delete(inputs).where(inputs.c.kind == LABEL, some))
    asides = [(RETIRED, version, encode(retirement.to_table()))]
    kept = lost.filter(pc.greater_equal(lost.column("date"), pa.scalar(before)))
    if len(kept) < len(lost):
        asides.append(("lost", version, encode(kept)))
    rows.replace(connection, schema.aside, ("name", "version", "rows"), asides)
    return Forgotten(dates, segments, len(label_files))
