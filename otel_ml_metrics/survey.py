"""Everything that a ledger says as of an instant, gathered for those who look at it: nothing is written or sent.

Beside the values of each window there is the pool: the newest complete windows taken together, whose sums add up like
those of one. It has the rows for what one window has too few for: curves, slices, one arm against another.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from otel_ml_metrics.attribution.calendar import Judgement
from otel_ml_metrics.attribution.tables import distinct, rows_where
from otel_ml_metrics.auditor import see_ledger
from otel_ml_metrics.emission import Totals
from otel_ml_metrics.errors import ConfigurationError, InstantError, LedgerMismatchError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.instants import from_us, iso, to_us
from otel_ml_metrics.ledger.store import schema_of
from otel_ml_metrics.retired import as_retired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.evaluation_report import ReliabilityTable, ScoreTable, Value
    from otel_ml_metrics.ledger.commit import Head
    from otel_ml_metrics.ledger.reader import LedgerReader
    from otel_ml_metrics.valuation import Group

Arm = tuple[str | None, str | None, str | None]  # version, variant and output

Table = TypeVar("Table")

POOLED: Final = 30
"""Windows of the pool at most."""

AGED: Final = 21
"""Of the newest windows, so many have their values at every age; of those before, at the last one only."""

SHOWN: Final = 400
"""Windows of which values are given, unless more or fewer are asked for."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A measure that has no value in a window, and why.

    Args:
        measure: Name of the measure.
        window_start: Start of the window by prediction time.
        maturity: Age at which its predictions were judged, as declared.
        arm: Version, variant and output.
        reason: Such as `one_class`.
    """

    measure: str
    window_start: datetime
    maturity: str
    arm: Arm
    reason: str


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Some complete windows as if they were one, at the last maturity.

    Args:
        windows: Starts of them, ascending.
        values: Of all rows and of every slice; `window_start` and `window_end` are those of the pool. Exact measures
            have none: they are no sums.
        gaps: Measures of all rows that have no value.
        reliability: Of all rows; or why there are none.
        scores: Of all rows; or why there are none.
    """

    windows: tuple[datetime, ...] = ()
    values: tuple[Value, ...] = ()
    gaps: tuple[Gap, ...] = ()
    reliability: tuple[ReliabilityTable, ...] | str = ()
    scores: tuple[ScoreTable, ...] | str = ()


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a ledger says as of an instant.

    Args:
        evaluation: Whose ledger.
        as_of: The instant; None where the ledger has no commit yet, or is not there.
        ledger_version: Commits so far.
        windows: Starts of the windows of which values are given, ascending.
        earlier: Windows before them, of which none are.
        values: Of all rows, of each window at the last age, and of the newest windows at every age; provisional ones
            where the evaluation asks for them.
        gaps: Measures of those windows that have no value.
        pool: The newest complete windows, of every arm.
        pairs: By arm other than the first: the newest complete windows in which both served.
        totals: What the ledger counts: labels by status, delays, what was left out.
        waiting: Labels that wait for their prediction.
        held: Labels that are held back for a later run.
    """

    evaluation: Evaluation
    as_of: datetime | None = None
    ledger_version: int = 0
    windows: tuple[datetime, ...] = ()
    earlier: int = 0
    values: tuple[Value, ...] = ()
    gaps: tuple[Gap, ...] = ()
    pool: Pool = field(default_factory=Pool)
    pairs: Mapping[tuple[Arm, Arm], Pool] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)
    waiting: int = 0
    held: int = 0


def survey(evaluation: Evaluation, *, as_of: datetime | None = None, windows: int = SHOWN) -> Survey:
    """Gather what the ledger of an evaluation says; one that is not there yet says nothing, and is not made.

    Args:
        evaluation: Whose ledger.
        as_of: What was final at that instant; default: as of its last run.
        windows: Of the newest of them values are given, at least 1.

    Raises:
        InstantError: The instant has no time zone, or it is past the ledger's last run.
        LedgerError: The ledger cannot be read.
        LedgerMismatchError: The ledger is of an earlier version, or measures, slices or maturities changed since its
            last run.
    """
    if schema_of(evaluation.ledger) is None:
        return Survey(evaluation=evaluation)
    see_ledger(evaluation, may_migrate=False)
    with Surveyor(evaluation, environ={}) as surveyor:
        return surveyor.survey(as_of=as_of, windows=windows)


class Surveyor(Evaluator):
    """An evaluator that only looks. Arguments as for `Evaluator`."""

    def survey(self, *, as_of: datetime | None = None, windows: int = SHOWN) -> Survey:
        """Gather what the ledger says, as it is at one moment; arguments and errors as of `survey`."""
        with self._ledger.snapshot() as ledger:
            head = self._settled(ledger)
            if head.as_of_us is None:
                return Survey(evaluation=self._evaluation, ledger_version=head.version)
            as_of_us = self._instant(head.as_of_us, as_of)
            return self._surveyed(ledger, head, as_of_us, windows)

    def _settled(self, ledger: LedgerReader) -> Head:
        head = self._checked_head(ledger)
        if self._is_extended(head):
            message = "Measures, slices or maturities changed since the last run; evaluate up to now first."
            raise LedgerMismatchError(message)
        return head

    def _instant(self, head_us: int, as_of: datetime | None) -> int:
        as_of_us = head_us if as_of is None else to_us(as_of)
        if as_of_us > head_us:
            told = iso(from_us(as_of_us))
            message = f"The ledger stands at {iso(from_us(head_us))}, so it cannot say what is final at {told}."
            raise InstantError(f"{message} Evaluate up to there first.")  # noqa: TRY003, EM102
        return as_of_us

    def _surveyed(self, ledger: LedgerReader, head: Head, as_of_us: int, most: int) -> Survey:
        every = {self._calendar.window_of(tile) for tile in ledger.tiles() if tile < as_of_us}
        shown = sorted(every)[-most:]
        states = ledger.states(self._tiles(ledger, shown))
        groups = self._groups(ledger, states, shown, as_of_us)
        served = self._served(ledger, groups)
        return Survey(
            evaluation=self._evaluation,
            as_of=from_us(as_of_us),
            ledger_version=head.version,
            windows=tuple(map(from_us, shown)),
            earlier=len(every) - len(shown),
            values=tuple(value for group in groups for value in group.values.values()),
            gaps=tuple(_gaps(groups)),
            pool=self._pool(states, set().union(*served.values())),
            pairs={
                (first, other): self._pool(self._whole(states), served[first] & served[other])
                for first in served
                for other in served
                if first != other and first[2] == other[2]
            },
            totals=Totals.of(head.totals),
            waiting=len(ledger.pending()),
            held=len(ledger.held()),
        )

    def _tiles(self, ledger: LedgerReader, windows: Iterable[int]) -> list[int]:
        wanted = frozenset(windows)
        return [tile for tile in ledger.tiles() if self._calendar.window_of(tile) in wanted]

    def _groups(self, ledger: LedgerReader, states: pa.Table, windows: Sequence[int], as_of_us: int) -> list[Group]:
        """All rows of each window at each age, judged."""
        last, aged = self._evaluation.maturities[-1], frozenset(windows[-AGED:])
        judgements = [
            each
            for each in self._calendar.judgements(windows, as_of_us=as_of_us)
            if each.maturity == last or each.window_us in aged
        ]
        groups = self._exact.recalled(self._valuation.groups(self._whole(states), judgements), ledger)
        kept = as_retired(groups, ledger.retired(), self._evaluation)
        return [kept[key] for key in sorted(kept) if not kept[key].slice]

    def _whole(self, states: pa.Table) -> pa.Table:
        """The sums that values of all rows come from: without slices, unless measures compare them."""
        if any(measure.over for measure in self._evaluation.measures):
            return states
        return rows_where(states, "slice", "{}")

    def _served(self, ledger: LedgerReader, groups: Iterable[Group]) -> dict[Arm, frozenset[int]]:
        """By arm, its complete windows whose predictions are still there."""
        last, retirement = self._evaluation.maturities[-1].seconds_whole, ledger.retired()
        found: dict[Arm, frozenset[int]] = {}
        for group in groups:
            window, maturity = group.key[:2]
            if maturity == last and group.judgement.is_final and retirement.era_of(window) is None:
                found[_arm(group)] = found.get(_arm(group), frozenset()) | {window}
        return found

    def _pool(self, states: pa.Table, windows: Iterable[int]) -> Pool:
        """The newest of some windows as if they were one: their sums, put into the first of them, add up there."""
        chosen = sorted(windows)[-POOLED:]
        if not chosen:
            return Pool()
        first, last = chosen[0], chosen[-1]
        mine = {tile: self._calendar.window_of(tile) for tile in distinct(states, "tile_us")}
        tiles = pa.array([tile for tile, window in mine.items() if window in set(chosen)], pa.int64())
        pooled = states.filter(pc.is_in(states.column("tile_us"), value_set=tiles))
        at = pooled.schema.get_field_index("tile_us")
        pooled = pooled.set_column(at, "tile_us", pa.repeat(pa.scalar(first, pa.int64()), len(pooled)))
        judgements = [
            Judgement(first, self._evaluation.maturities[-1], self._calendar.end_of(first), is_final=True),
        ]
        groups = list(self._valuation.groups(pooled, judgements).values())
        end = from_us(self._calendar.end_of(last))
        whole = rows_where(pooled, "slice", "{}")
        return Pool(
            windows=tuple(map(from_us, chosen)),
            values=tuple(replace(value, window_end=end) for group in groups for value in group.values.values()),
            gaps=tuple(_gaps(group for group in groups if not group.slice)),
            reliability=_or_why(lambda: self._valuation.reliability(whole, judgements)),
            scores=_or_why(lambda: self._valuation.scores(whole, judgements)),
        )


def _or_why(tables: Callable[[], list[Table]]) -> tuple[Table, ...] | str:
    """Tables, or why the evaluation has none."""
    try:
        return tuple(tables())
    except ConfigurationError as error:
        return error.message


def _arm(group: Group) -> Arm:
    _, _, output, version, variant, _ = group.key
    return version or None, variant or None, output or None


def _gaps(groups: Iterable[Group]) -> Iterable[Gap]:
    for group in groups:
        for measure, reason in group.undefined.items():
            start, maturity = from_us(group.judgement.window_us), str(group.judgement.maturity)
            yield Gap(measure=measure, window_start=start, maturity=maturity, arm=_arm(group), reason=reason)
