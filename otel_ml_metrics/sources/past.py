"""What is remembered of the rows that were read, to see later whether the source rewrote them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Self

from otel_ml_metrics.sources.table_reading import Tally

if TYPE_CHECKING:
    from otel_ml_metrics.sources.table_reading import TableReading


@dataclass(frozen=True)
class Past:
    """The rows of a source as they were when they were read.

    Args:
        until_us: Everything received until then was read.
        since_us: What was received since then was counted.
        begins_us: The first instant that the source had; None where it was not looked at.
        tally: What was counted; None where nothing was.
        rewritten_us: Between which instants rows were found to be others than those that were read.
    """

    until_us: int
    since_us: int
    begins_us: int | None = None
    tally: Tally | None = None
    rewritten_us: tuple[int, int] | None = None

    @classmethod
    def counted(cls, reading: TableReading, *, since_us: int, until_us: int, begins_us: int | None = None) -> Self:
        """Count what a source has."""
        return cls(until_us, since_us, begins_us, reading.tally(since_us, until_us))

    @classmethod
    def of(cls, text: str) -> Self:
        """Read what `to_text` wrote."""
        kept = json.loads(text)
        tally, span = kept["tally"], kept["rewritten_us"]
        return cls(**kept | {"tally": tally and Tally(*tally), "rewritten_us": span and tuple(span)})

    def to_text(self) -> str:
        """As a text to be kept."""
        return json.dumps(asdict(self))

    def seen_again(self, reading: TableReading) -> Past:
        """The same, with what is found to be rewritten since; at once if nothing was counted."""
        if self.tally is None or reading.tally(self.since_us, self.until_us) == self.tally:
            return self
        since, until = self.rewritten_us or (self.since_us, self.until_us)
        return replace(self, rewritten_us=(min(since, self.since_us), max(until, self.until_us)))
