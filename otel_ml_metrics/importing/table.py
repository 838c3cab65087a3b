"""A foreign log in a table or query of a database that grows by new rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics.errors import LogError
from otel_ml_metrics.importing.stretches import Stretch
from otel_ml_metrics.instants import DAY_US, from_us, iso
from otel_ml_metrics.sources.past import Past
from otel_ml_metrics.sources.table_reading import Reader
from otel_ml_metrics.sources.values import as_one

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_ml_metrics.declared_predictions import ForeignTable
    from otel_ml_metrics.importing.progress import Progress
    from otel_ml_metrics.sources.table_reading import TableReading

STEP_US: Final = DAY_US
"""How much time is taken at once, where the database compares exact instants: a first import that dies loses a step."""

GLANCE: Final = 1_000
"""Rows that a check looks at."""


class ForeignRows:
    """The rows of a database.

    Args:
        foreign: Where they are.
        columns: Those that are carried over, as far as they are there.
        horizon_us: The longest label delay that is used: so far back rows are counted, to see if they stay.
    """

    def __init__(self, foreign: ForeignTable, columns: Sequence[str], *, horizon_us: int) -> None:
        self.shown = foreign.shown
        self.warnings: list[str] = []
        self._horizon_us = horizon_us
        self._reader = Reader(
            foreign,
            [foreign.id, foreign.predicted_at, *foreign.mapped.values()],
            foreign.predicted_at,
            foreign.zone,
            where="predictions",
            refusal=LogError,
            optional=columns,
        )

    def stretches(self, progress: Progress, *, until_us: int) -> Iterator[Stretch]:
        """Rows that came late, and then those with a later instant than all that were taken."""
        past = None if progress.table is None else Past.of(progress.table)
        if past is not None:
            yield from self._late(past)
        after_us = None if past is None else past.until_us
        while True:
            with self._reader.look() as reading:
                first_us = reading.first_us(after_us)
                if first_us is None or first_us > until_us:
                    return
                stretch = self._step(reading, after_us, first_us, until_us)
                yield stretch
            if not reading.is_exact or stretch.span_us is None:
                return
            after_us = stretch.span_us[1]

    def glance(self) -> Stretch | None:
        """A few rows, whichever come first."""
        with self._reader.look() as reading:
            rows = as_one([reading.some(GLANCE)])
        if not len(rows):
            return None
        return Stretch(frozenset(reading.names), lambda columns: iter([rows.select(columns)]), _nothing)

    def names(self) -> frozenset[str]:
        """Names of all columns."""
        with self._reader.look() as reading:
            return frozenset(reading.names)

    def close(self) -> None:
        """Hold nothing: a look at the table ends by itself."""

    def _step(self, reading: TableReading, after_us: int | None, first_us: int, until_us: int) -> Stretch:
        """The next rows; what was counted of them is the state of the moment at which they were read."""
        start_us = first_us - 1 if reading.is_exact else after_us
        end_us = min(first_us - 1 + STEP_US, until_us) if reading.is_exact else until_us

        def note(progress: Progress) -> None:
            is_last = not reading.is_exact or reading.first_us(end_us) is None
            since_us = end_us - self._horizon_us
            past = Past.counted(reading, since_us=since_us, until_us=end_us) if is_last else Past(end_us, since_us)
            progress.table = past.to_text()

        return Stretch(
            frozenset(reading.names),
            lambda columns: reading.tables(start_us, end_us, columns=columns),
            note,
            span_us=(start_us, end_us),
        )

    def _late(self, past: Past) -> Iterator[Stretch]:
        """Rows that were not there when later ones were taken, if the table is another than it was."""
        with self._reader.look() as reading:
            if past.seen_again(reading).rewritten_us is None:
                return
            since_us, until_us = past.since_us, past.until_us
            now = Past.counted(reading, since_us=until_us - self._horizon_us, until_us=until_us)

            def note(progress: Progress) -> None:
                progress.table = now.to_text()

            stretch = Stretch(
                frozenset(reading.names),
                lambda columns: reading.tables(since_us, until_us, columns=columns),
                note,
                span_us=(since_us, until_us),
                is_late=True,
            )
            yield stretch
        self.warnings.append(
            f"Rows of the {self.shown} between {iso(from_us(since_us))} and {iso(from_us(until_us))} were added,"
            f" changed or deleted after they were taken over. {stretch.rows:,} that came late are taken over now; what"
            " was changed or deleted is not used. To take all of it over anew, name another folder under predictions:"
            " into: and another ledger."
        )


def _nothing(_progress: Progress) -> None:
    """Nothing to note of rows that are only looked at."""
