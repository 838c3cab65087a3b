"""What a ledger says about itself: blocks that can be decoded, versions that follow each other, texts that are JSON."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import sqlalchemy as sa

from otel_ml_metrics.attribution.tables import EXACT, LOST, MOVES, RETIRED, SUMS
from otel_ml_metrics.errors import LedgerError
from otel_ml_metrics.ledger import schema
from otel_ml_metrics.ledger.emitted import WIDTH, pack, unpack
from otel_ml_metrics.ledger.schema import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

_AT_A_TIME: Final = 8
"""Rows that are in memory at once; a block has a few megabytes."""

_JSON: Final = (schema.movement.c.labels, schema.outbox.c.point, schema.run.c.summary)


def problems(connection: sa.Connection, *, facts: pa.Schema) -> Iterator[str]:
    """Everything in a ledger that cannot be as it is; nothing for a sound one.

    Args:
        connection: A transaction that sees one state of the ledger.
        facts: Columns of a label, and their types.
    """
    yield from _chain(connection)
    yield from _blocks(connection, facts)
    yield from _digests(connection)
    for column in _JSON:
        yield from _texts(connection, column)


def _chain(connection: sa.Connection) -> Iterator[str]:
    """Every commit has a run, in order, and the head stands where the last one left it."""
    head = connection.execute(sa.select(schema.head.c.version, schema.head.c.as_of_us)).first()
    version, as_of_us = (0, None) if head is None else tuple(head)
    runs = connection.execute(sa.select(schema.run).order_by(schema.run.c.version)).all()
    last = runs[-1].version if runs else 0
    if last != version:
        yield f"The head stands at version {version}, and the last run is that of version {last}."
    elif runs and runs[-1].as_of_us != as_of_us:
        yield f"The head stands at {as_of_us} µs, and the last run ended at {runs[-1].as_of_us} µs."
    for earlier, later in pairwise(runs):
        if later.version != earlier.version + 1:
            yield f"After the run of version {earlier.version} comes that of version {later.version}."
        if later.as_of_us < earlier.as_of_us:
            yield f"The run of version {later.version} went back in time."
    for table in (
        schema.input_file,
        schema.fact_block,
        schema.state_block,
        schema.exact_block,
        schema.aside,
        schema.movement,
        schema.outbox,
    ):
        newest = connection.scalar(sa.select(sa.func.max(table.c.version))) or 0
        if newest > version:
            yield f"The table {table.name} has rows of version {newest}, and the head stands at version {version}."


def _blocks(connection: sa.Connection, facts: pa.Schema) -> Iterator[str]:
    for cell in schema.BLOCKS:
        keys = list(cell.table.primary_key)
        query = sa.select(*keys, cell.label("block")).where(cell.is_not(None)).order_by(*keys)
        for row in _streamed(connection, query):
            name = " ".join(str(part) for part in tuple(row)[:-1])
            yield from _block(row.block, f"block {cell.table.name} {name}", _expected(cell, row, facts))


def _expected(cell: sa.Column[Any], row: sa.Row[Any], facts: pa.Schema) -> pa.Schema:
    if cell.table is schema.aside:
        return {"pending": facts, "lost": LOST, "retired": RETIRED}.get(row.name, facts)
    of_blocks = {schema.state_block: SUMS, schema.exact_block: EXACT, schema.movement: MOVES}
    return of_blocks.get(cell.table, facts)


def _block(block: bytes, what: str, expected: pa.Schema) -> Iterator[str]:
    try:
        table = decode(block, what)
        table.validate(full=True)
    except (LedgerError, pa.ArrowInvalid) as error:
        yield str(error)
        return
    if not table.schema.equals(expected):
        yield f"The {what} has columns {table.schema.names} of other types or names than {expected.names}."


def _digests(connection: sa.Connection) -> Iterator[str]:
    for row in _streamed(connection, sa.select(schema.emitted).order_by(schema.emitted.c.time_unix_nano)):
        if len(row.series) % WIDTH or pack(unpack(row.series)) != row.series:
            yield f"What was sent for the time {row.time_unix_nano} is no list of digests."


def _texts(connection: sa.Connection, column: sa.Column[str]) -> Iterator[str]:
    keys = list(column.table.primary_key)
    for row in _streamed(connection, sa.select(*keys, column.label("text")).order_by(*keys)):
        try:
            json.loads(row.text)
        except ValueError as error:
            name = " ".join(str(part) for part in tuple(row)[:-1])
            yield f"The column {column.name} of {column.table.name} {name} is no JSON: {error}."


def _streamed(connection: sa.Connection, query: sa.Select[Any]) -> Iterator[sa.Row[Any]]:
    yield from connection.execute(query.execution_options(yield_per=_AT_A_TIME))
