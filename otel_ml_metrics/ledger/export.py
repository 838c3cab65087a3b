"""A ledger as files that anybody can read: Parquet for rows, JSON for the rest, all of one moment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from pyarrow import parquet

from otel_ml_metrics.attribution.tables import EXACT, LOST, MOVES, RETIRED, SUMS
from otel_ml_metrics.ledger import schema
from otel_ml_metrics.ledger.schema import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Parts = Iterator[pa.Table]

MANIFEST: Final = "ledger.json"
"""Written last, so that a folder which has it is whole."""

_INSTANT: Final = pa.timestamp("us", tz="UTC")
_ROWS: Final = 50_000
"""Rows of a plain table that are in memory at once."""


@dataclass(frozen=True)
class Exported:
    """One file.

    Args:
        name: In the folder.
        told: What its rows are.
        parts: Gives them, as they are in the ledger.
    """

    name: str
    told: str
    parts: Callable[[sa.Connection], Parts]


def files(facts: pa.Schema) -> list[Exported]:
    """Everything that is exported, but the manifest."""
    return [
        Exported(
            "sums.parquet",
            "One row per sum: what was counted or added up per tile (a window or a 24th of it), version, variant,"
            " slice and delay bucket (seconds; 0 for sums over predictions). The sum at a maturity is the sum over the"
            " buckets up to it. What follows @ in a sum's name is k: its value is a multiple of 2^-k.",
            lambda connection: _blocks(connection, schema.state_block.c.sums, SUMS),
        ),
        Exported(
            "exact_values.parquet",
            "Final values of the exact measures as they stand: per window and maturity (in seconds), version, variant"
            " and slice, with their support, or why there is none.",
            lambda connection: _blocks(connection, schema.exact_block.c.entries, EXACT),
        ),
        Exported(
            "labels.parquet",
            "One row per label that was applied to a prediction, by the date of the prediction.",
            lambda connection: _blocks(connection, schema.fact_block.c.facts, facts),
        ),
        Exported(
            "waiting_labels.parquet",
            "Labels whose prediction is not there yet.",
            lambda connection: _aside(connection, "pending", facts),
        ),
        Exported(
            "held_labels.parquet",
            "Labels that are held back for a later run.",
            lambda connection: _aside(connection, "held", facts),
        ),
        Exported(
            "repeated_predictions.parquet",
            "Rows of the prediction log whose id an earlier row has; they count for nothing.",
            lambda connection: _aside(connection, "lost", LOST),
        ),
        Exported(
            "retired.parquet",
            "Up to where predictions and labels were retired, and what the sums of their windows mean (JSON).",
            lambda connection: _aside(connection, "retired", RETIRED),
        ),
        Exported(
            "history.parquet",
            "Final values as each commit left them: window, ledger_version, and the value, or why it is undefined.",
            lambda connection: _blocks(connection, schema.movement.c.moves, MOVES),
        ),
        Exported(
            "movements.parquet",
            "Which commit moved which window: labels by status (JSON) and predictions that it added.",
            lambda connection: _plain(connection, schema.movement, without="moves"),
        ),
        Exported(
            "inputs.parquet",
            "Label files and segments, and how far they were taken.",
            lambda connection: _plain(connection, schema.input_file),
        ),
        Exported("runs.parquet", "Every commit.", lambda connection: _plain(connection, schema.run)),
        Exported(
            "outbox.parquet",
            "Points for the receiver and what became of them; those that it accepted long ago are gone.",
            lambda connection: _plain(connection, schema.outbox),
        ),
    ]


def export(connection: sa.Connection, file: Exported, folder: Path) -> int:
    """Write one file; how many rows it has.

    Args:
        connection: A transaction that sees one state of the ledger.
        file: What is written.
        folder: Where.
    """
    rows = 0
    parts = map(_readable, file.parts(connection))
    first = next(parts)
    with parquet.ParquetWriter(folder / file.name, first.schema, compression="zstd") as writer:
        for part in (first, *parts):
            writer.write_table(part.cast(first.schema))
            rows += len(part)
    return rows


def write_manifest(connection: sa.Connection, folder: Path, told: Mapping[str, Any]) -> None:
    """Write what the ledger as a whole says, and what the files are."""
    row = connection.execute(sa.select(schema.head)).mappings().first()
    head = {} if row is None else {name: value for name, value in row.items() if name != "id"}
    for name in ("definition", "totals"):
        head[name] = json.loads(head.get(name, "{}"))
    text = json.dumps({**told, "head": head}, indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(f"{text}\n", encoding="utf-8")


def _blocks(connection: sa.Connection, cell: sa.Column[Any], empty: pa.Schema) -> Parts:
    """The rows of all blocks, each with the key of its block before it; at first none."""
    keys = [column for column in cell.table.columns if column.name not in {"id", *_NOT_KEYS, cell.name}]
    fields = [pa.field(_renamed(key.name), _arrow(key)) for key in keys]
    layout = pa.schema([*fields, *empty])
    yield layout.empty_table()
    query = sa.select(*keys, cell.label("block")).where(cell.is_not(None)).order_by(*cell.table.primary_key)
    for row in connection.execute(query.execution_options(yield_per=1)):
        table = decode(row.block, f"block of {cell.table.name}")
        before = [
            pa.array([value] * len(table), field.type) for value, field in zip(tuple(row)[:-1], fields, strict=True)
        ]
        yield pa.table([*before, *table.columns], schema=layout)


_NOT_KEYS: Final = ("labels", "predictions", "rebuilt")


def _renamed(name: str) -> str:
    """The ledger's own version, where the rows have one of the model."""
    return "ledger_version" if name == "version" else name


def _aside(connection: sa.Connection, name: str, empty: pa.Schema) -> Parts:
    block = connection.scalar(sa.select(schema.aside.c.rows).where(schema.aside.c.name == name))
    yield empty.empty_table() if block is None else decode(block, f"block {name!r}")


def _plain(connection: sa.Connection, table: sa.Table, without: str = "") -> Parts:
    columns = [column for column in table.columns if column.name != without]
    layout = pa.schema([pa.field(column.name, _arrow(column)) for column in columns])
    yield layout.empty_table()
    rows = connection.execute(sa.select(*columns).order_by(*table.primary_key).execution_options(yield_per=_ROWS))
    for some in rows.mappings().partitions():
        yield pa.Table.from_pylist([dict(row) for row in some], layout)


def _arrow(column: sa.Column[Any]) -> pa.DataType:
    if isinstance(column.type, sa.Boolean):
        return pa.bool_()
    return pa.string() if isinstance(column.type, sa.String) else pa.int64()


def _readable(table: pa.Table) -> pa.Table:
    """Microseconds of Unix time as instants, under names without their unit."""
    for at, name in enumerate(table.column_names):
        if name.endswith("_us"):
            instants = pc.cast(table.column(name), _INSTANT)
            table = table.set_column(at, _INSTANTS.get(name, f"{name.removesuffix('_us')}_at"), instants)
    return table


_INSTANTS: Final = {
    "as_of_us": "as_of", "taken_until_us": "taken_until", "tile_us": "tile_start", "window_us": "window_start",
}  # fmt: skip
