"""What a ledger says."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy as sa

from otel_ml_metrics.attribution.inputs import Input
from otel_ml_metrics.attribution.retirement import Retirement
from otel_ml_metrics.attribution.tables import LOST, RETIRED, TILED_SUMS
from otel_ml_metrics.ledger import emitted, schema
from otel_ml_metrics.ledger.commit import Head, Movement, WindowCommit
from otel_ml_metrics.ledger.rows import chosen
from otel_ml_metrics.ledger.schema import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager


class LedgerReader:
    """Reads a ledger: every method in a transaction of its own, or all of them in one that is open.

    Args:
        reading: Opens a transaction, or gives the one that is open.
        facts: Columns of a label, and their types.
    """

    def __init__(self, reading: Callable[[], AbstractContextManager[sa.Connection]], *, facts: pa.Schema) -> None:
        self.fact_schema = facts
        self._reading = reading
        self._overlooked: frozenset[int] = frozenset()

    def head(self) -> Head:
        """Where the ledger stands."""
        with self._reading() as connection:
            row = connection.execute(sa.select(schema.head)).mappings().first()
        if row is None:
            return Head()
        return Head(
            version=row["version"],
            as_of_us=row["as_of_us"],
            created_us=row["created_us"],
            definition=json.loads(row["definition"]),
            totals=json.loads(row["totals"]),
        )

    def inputs(self, kind: str) -> dict[str, Input]:
        """How far the label files or segments were taken, by name."""
        table = schema.input_file
        names = ("kind", "name", "stat", "fingerprint", "taken_until_us", "last_us", "date", "foreign_ids")
        query = sa.select(*(table.c[name] for name in names)).where(table.c.kind == kind)
        with self._reading() as connection:
            return {row.name: Input(*row) for row in connection.execute(query)}

    def facts(self, dates: Iterable[str]) -> pa.Table:
        """All labels that were applied to predictions of these dates, with the date.

        Raises:
            LedgerError: A block of them is damaged.
        """
        blocks = []
        table = schema.fact_block
        with self._reading() as connection:
            for date in sorted(dates):
                query = sa.select(table.c.facts).where(table.c.date == date).order_by(table.c.id)
                for (block,) in connection.execute(query):
                    facts = decode(block, f"block of labels of {date}")
                    blocks.append(facts.append_column("date", pa.array([date] * len(facts), pa.string())))
        return (
            pa.concat_tables(blocks) if blocks else self.fact_schema.append(pa.field("date", pa.string())).empty_table()
        )

    def tiles(self) -> list[int]:
        """Start of every tile that has sums, ascending."""
        tile = schema.state_block.c.tile_us
        with self._reading() as connection:
            return list(connection.scalars(sa.select(tile).order_by(tile)))

    @contextmanager
    def overlooking(self, tiles: frozenset[int]) -> Iterator[None]:
        """For a repair: as long as this lasts, these tiles have no sums, whatever their damaged blocks hold."""
        self._overlooked = tiles
        try:
            yield
        finally:
            self._overlooked = frozenset()

    def states(self, tiles: Iterable[int]) -> pa.Table:
        """All sums of these tiles, with the tile.

        Raises:
            LedgerError: A block of them is damaged.
        """
        table = schema.state_block
        blocks = []
        with self._reading() as connection:
            for some in chosen(connection, table.c.tile_us, sorted(set(tiles) - self._overlooked)):
                for tile, block in connection.execute(sa.select(table.c.tile_us, table.c.sums).where(some)):
                    sums = decode(block, f"block of sums of tile {tile}")
                    blocks.append(sums.append_column("tile_us", pa.array([tile] * len(sums), pa.int64())))
        return pa.concat_tables(blocks) if blocks else TILED_SUMS.empty_table()

    def pending(self) -> pa.Table:
        """Labels that wait for their prediction."""
        return self._aside("pending", self.fact_schema)

    def held(self) -> pa.Table:
        """Labels that are left for a later run."""
        return self._aside("held", self.fact_schema)

    def lost(self) -> pa.Table:
        """Rows of the prediction log that repeat an id."""
        return self._aside("lost", LOST)

    def retired(self) -> Retirement:
        """Which part of the past is closed for good."""
        return Retirement.of(self._aside("retired", RETIRED))

    def _aside(self, name: str, empty: pa.Schema) -> pa.Table:
        with self._reading() as connection:
            block = connection.scalar(sa.select(schema.aside.c.rows).where(schema.aside.c.name == name))
        return decode(block, f"block {name!r}") if block is not None else empty.empty_table()

    def emitted(self, pairs: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
        """Those pairs of series and time that were sent once and for all, or are going to be."""
        with self._reading() as connection:
            return emitted.among(connection, pairs)

    def movements(self, window_us: int | None = None) -> list[WindowCommit]:
        """The commits that moved a window, or every window, by window and version.

        Raises:
            LedgerError: A block of moves is damaged.
        """
        table, run = schema.movement, schema.run
        query = (
            sa.select(table, run.c.as_of_us, run.c.committed_us)
            .join(run, run.c.version == table.c.version)
            .order_by(table.c.window_us, table.c.version)
        )
        if window_us is not None:
            query = query.where(table.c.window_us == window_us)
        with self._reading() as connection:
            return [_window_commit(row) for row in connection.execute(query)]

    def runs(self) -> Iterator[dict[str, Any]]:
        """Every commit, as the table `run` has it, the oldest first."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(schema.run).order_by(schema.run.c.version)).mappings().all()
        return map(dict, rows)


def _window_commit(row: sa.Row[Any]) -> WindowCommit:
    moves = None if row.moves is None else decode(row.moves, f"block of moves of window {row.window_us}")
    return WindowCommit(
        window_us=row.window_us,
        version=row.version,
        as_of_us=row.as_of_us,
        committed_us=row.committed_us,
        movement=Movement(labels=json.loads(row.labels), predictions=row.predictions, rebuilt=row.rebuilt, moves=moves),
    )
