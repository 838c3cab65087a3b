"""The tables of the ledger, the same on SQLite and PostgreSQL, and the Arrow tables that some of their cells hold.

Facts, sums and moves are kept as blocks: one compressed Arrow table in one cell. Reading and writing a block is as
quick as a file, and a commit is still one transaction of the database.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import sqlalchemy as sa

from otel_ml_metrics.errors import LedgerError

SCHEMA_VERSION: Final = 3
"""What these tables are; `migrations.py` has the way from each earlier one."""

metadata: Final = sa.MetaData()

_NUMBER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A number that the database counts up itself; SQLite does that for INTEGER only, which has 64 bits there."""

ledger_schema: Final = sa.Table(
    "ledger_schema",
    metadata,
    sa.Column(
        "version", sa.Integer, primary_key=True, autoincrement=False, comment="every schema that it went through"
    ),
)

head: Final = sa.Table(
    "head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False, comment="always 1"),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False, comment="commits so far"),
    sa.Column("as_of_us", sa.BigInteger, comment="the instant up to which labels were taken"),
    sa.Column("created_us", sa.BigInteger, nullable=False, comment="start time of the cumulative metrics"),
    sa.Column("name", sa.Text, nullable=False, comment="of the evaluation"),
    sa.Column("definition", sa.Text, nullable=False, comment="JSON: what the sums mean"),
    sa.Column("totals", sa.Text, nullable=False, comment="JSON: what the cumulative metrics count"),
)

input_file: Final = sa.Table(
    "input_file",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True, comment="label or segment"),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("stat", sa.Text, nullable=False, comment="of a label file: size and time of its last change"),
    sa.Column("fingerprint", sa.Text, nullable=False, comment="of a label file: size and digest"),
    sa.Column("taken_until_us", sa.BigInteger, comment="facts received later are still to be taken"),
    sa.Column("last_us", sa.BigInteger, comment="the last fact's received_at"),
    sa.Column("date", sa.String(10), comment="of a segment"),
    sa.Column("foreign_ids", sa.Boolean, comment="whether a segment has ids that do not tell their date"),
    sa.Column("version", sa.BigInteger, nullable=False, comment="the commit that took it"),
)

fact_block: Final = sa.Table(
    "fact_block",
    metadata,
    sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("date", sa.String(10), nullable=False, index=True, comment="UTC date of the predictions"),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("facts", sa.LargeBinary, nullable=False),
)

state_block: Final = sa.Table(
    "state_block",
    metadata,
    sa.Column("tile_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("sums", sa.LargeBinary, nullable=False),
)

exact_block: Final = sa.Table(
    "exact_block",
    metadata,
    sa.Column("window_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("entries", sa.LargeBinary, nullable=False, comment="final values of exact measures as they stand"),
)

aside: Final = sa.Table(
    "aside",
    metadata,
    sa.Column("name", sa.String(16), primary_key=True, comment="pending, held: labels; lost: predictions; retired"),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.LargeBinary, nullable=False),
)

movement: Final = sa.Table(
    "movement",
    metadata,
    sa.Column("window_us", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("labels", sa.Text, nullable=False, comment="JSON: labels by status that this commit added to the window"),
    sa.Column("predictions", sa.BigInteger, nullable=False, comment="predictions that it added"),
    sa.Column("rebuilt", sa.Boolean, nullable=False, comment="whether it computed the window anew"),
    sa.Column("moves", sa.LargeBinary, comment="final values that it gave, changed or took away"),
)

emitted: Final = sa.Table(
    "emitted",
    metadata,
    sa.Column("time_unix_nano", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("series", sa.LargeBinary, nullable=False, comment="sorted digests of the series that have this time"),
)

outbox: Final = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("series", sa.Text, nullable=False),
    sa.Column("time_unix_nano", sa.BigInteger, nullable=False),
    sa.Column("point", sa.Text, nullable=False, comment="JSON"),
    sa.Column("status", sa.String(12), nullable=False, comment="waiting, accepted, rejected, partial or superseded"),
    sa.Column("message", sa.Text),
    sa.Index("outbox_waiting", "status", "id"),
)

run: Final = sa.Table(
    "run",
    metadata,
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("as_of_us", sa.BigInteger, nullable=False),
    sa.Column("committed_us", sa.BigInteger, nullable=False),
    sa.Column("summary", sa.Text, nullable=False, comment="JSON"),
)

BLOCKS: Final = (fact_block.c.facts, state_block.c.sums, exact_block.c.entries, aside.c.rows, movement.c.moves)
"""Cells that hold Arrow tables, compressed."""

for _cell in (*BLOCKS, emitted.c.series):  # PostgreSQL would spend time on compressing them again
    _stored = f'ALTER TABLE {_cell.table.name} ALTER COLUMN "{_cell.name}" SET STORAGE EXTERNAL'
    _told = sa.DDL(_stored).execute_if(dialect="postgresql")  # type: ignore[no-untyped-call]  # of SQLAlchemy
    sa.event.listen(_cell.table, "after_create", _told)


WORTH_THREADS: Final = 1 << 20
"""Bytes of a block from which several threads read it faster: one of 40 kB takes 0.4 ms, and with threads 2 to 10."""


def encode(table: pa.Table) -> bytes:
    """A table as compressed Arrow bytes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def decode(block: bytes, what: str) -> pa.Table:
    """The table that was encoded.

    Args:
        block: What `encode` gave.
        what: Names the block in the error.

    Raises:
        LedgerError: The bytes are damaged.
    """
    try:
        options = pa.ipc.IpcReadOptions(use_threads=len(block) >= WORTH_THREADS)
        with pa.ipc.open_stream(pa.BufferReader(block), options=options) as reader:
            return reader.read_all()
    except (pa.ArrowException, OSError) as error:
        message = f"The ledger's {what} cannot be decoded: {error}. See `otel-ml-metrics ledger check`."
        raise LedgerError(message) from error
