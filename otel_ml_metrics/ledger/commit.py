"""What the ledger is given, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from otel_ml_metrics.attribution.inputs import Input


@dataclass(frozen=True)
class Head:
    """Where the ledger stands.

    Args:
        version: Commits so far; 0 for a new ledger.
        as_of_us: The instant up to which labels were taken; None for a new ledger.
        created_us: When it was made.
        definition: What its sums mean; None for a new ledger.
        totals: What the cumulative metrics count.
    """

    version: int = 0
    as_of_us: int | None = None
    created_us: int = 0
    definition: Mapping[str, Any] | None = None
    totals: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Movement:
    """How one commit moved one window.

    Args:
        labels: Labels by status that it added; fewer than none where an earlier label changed what a later one counts
            as.
        predictions: Predictions that it added.
        rebuilt: Whether it computed the window anew, so that nothing was added.
        moves: Final values that it gave, changed or took away, as `MOVES`; None where there are none.
    """

    labels: Mapping[str, int] = field(default_factory=dict)
    predictions: int = 0
    rebuilt: bool = False
    moves: pa.Table | None = None


@dataclass(frozen=True, kw_only=True)
class WindowCommit:
    """One commit that moved a window.

    Args:
        window_us: Start of the window.
        version: Of the ledger, after the commit.
        as_of_us: The instant that the run pretended was now.
        committed_us: When the run was.
        movement: What it moved.
    """

    window_us: int
    version: int
    as_of_us: int
    committed_us: int
    movement: Movement


@dataclass(frozen=True, kw_only=True)
class Commit:
    """Everything that one run changes.

    Args:
        read_version: The version that the run read; the commit is refused if it is no longer the newest.
        as_of_us: The instant that the run pretended was now.
        now_us: When the run was.
        definition: What the sums mean.
        totals: What the cumulative metrics count.
        inputs: Progress of the files that moved on.
        facts: New facts by date of their prediction.
        replaced_dates: Dates whose facts are replaced, not added to.
        states: All sums of the tiles that changed, by tile.
        exact: All final values of exact measures of the windows in which they changed, as `EXACT`, by window.
        pending: Labels that wait, if they changed.
        held: Labels that are held back, if they changed.
        lost: Repeated predictions, if they changed.
        movements: By start of the window, how the run moved it.
        points: Outbox rows: series, time and point as JSON.
        once: Series and time of the points among them that are never to be sent with another value.
        summary: For the table of runs.
    """

    read_version: int
    as_of_us: int
    now_us: int
    definition: Mapping[str, Any]
    totals: Mapping[str, Any]
    inputs: Sequence[Input] = ()
    facts: Mapping[str, pa.Table] = field(default_factory=dict)
    replaced_dates: frozenset[str] = frozenset()
    states: Mapping[int, pa.Table] = field(default_factory=dict)
    exact: Mapping[int, pa.Table] = field(default_factory=dict)
    pending: pa.Table | None = None
    held: pa.Table | None = None
    lost: pa.Table | None = None
    movements: Mapping[int, Movement] = field(default_factory=dict)
    points: Sequence[tuple[str, int, str]] = ()
    once: Sequence[tuple[str, int]] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
