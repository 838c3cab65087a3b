"""A stretch of a foreign log: what is taken over at a time, as a whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from otel_ml_metrics.importing.progress import Progress


@dataclass
class Stretch:
    """Some rows of a foreign log.

    Args:
        available: Names of their columns; of files, of any of them.
        tables: Gives the rows of these columns, some at a time, in an order that stays.
        note: Notes in the progress that the stretch was taken.
        span_us: Rows with an instant in (first, second] belong to it, others do not; None for all.
        is_late: Whether rows of it were taken before, so that only ids are taken that are not there yet.
        rows: How many were taken, once they are.
    """

    available: frozenset[str]
    tables: Callable[[Sequence[str]], Iterator[pa.Table]]
    note: Callable[[Progress], None]
    span_us: tuple[int | None, int] | None = None
    is_late: bool = False
    rows: int = 0


class ForeignSource(Protocol):
    """Where a foreign log is."""

    shown: str

    def stretches(self, progress: Progress, *, until_us: int) -> Iterator[Stretch]:
        """What is new, in order; a stretch can be read until the next one is asked for.

        Raises:
            LogError: The foreign log cannot be read.
        """

    def glance(self) -> Stretch | None:
        """A few rows, to see whether they can be read; None where there are none."""

    def names(self) -> frozenset[str]:
        """Names of all columns; none where nothing is there yet.

        Raises:
            LogError: The foreign log cannot be read.
        """

    def close(self) -> None:
        """Let go of what it holds."""

    @property
    def warnings(self) -> Sequence[str]:
        """What an operator should know, once all stretches were asked for."""
