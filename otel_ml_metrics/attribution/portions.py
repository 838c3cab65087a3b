"""Which files hold the rows of which segments of the prediction log: a file is a segment, or was made of several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SEGMENT_COLUMN: Final = "_segment"
"""Column of a compacted file: name of the segment that a row was logged in."""

ROW_COLUMN: Final = "_row"
"""Column of a compacted file: position of the row in that segment, from 0."""

CARRIED: Final = (SEGMENT_COLUMN, ROW_COLUMN)


@dataclass(frozen=True)
class Portion:
    """Rows of one file that a statement reads.

    Args:
        path: Where the file is.
        is_compacted: Whether its rows carry segment and row; else the file is the segment.
        only: Of a compacted file, the segments whose rows are meant; None for all of them.
    """

    path: str
    is_compacted: bool = False
    only: tuple[str, ...] | None = None
