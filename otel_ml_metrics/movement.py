"""How a run moved each window: final values that came, changed or went, and the labels and predictions behind that."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from otel_ml_metrics.attribution.tables import MOVES, rows_where, values
from otel_ml_metrics.engines.delta_statements import PREDICTIONS
from otel_ml_metrics.ledger.commit import Movement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_ml_metrics.attribution.calendar import Calendar
    from otel_ml_metrics.emission import Changes
    from otel_ml_metrics.evaluation_report import Value
    from otel_ml_metrics.valuation import Group, GroupKey

    Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What a run did to final values.

    Args:
        before: The groups that were final and whose window was touched, as they were.
        after: The groups of final windows that were touched or became final, as they are.
        changes: By group, the measures whose value is new or another.
    """

    before: Mapping[GroupKey, Group]
    after: Mapping[GroupKey, Group]
    changes: Changes

    def by_window(self) -> dict[int, pa.Table]:
        """The moves of each window that has any, as `MOVES`."""
        rows: dict[int, list[Row]] = {}
        for key in sorted(self.changes.keys() | self.before.keys()):
            found = [*self._given(key), *self._gone(key)]
            if found:
                rows.setdefault(key[0], []).extend(found)
        return {window: pa.Table.from_pylist(some, MOVES) for window, some in rows.items()}

    def _given(self, key: GroupKey) -> Iterable[Row]:
        for name in sorted(self.changes.get(key, ())):
            value = self.after[key].values[name]
            told = {each: getattr(value, each) for each in ("value", "lower", "upper", "support", "coverage")}
            yield _place(key, value) | told

    def _gone(self, key: GroupKey) -> Iterable[Row]:
        """Values that there were and that cannot be given any more."""
        if key not in self.before:
            return
        group = self.after.get(key)
        for name, value in sorted(self.before[key].values.items()):
            if group is None:
                yield _place(key, value) | {"support": 0, "undefined": "no_rows"}
            elif name not in group.values:
                told = {"support": group.labelled, "coverage": group.coverage}
                yield _place(key, value) | told | {"undefined": group.undefined.get(name, "no_rows")}


def _place(key: GroupKey, value: Value) -> Row:
    _, maturity_s, output, version, variant, chosen = key
    return {
        "maturity": value.maturity,
        "maturity_s": maturity_s,
        "output": output,
        "version": version,
        "variant": variant,
        "slice": chosen,
        "measure": value.measure,
    }


def movements(
    calendar: Calendar,
    moves: Mapping[int, pa.Table],
    *,
    label_changes: Iterable[Mapping[str, Any]],
    delta: pa.Table,
    rebuilt: frozenset[int],
) -> dict[int, Movement]:
    """How each window was moved, by its start.

    Args:
        calendar: Says which window a tile is of.
        moves: By window, what happened to its final values.
        label_changes: Counts of labels with tile and status.
        delta: What was added to the sums.
        rebuilt: Tiles that were computed anew: what they hold was there before.
    """
    computed_anew = {calendar.window_of(tile) for tile in rebuilt}
    labels = _labels(calendar, label_changes)
    predictions = _predictions(calendar, delta, computed_anew)
    return {
        window: Movement(
            labels={status: count for status, count in sorted(labels.get(window, Counter()).items()) if count},
            predictions=predictions[window],
            rebuilt=window in computed_anew,
            moves=moves.get(window),
        )
        for window in sorted(moves.keys() | labels.keys() | predictions.keys())
    }


def _labels(calendar: Calendar, changes: Iterable[Mapping[str, Any]]) -> dict[int, Counter[str]]:
    labels: dict[int, Counter[str]] = {}
    for row in changes:
        labels.setdefault(calendar.window_of(row["tile_us"]), Counter())[row["status"]] += row["labels"]
    return {window: counts for window, counts in labels.items() if any(counts.values())}


def _predictions(calendar: Calendar, delta: pa.Table, computed_anew: set[int]) -> Counter[int]:
    whole = rows_where(rows_where(delta, "sum", PREDICTIONS), "slice", "{}")
    counts: Counter[int] = Counter()
    for tile, count in zip(values(whole, "tile_us"), values(whole, "value"), strict=True):
        counts[calendar.window_of(tile)] += int(count)
    return Counter({window: count for window, count in counts.items() if count and window not in computed_anew})
