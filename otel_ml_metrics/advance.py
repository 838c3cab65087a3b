"""One step of the ledger: new sums, the values that they change, the points to send, and the commit of all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import csv

from otel_ml_metrics.attribution.bounding import bounded, bounds_of
from otel_ml_metrics.attribution.tables import TILED_SUMS, distinct, rows_where, sums_over_all, values
from otel_ml_metrics.declared import MOST_SLICES
from otel_ml_metrics.definition import definition_of
from otel_ml_metrics.emission import Emission, Totals, Waiting, changed, split_key
from otel_ml_metrics.engines.results import add_up
from otel_ml_metrics.errors import LedgerError
from otel_ml_metrics.evaluation_report import Report
from otel_ml_metrics.instants import from_us
from otel_ml_metrics.ledger.commit import Commit
from otel_ml_metrics.movement import Moved, movements
from otel_ml_metrics.retired import as_retired
from otel_ml_metrics.valuation import most_folded

if TYPE_CHECKING:
    from otel_ml_metrics.attribution.calendar import Calendar, Judgement
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.engines.port import Engine
    from otel_ml_metrics.exact_values import ExactValues
    from otel_ml_metrics.intake import Intake
    from otel_ml_metrics.ledger.commit import Head
    from otel_ml_metrics.ledger.reader import LedgerReader
    from otel_ml_metrics.telemetry.lagging import LaggingPoint
    from otel_ml_metrics.valuation import Group, GroupKey, Valuation

    Groups = dict[GroupKey, Group]


class Advance:
    """What one run changes, computed from what it read; nothing is written before `commit` is given to the ledger.

    Args:
        evaluation: What is evaluated.
        ledger: Where it stands.
        engine: Adds up.
        valuation: Gives values.
        exact: Gives those of exact measures.
        calendar: Says which windows may be judged.
        head: The head that was read.
        intake: What is new.
        as_of_us: The instant that the run pretends is now.
        now_us: When the run is.
        rebuilt: Tiles whose sums are replaced by those in the intake, instead of added to.
    """

    def __init__(
        self,
        *,
        evaluation: Evaluation,
        ledger: LedgerReader,
        engine: Engine,
        valuation: Valuation,
        exact: ExactValues,
        calendar: Calendar,
        head: Head,
        intake: Intake,
        as_of_us: int,
        now_us: int,
        rebuilt: frozenset[int] = frozenset(),
    ) -> None:
        self._evaluation = evaluation
        self._ledger = ledger
        self._valuation = valuation
        self._exact = exact
        self._calendar = calendar
        self._head = head
        self._intake = intake
        self._as_of_us = as_of_us
        self._now_us = now_us
        self._rebuilt = rebuilt
        self._retirement = ledger.retired()
        self._totals = Totals.of(head.totals)
        self._states = self._new_states(engine, rebuilt)
        self._tiles = sorted({*ledger.tiles(), *self._states})
        self.waiting = self._count_labels()
        self._count_left_out()
        self._judge()

    def _new_states(self, engine: Engine, rebuilt: frozenset[int]) -> dict[int, pa.Table]:
        delta = self._intake.delta
        tiles = set(distinct(delta, "tile_us"))
        if not tiles | rebuilt:
            return {}
        empty = TILED_SUMS.empty_table().drop_columns(["tile_us"])
        earlier = self._ledger.states(tiles - rebuilt).select(TILED_SUMS.names)
        added = add_up(engine, [earlier, delta])
        kept = {tile: bounded(sums, rows_where(earlier, "tile_us", tile)) for tile, sums in added.items()}
        return dict.fromkeys(rebuilt, empty) | kept

    def _count_labels(self) -> Waiting:
        """Count the labels by status; those that wait."""
        for row in self._intake.label_changes:
            self._totals.add_label(**row)  # type: ignore[arg-type]  # a row of the engine has the names of the arguments
        if self._intake.invalid is not None:
            self._totals.add_invalid(values(self._intake.invalid, "problem"))
        pending = self._ledger.pending() if self._intake.pending is None else self._intake.pending
        received = values(pending, "received_us")
        alive = [each for each in received if each >= self._as_of_us - self._evaluation.horizon.us]
        self._totals.labels["orphan"] = len(received) - len(alive)
        held = self._ledger.held() if self._intake.held is None else self._intake.held
        return Waiting(len(alive), self._as_of_us - min(alive, default=self._as_of_us), len(held))

    def _count_left_out(self) -> None:
        """Count the labelled rows that measures left out: what the ledger has of each reason, and what is added now."""
        exclusions = self._evaluation.exclusions
        keys = [each.key for each in self._evaluation.left_out_counts]
        added = sums_over_all(self._intake.delta, keys)
        replaced = sums_over_all(self._ledger.states(self._rebuilt), keys)
        earlier = (self._head.definition or {}).get("left_out", [])
        kept = {
            each.reason: self._totals.left_out.get(each.reason, 0) - each.count(replaced)
            for each in exclusions
            if each.reason in earlier
        }
        counts = {each.reason: kept.get(each.reason, 0) + each.count(added) for each in exclusions}
        self._totals.left_out = {reason: count for reason, count in counts.items() if count}

    def _judge(self) -> None:
        """Find what became final or changed."""
        calendar, earlier_us = self._calendar, self._head.as_of_us
        windows = {calendar.window_of(tile) for tile in self._tiles}
        touched = {calendar.window_of(tile) for tile in {*self._states, *self._intake.tiles}}
        were_final = (
            set()
            if earlier_us is None
            else {_of(each) for each in calendar.judgements(windows, as_of_us=earlier_us) if each.is_final}
        )
        self._were_final = were_final
        judgements = list(calendar.judgements(windows, as_of_us=self._as_of_us))
        newest = {(calendar.newest(each, as_of_us=self._as_of_us), each.seconds_whole) for each in calendar.maturities}
        is_current = {_of(each) for each in judgements if not each.is_final or _of(each) in newest}
        horizon = calendar.maturities[-1]
        closing = {
            each.window_us
            for each in judgements
            if each.is_final and each.maturity == horizon and _of(each) not in were_final
        }
        after = [
            each
            for each in judgements
            if each.window_us in touched | closing or _of(each) not in were_final or _of(each) in is_current
        ]
        before = [each for each in judgements if each.window_us in touched and _of(each) in were_final]
        fresh = [each for each in after if each.window_us in touched or _of(each) not in were_final]
        ahead = self._intake.ahead(self._ledger)
        self._renewed = self._exact.renewed(self._valued(after, new=True), fresh, self._ledger, ahead)
        self.groups = self._as_retired(self._renewed.groups)
        earlier = self._exact.recalled(self._valued(before, new=False), self._ledger)
        self._before = self._as_it_was_defined(self._as_retired(earlier))
        final = {key: group for key, group in self.groups.items() if group.judgement.is_final}
        compared = {key: group for key, group in final.items() if key[0] in touched or key[:2] not in were_final}
        self._new, self._revised = changed(self._before, compared)
        changes = {key: self._new.get(key, frozenset()) | self._revised.get(key, frozenset()) for key in compared}
        self._moved = Moved(before=self._before, after=compared, changes=changes)
        self._first = {key for key in compared if key not in self._before}
        self._current = [group for key, group in sorted(self.groups.items()) if key[:2] in is_current]
        self._count_values({key for key in compared if key[:2] not in were_final})
        self._count_closed(closing)

    def _valued(self, judgements: list[Judgement], *, new: bool) -> Groups:
        """The groups of some windows, as they were or as they become, by their sums."""
        states = self._load({each.window_us for each in judgements}, new=new)
        return self._valuation.groups(states, judgements)

    def _as_retired(self, groups: Groups) -> Groups:
        return as_retired(groups, self._retirement, self._evaluation)

    def _as_it_was_defined(self, groups: Groups) -> Groups:
        """Groups with only the measures and maturities that the ledger had: it has no sums of the others."""
        kept = self._head.definition or {"measures": {}, "maturities": []}
        return {
            key: replace(
                group, values={name: value for name, value in group.values.items() if name in kept["measures"]}
            )
            for key, group in groups.items()
            if group.judgement.maturity.seconds_whole in kept["maturities"]
        }

    def _count_closed(self, closing: set[int]) -> None:
        """Note how the labels of windows that are now complete had come in, over all slices."""
        labelled: dict[tuple[str, int], dict[int, int]] = {}
        for (window, maturity, _, version, variant, _), group in self.groups.items():
            if window in closing and group.key[-1] == "{}":
                counts = labelled.setdefault((split_key(version, variant), window), {})
                counts[maturity] = counts.get(maturity, 0) + group.explicit
        for (key, window), counts in sorted(labelled.items()):
            self._totals.add_closed(key, window, counts)

    def _count_values(self, newly_final: set[GroupKey]) -> None:
        self.undefined: dict[str, int] = {}
        for key in newly_final:
            for reason in self.groups[key].undefined.values():
                self.undefined[reason] = self.undefined.get(reason, 0) + 1
        for reason, count in self.undefined.items():
            self._totals.undefined[reason] = self._totals.undefined.get(reason, 0) + count
        for key, names in self._revised.items():
            earlier, now = self._before[key].values, self.groups[key].values
            count = sum(earlier[name].value != now[name].value for name in names)
            split = split_key(key[3], key[4])
            self._totals.revisions[split] = self._totals.revisions.get(split, 0) + count

    def _load(self, windows: set[int], *, new: bool) -> pa.Table:
        """The sums of these windows, as they were or as they become."""
        tiles = {tile for tile in self._tiles if self._calendar.window_of(tile) in windows}
        fresh = tiles & self._states.keys() if new else set()
        parts = [self._ledger.states(tiles - fresh).select(TILED_SUMS.names)]
        for tile in sorted(fresh):
            sums = self._states[tile]
            parts.append(
                sums.append_column("tile_us", pa.repeat(pa.scalar(tile, pa.int64()), len(sums))).cast(TILED_SUMS)
            )
        return pa.concat_tables(parts)

    def report(self) -> Report:
        """What became final or changed, before anything is written."""
        found = [
            self.groups[key].values[name]
            for key in sorted(self._new.keys() | self._revised.keys())
            for name in self.groups[key].values
            if name in self._new.get(key, ()) or name in self._revised.get(key, ())
        ]
        provisional = [
            value for group in self._current if not group.judgement.is_final for value in group.values.values()
        ]
        return Report(
            evaluation=self._evaluation.name,
            model=self._evaluation.model,
            as_of=from_us(self._as_of_us),
            ledger_version=self._head.version,
            values=(*found, *provisional),
            labels=dict(self._totals.labels),
            invalid=dict(self._totals.invalid),
            left_out=dict(self._totals.left_out),
            waiting=self.waiting.labels,
            held=self.waiting.held,
            undefined=self.undefined,
            folded=most_folded(self.groups.values()),
            warnings=(*self._intake.warnings, *self._renewed.warnings, *self._warn_of_bounds()),
        )

    def _warn_of_bounds(self) -> list[str]:
        """Say which fields have more values than the ledger tells apart."""
        kinds = {kind for sums in self._states.values() for kind in bounds_of(distinct(sums, "slice"))}
        return [
            f"There are more than {MOST_SLICES:,} slices by {', '.join(kind)} in a window. The ledger tells that many"
            " apart, chosen by name, and the rest is in (other): so the largest of them may not be the largest of all."
            " Slice by something with fewer values."
            for kind in sorted(kinds)
        ]

    def commit(self) -> Commit:
        """Everything that changes, for one transaction."""
        history, current = self._points()
        points = [*history, *current]
        return Commit(
            read_version=self._head.version,
            as_of_us=self._as_of_us,
            now_us=self._now_us,
            definition=definition_of(self._evaluation),
            totals=self._totals.to_dict(),
            inputs=self._intake.inputs,
            facts=self._intake.facts,
            replaced_dates=self._intake.replaced_dates,
            states=self._states,
            exact=self._renewed.blocks,
            pending=self._intake.pending,
            held=self._intake.held,
            lost=self._intake.lost,
            movements=movements(
                self._calendar,
                self._moved.by_window(),
                label_changes=self._intake.label_changes,
                delta=self._intake.delta,
                rebuilt=self._rebuilt,
            ),
            points=[(point.series, point.time_unix_nano, point.to_json()) for point in points],
            once=[(point.series, point.time_unix_nano) for point in history],
            summary=self._summary(len(points)),
        )

    def _points(self) -> tuple[list[LaggingPoint], list[LaggingPoint]]:
        """The points that carry their window's end, of which a backend takes one value each; and those stamped now."""
        # A clock that was set back must not stop every run until it has caught up: no point starts after its own time.
        start_us = min(self._head.created_us or self._now_us, self._now_us)
        emission = Emission(self._evaluation, now_us=self._now_us, start_us=start_us)
        counts = emission.counts(self._totals, waiting=self.waiting)
        if self._evaluation.timestamps == "emit":
            return [], [*emission.current(self._current), *counts]
        changes, first = dict(self._new), set(self._first)
        if self._evaluation.resend_revisions:
            first |= self._revised.keys()
            for key, names in self._revised.items():
                changes[key] = changes.get(key, frozenset()) | names
        provisional = [group for group in self._current if not group.judgement.is_final]
        history = emission.history(self.groups, changes, first)
        if not self._evaluation.resend_revisions and any(key[:2] in self._were_final for key in first | changes.keys()):
            history = self._not_sent_before(history)
        return history, [*emission.current(provisional), *counts]

    def _not_sent_before(self, points: list[LaggingPoint]) -> list[LaggingPoint]:
        """Leave out the second value of a series and time: one that was undefined for a while has been sent before."""
        emitted = self._ledger.emitted((point.series, point.time_unix_nano) for point in points)
        return [point for point in points if (point.series, point.time_unix_nano) not in emitted]

    def _summary(self, points: int) -> dict[str, Any]:
        inputs = [each.kind for each in self._intake.inputs]
        return {
            "label_files": inputs.count("label"),
            "segments": inputs.count("segment"),
            "tiles": len(self._states),
            "values": sum(map(len, self._new.values())) + sum(map(len, self._revised.values())),
            "points": points,
        }


def keep_aside(invalid: pa.Table, ledger: Path | None, *, version: int) -> str:
    """Write label rows that cannot be used beside the ledger, for somebody to look at; the file's path.

    A run that dies before its commit leaves a file that its repetition overwrites.

    Raises:
        LedgerError: There is no room for them, or no right to write them.
    """
    folder = (ledger.parent if ledger is not None else Path.cwd()) / "invalid-labels"
    path = folder / f"{ledger.stem if ledger is not None else 'ledger'}-{version}.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        csv.write_csv(invalid, path)
    except OSError as problem:
        message = (
            f"Label rows that cannot be used should be kept aside in {path}, and cannot be: {problem}. Nothing was"
            " changed. See that its disk has room, and that this user may write there."
        )
        raise LedgerError(message) from problem
    return str(path)


def _of(judgement: Judgement) -> tuple[int, int]:
    return judgement.window_us, judgement.maturity.seconds_whole
