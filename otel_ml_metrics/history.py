"""How the values of windows moved, commit by commit, as the ledger kept it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from otel_ml_metrics.attribution.tables import rows_where, slice_text
from otel_ml_metrics.instants import from_us, iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa

    from otel_ml_metrics.ledger.commit import WindowCommit


@dataclass(frozen=True, kw_only=True)
class Move:
    """A final value as one commit left it.

    Args:
        event: `final`: it became final; `revised`: it, its interval, support or coverage changed; `undefined`: it
            cannot be given any more.
        measure: Name of the measure.
        value: In the unit of the measure; None where it is undefined.
        before: What it was until then; None where it was not final, or undefined.
        lower: Lower end of the 95 % interval; None where theory gives none.
        upper: Upper end of it.
        support: Rows behind the value.
        coverage: Labelled share of the mature predictions; None where none is mature.
        undefined: Why there is no value; None where there is one.
        window_start: Start of the window by prediction time.
        window_end: Its end, not included.
        maturity: Age at which the predictions were judged, as declared.
        model: Name of the model.
        version: Of the model; None where versions are merged or not known.
        variant: None where variants are merged or not known.
        output: Name of the model's output; None where it has one only.
        slice: Field to value; empty for all rows.
        ledger_version: The commit.
        as_of: The instant that its run pretended was now.
    """

    event: str
    measure: str
    value: float | None
    before: float | None
    lower: float | None
    upper: float | None
    support: int
    coverage: float | None
    undefined: str | None
    window_start: datetime
    window_end: datetime
    maturity: str
    model: str
    version: str | None
    variant: str | None
    output: str | None
    slice: Mapping[str, str]
    ledger_version: int
    as_of: datetime

    @property
    def series(self) -> tuple[Any, ...]:
        """What it is the value of."""
        arm = (self.output, self.version, self.variant)
        return (self.window_start, self.measure, *arm, tuple(sorted(self.slice.items())), self.maturity)

    def to_dict(self) -> dict[str, Any]:
        """Plain types; instants are ISO 8601 in UTC."""
        return _plain(asdict(self))


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one commit brought to one window.

    Args:
        window_start: Start of the window by prediction time.
        window_end: Its end, not included.
        ledger_version: The commit.
        as_of: The instant that its run pretended was now.
        committed_at: When it was.
        labels: Labels by status that it added to the window; below 0 where an earlier label changed what a later one
            counts as.
        predictions: Predictions that it added.
        rebuilt: Whether it computed the window anew (a backfill, a repair, a changed evaluation), adding nothing.
        moves: How many final values it gave, changed or took away, of all measures and slices.
    """

    window_start: datetime
    window_end: datetime
    ledger_version: int
    as_of: datetime
    committed_at: datetime
    labels: Mapping[str, int]
    predictions: int
    rebuilt: bool
    moves: int

    def to_dict(self) -> dict[str, Any]:
        """Plain types; instants are ISO 8601 in UTC."""
        return _plain(asdict(self))


@dataclass(frozen=True, kw_only=True)
class History:
    """How windows moved.

    Args:
        evaluation: Its name.
        model: Name of the model.
        steps: Every commit that moved these windows, by window and commit.
        moves: Every final value that came, changed or went, in the same order.
    """

    evaluation: str
    model: str
    steps: tuple[Step, ...]
    moves: tuple[Move, ...]

    @property
    def settled(self) -> tuple[Move, ...]:
        """The values as they stand now: of each series the last move, at each maturity."""
        last = {move.series: move for move in self.moves}
        return tuple(move for move in last.values() if move.value is not None)

    def settled_by(self, as_of: datetime) -> tuple[Move, ...]:
        """The values as they stood at an instant, by the runs up to then."""
        return replace(self, moves=tuple(move for move in self.moves if move.as_of <= as_of)).settled

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON; instants are ISO 8601 in UTC."""
        return {
            "evaluation": self.evaluation,
            "model": self.model,
            "steps": [step.to_dict() for step in self.steps],
            "moves": [move.to_dict() for move in self.moves],
            "settled": [move.to_dict() for move in self.settled],
        }


@dataclass(frozen=True)
class Narrator:
    """Tells the history of an evaluation.

    Args:
        evaluation: Its name.
        model: Name of the model.
        window_us: Length of a window.
        measure: Moves of this one only; None for all.
        slice: Moves of this slice only, `{}` for all rows; None for every slice.
    """

    evaluation: str
    model: str
    window_us: int
    measure: str | None = None
    slice: Mapping[str, str] | None = None

    def tell(self, commits: Sequence[WindowCommit]) -> History:
        """The history that some commits make, by window and version in order."""
        return History(
            evaluation=self.evaluation,
            model=self.model,
            steps=tuple(self._step(each) for each in commits),
            moves=tuple(self._moves(commits)),
        )

    def _step(self, commit: WindowCommit) -> Step:
        movement = commit.movement
        return Step(
            window_start=from_us(commit.window_us),
            window_end=from_us(commit.window_us + self.window_us),
            ledger_version=commit.version,
            as_of=from_us(commit.as_of_us),
            committed_at=from_us(commit.committed_us),
            labels=movement.labels,
            predictions=movement.predictions,
            rebuilt=movement.rebuilt,
            moves=0 if movement.moves is None else len(movement.moves),
        )

    def _moves(self, commits: Sequence[WindowCommit]) -> Iterator[Move]:
        known: dict[tuple[Any, ...], float | None] = {}
        for commit in commits:
            for row in [] if commit.movement.moves is None else self._meant(commit.movement.moves).to_pylist():
                series = (commit.window_us, *(row[name] for name in _SERIES))
                event = "undefined" if row["value"] is None else "revised" if series in known else "final"
                yield self._move(commit, row, json.loads(row["slice"]), event=event, before=known.get(series))
                known[series] = row["value"]

    def _meant(self, moves: pa.Table) -> pa.Table:
        """Those of the measure and of the slice; rows become Python's one by one, and there may be very many."""
        if self.measure is not None:
            moves = rows_where(moves, "measure", self.measure)
        return moves if self.slice is None else rows_where(moves, "slice", slice_text(self.slice))

    def _move(
        self,
        commit: WindowCommit,
        row: Mapping[str, Any],
        chosen: Mapping[str, str],
        *,
        event: str,
        before: float | None,
    ) -> Move:
        return Move(
            event=event,
            before=before,
            window_start=from_us(commit.window_us),
            window_end=from_us(commit.window_us + self.window_us),
            model=self.model,
            version=row["version"] or None,
            variant=row["variant"] or None,
            output=row["output"] or None,
            slice=chosen,
            ledger_version=commit.version,
            as_of=from_us(commit.as_of_us),
            **{name: row[name] for name in _TAKEN_OVER},
        )


_SERIES = ("measure", "output", "version", "variant", "slice", "maturity_s")
_TAKEN_OVER = ("measure", "value", "lower", "upper", "support", "coverage", "undefined", "maturity")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    instants = ("window_start", "window_end", "as_of", "committed_at")
    return row | {name: iso(row[name]) for name in instants if name in row}
