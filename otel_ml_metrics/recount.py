"""The sums of windows once more, from the prediction log and the labels that were applied, beside those of the ledger.

Nothing is written. Each span of windows is read from one snapshot of the ledger, whose sums and labels belong together,
so that runs which commit meanwhile do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from otel_ml_metrics.attribution.bounding import bounded_tiles
from otel_ml_metrics.attribution.tables import TILED_SUMS, distinct
from otel_ml_metrics.engines.comparison import differences
from otel_ml_metrics.errors import EngineError, LedgerError, LogError
from otel_ml_metrics.instants import DAY_US, EPOCH, to_us
from otel_ml_metrics.intake import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_ml_metrics.attribution.calendar import Calendar
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.engines.port import Engine
    from otel_ml_metrics.ledger.reader import LedgerReader
    from otel_ml_metrics.ledger.store import Ledger


@dataclass(frozen=True, kw_only=True)
class Span:
    """Windows that are computed again together, and what came of it.

    Args:
        start_us: Start of the first window.
        end_us: End of the last, not included.
        differences: Sums that differ, as `engines.comparison.differences` gives them; None where nothing could be
            computed.
        damaged: Tiles whose sums in the ledger cannot be decoded, and what is wrong with them.
        unreadable: Why nothing could be computed; None where it could.
    """

    start_us: int
    end_us: int
    differences: pa.Table | None = None
    damaged: dict[int, str] = field(default_factory=dict)
    unreadable: str | None = None

    @property
    def tiles(self) -> set[int]:
        """Tiles whose sums are not what they should be."""
        return {*([] if self.differences is None else distinct(self.differences, "tile_us")), *self.damaged}


class Recount:
    """Computes windows again.

    Args:
        evaluation: What is evaluated.
        calendar: Its windows.
        engine: Reads and adds up.
        ledger: What is checked.
    """

    def __init__(self, evaluation: Evaluation, calendar: Calendar, engine: Engine, ledger: Ledger) -> None:
        self._evaluation = evaluation
        self._calendar = calendar
        self._engine = engine
        self._ledger = ledger

    def spans(self, since_us: int | None = None, until_us: int | None = None) -> list[tuple[int, int]]:
        """Start and end of spans of whole windows, a day or a window each, that hold everything that was evaluated.

        Args:
            since_us: Leave out windows that end by then.
            until_us: Leave out windows that start then or later.
        """
        with self._ledger.snapshot() as ledger:
            known = [*ledger.tiles(), *_days(ledger)]
            first = ledger.retired().first_window(self._calendar)
        step = -(-DAY_US // self._calendar.window_us) * self._calendar.window_us
        if not known:
            return []
        earliest = max(each for each in (min(known), since_us, first) if each is not None)  # the rest cannot be read
        start = self._calendar.window_of(earliest)
        last = max(known) + DAY_US if until_us is None else min(until_us, max(known) + DAY_US)
        end = self._calendar.end_of(self._calendar.window_of(last - 1))
        return [(at, min(at + step, end)) for at in range(start, end, step)]

    def compare(self, spans: Iterable[tuple[int, int]]) -> Iterator[Span]:
        """Compute the windows of each span again and compare their sums with those of the ledger."""
        for start, end in spans:
            with self._ledger.snapshot() as ledger:
                yield self._compare(ledger, start, end)

    def _compare(self, ledger: LedgerReader, start: int, end: int) -> Span:
        stored, damaged = _stored(ledger, start, end)
        try:
            computed = self.computed(ledger, start, end)
        except (EngineError, LedgerError, LogError) as error:
            return Span(start_us=start, end_us=end, damaged=damaged, unreadable=str(error))
        return Span(
            start_us=start, end_us=end, differences=differences(self._engine, stored, computed), damaged=damaged
        )

    def computed(self, ledger: LedgerReader, start: int, end: int) -> pa.Table:
        """The sums of the tiles in a range, as log and labels have it; several rows of one sum belong together.

        Raises:
            LogError: The log cannot be read, or it has lost what was evaluated.
            LedgerError: A block of labels is damaged.
        """
        return bounded_tiles(Reading(self._evaluation, self._engine, ledger).retake(start_us=start, end_us=end).delta)


def _days(ledger: LedgerReader) -> Iterator[int]:
    """Start of each date of which segments were taken."""
    for each in ledger.inputs("segment").values():
        if each.date is not None:
            yield to_us(EPOCH.fromisoformat(f"{each.date}T00:00:00Z"))


def _stored(ledger: LedgerReader, start: int, end: int) -> tuple[pa.Table, dict[int, str]]:
    """The sums of the ledger in a range, and the tiles whose sums are damaged."""
    parts, damaged = [TILED_SUMS.empty_table()], {}
    for tile in ledger.tiles():
        if start <= tile < end:
            try:
                ledger.exact([tile])  # a window starts with its first tile
                parts.append(ledger.states([tile]).select(TILED_SUMS.names))
            except (KeyError, LedgerError) as error:
                damaged[tile] = str(error)
    return pa.concat_tables(parts), damaged
