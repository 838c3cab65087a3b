"""What a ledger says."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import sqlalchemy as sa

from otel_ml_metrics.attribution.inputs import LABEL, SEGMENT, Input
from otel_ml_metrics.attribution.retirement import Retirement
from otel_ml_metrics.attribution.tables import LOST, RETIRED, TILED_SUMS
from otel_ml_metrics.ledger import emitted, schema
from otel_ml_metrics.ledger.commit import Head, Movement, WindowCommit
from otel_ml_metrics.ledger.rows import chosen
from otel_ml_metrics.ledger.schema import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

_INPUT_COLUMNS: Final = {
    LABEL: ("name", "stat", "fingerprint", "taken_until_us", "last_us"),
    SEGMENT: ("name", "date", "foreign_ids"),
}
"""What an input of each kind has; the other columns stay empty."""


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

    def committed_us(self) -> int | None:
        """When the newest commit was; None for a new ledger."""
        newest = sa.select(schema.run.c.committed_us).order_by(schema.run.c.version.desc()).limit(1)
        with self._reading() as connection:
            return connection.scalar(newest)

    def inputs(self, kind: str) -> dict[str, Input]:
        """How far the label files or segments were taken, by name."""
        table, names = schema.input_file, _INPUT_COLUMNS[kind]
        query = sa.select(*(table.c[name] for name in names)).where(table.c.kind == kind)
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return {row[0]: Input(kind, **dict(zip(names, row, strict=True))) for row in rows}

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
                    blocks.append(_dated(decode(block, f"block of labels of {date}"), date))
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
        """For a repair: as long as this lasts, these tiles (and windows) have no sums, whatever damaged blocks hold."""
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
                    blocks.append(sums.append_column("tile_us", pa.repeat(pa.scalar(tile, pa.int64()), len(sums))))
        return pa.concat_tables(blocks) if blocks else TILED_SUMS.empty_table()

    def exact(self, windows: Iterable[int]) -> dict[int, pa.Table]:
        """The final values of exact measures in these windows, as `EXACT`, by start of the window.

        Raises:
            LedgerError: A block of them is damaged.
        """
        table = schema.exact_block
        blocks = {}
        with self._reading() as connection:
            for some in chosen(connection, table.c.window_us, sorted(set(windows) - self._overlooked)):
                for window, block in connection.execute(sa.select(table.c.window_us, table.c.entries).where(some)):
                    blocks[window] = decode(block, f"block of exact values of window {window}")
        return blocks

    def ahead(
        self,
        *,
        inputs: Iterable[Input],
        facts: Mapping[str, pa.Table],
        replaced_dates: frozenset[str],
        lost: pa.Table | None,
    ) -> LedgerReader:
        """The labels and inputs as a commit of these is going to leave them; arguments as of `Commit`."""
        return _Ahead(
            self._reading,
            facts=self.fact_schema,
            new_inputs={(each.kind, each.name): each for each in inputs},
            new_facts=facts,
            replaced_dates=replaced_dates,
            new_lost=lost,
        )

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

    def movements(self, window_us: int | None = None, *, since_us: int | None = None) -> list[WindowCommit]:
        """The commits that moved a window, the windows from an instant on, or every window, by window and version.

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
        if since_us is not None:
            query = query.where(table.c.window_us >= since_us)
        with self._reading() as connection:
            return [_window_commit(row) for row in connection.execute(query)]

    def runs(self) -> Iterator[dict[str, Any]]:
        """Every commit, as the table `run` has it, the oldest first."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(schema.run).order_by(schema.run.c.version)).mappings().all()
        return map(dict, rows)


class _Ahead(LedgerReader):
    """A ledger as the next commit is going to leave it, as far as labels, inputs and repeated rows go."""

    def __init__(
        self,
        reading: Callable[[], AbstractContextManager[sa.Connection]],
        *,
        facts: pa.Schema,
        new_inputs: Mapping[tuple[str, str], Input],
        new_facts: Mapping[str, pa.Table],
        replaced_dates: frozenset[str],
        new_lost: pa.Table | None,
    ) -> None:
        super().__init__(reading, facts=facts)
        self._new_inputs = new_inputs
        self._new_facts = new_facts
        self._replaced_dates = replaced_dates
        self._new_lost = new_lost

    def inputs(self, kind: str) -> dict[str, Input]:
        new = {name: each for (of, name), each in self._new_inputs.items() if of == kind}
        return super().inputs(kind) | new

    def facts(self, dates: Iterable[str]) -> pa.Table:
        wanted = set(dates)
        new = [_dated(self._new_facts[date], date) for date in sorted(wanted & self._new_facts.keys())]
        return pa.concat_tables([super().facts(wanted - self._replaced_dates), *new])

    def lost(self) -> pa.Table:
        return super().lost() if self._new_lost is None else self._new_lost


def _dated(facts: pa.Table, date: str) -> pa.Table:
    return facts.append_column("date", pa.repeat(pa.scalar(date, pa.string()), len(facts)))


def _window_commit(row: sa.Row[Any]) -> WindowCommit:
    moves = None if row.moves is None else decode(row.moves, f"block of moves of window {row.window_us}")
    return WindowCommit(
        window_us=row.window_us,
        version=row.version,
        as_of_us=row.as_of_us,
        committed_us=row.committed_us,
        movement=Movement(labels=json.loads(row.labels), predictions=row.predictions, rebuilt=row.rebuilt, moves=moves),
    )
