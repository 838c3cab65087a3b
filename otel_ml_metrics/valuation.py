"""From sums to values: every window that may be judged, at every maturity, for every version, variant and slice."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from otel_ml_metrics.attribution.bounding import bounds_of
from otel_ml_metrics.attribution.folding import FOLDS, folds_of
from otel_ml_metrics.attribution.tables import distinct, slice_text, values
from otel_ml_metrics.engines.delta_statements import EXPLICIT, LABELLED, PREDICTIONS
from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.evaluation_report import ReliabilityTable, ScoreTable, Value
from otel_ml_metrics.instants import from_us
from otel_ml_metrics.measures.calibration import CALIBRATION, columns_of
from otel_ml_metrics.measures.curves import SUPPORT, lowest_of, score_counts
from otel_ml_metrics.measures.measure import Undefined, states_of
from otel_ml_metrics.measures.sums import Binned
from otel_ml_metrics.measures.totals import Totals
from otel_ml_metrics.semconv import MISSING_SLICE, OTHER_SLICE, STAGE_FINAL, STAGE_PROVISIONAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from otel_ml_metrics.attribution.calendar import Calendar, Judgement
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.engines.port import Engine
    from otel_ml_metrics.measures.exact import Exact
    from otel_ml_metrics.measures.measure import Measure
    from otel_ml_metrics.measures.totals import Counted, State

_GROUP: Final = ("window_us", "maturity_s", "output", "version", "variant", "slice")
_KEYS: Final = ", ".join(_GROUP)

BELOW_MINIMUM: Final = "support_below_minimum"
"""Why a measure that rests on too few rows has no value, whatever else there is to say of it."""

GroupKey = tuple[int, int, str, str, str, str]


@dataclass(frozen=True)
class Group:
    """The rows of one window, maturity, output, version, variant and slice, judged.

    Args:
        key: What it is the group of.
        judgement: Window and maturity.
        predictions: Mature predictions.
        labelled: Those with a label, explicit or implicit.
        explicit: Those with an explicit label.
        folded: How many slices of the window are in this one, which stands for the rest of them.
        values: Of the measures that have one, by name.
        undefined: Why the others have none, by name.
    """

    key: GroupKey
    judgement: Judgement
    predictions: int
    labelled: int
    explicit: int
    folded: int = 0
    values: dict[str, Value] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)

    @cached_property
    def slice(self) -> dict[str, str]:
        """Field to value; empty for all rows."""
        return dict(json.loads(self.key[-1]))

    @property
    def coverage(self) -> float | None:
        """Explicitly labelled share of the mature predictions."""
        return self.explicit / self.predictions if self.predictions else None


class Valuation:
    """What an evaluation's sums say.

    Args:
        evaluation: Its measures.
        calendar: Its windows.
        engine: Adds up tiles and buckets.
    """

    def __init__(self, evaluation: Evaluation, calendar: Calendar, engine: Engine) -> None:
        self._evaluation = evaluation
        self._calendar = calendar
        self._engine = engine
        self._compared = {
            over: states_of(measure for measure in evaluation.measures if measure.over == over)
            for over in evaluation.slice_fields
            if any(measure.over == over for measure in evaluation.measures)
        }

    def groups(self, states: pa.Table, judgements: Iterable[Judgement]) -> dict[GroupKey, Group]:
        """Judge windows by their sums.

        Args:
            states: Sums of (at least) the tiles of these windows, with the tile.
            judgements: Windows and maturities.
        """
        found = {}
        for group, totals in self._counted(states, judgements):
            for measure in self._evaluation.measures:
                if measure.over is None or self._is_cut(group.slice, measure.over):
                    self._judge(group, measure, totals)
            found[group.key] = group
        return found

    def reliability(self, states: pa.Table, judgements: Iterable[Judgement]) -> list[ReliabilityTable]:
        """The reliability tables of windows, by their sums; those without a label have none.

        Raises:
            ConfigurationError: No measure of the evaluation has these sums.
        """
        missing = {state.key for state in CALIBRATION} - {state.key for state in self._evaluation.states}
        if missing:
            message = (
                "a reliability table is made of sums that no measure here has. Add expected_calibration_error, neither"
                " weighted nor with bins of its own."
            )
            raise ConfigurationError(message, "measures")
        return [
            ReliabilityTable(**self._place(group), **columns_of(totals))
            for group, totals in self._counted(states, judgements)
            if totals[SUPPORT] >= max(1, self._evaluation.minimum_support)
        ]

    def scores(self, states: pa.Table, judgements: Iterable[Judgement]) -> list[ScoreTable]:
        """The scores of windows by their label, by their sums; those without a label have none.

        Raises:
            ConfigurationError: No measure of the evaluation has these sums.
        """
        binned = score_counts(self._evaluation.states)
        if binned is None:
            message = "the scores are told by counts that no measure here has. Add roc_auc, which is not weighted."
            raise ConfigurationError(message, "measures")
        positives, negatives = binned
        return [
            ScoreTable(
                **self._place(group),
                lowest=tuple(lowest_of(positives).tolist()),
                positives=tuple(totals[positives].tolist()),
                negatives=tuple(totals[negatives].tolist()),
            )
            for group, totals in self._counted(states, judgements)
            if totals[positives].any() or totals[negatives].any()
        ]

    def _counted(self, states: pa.Table, judgements: Iterable[Judgement]) -> Iterator[tuple[Group, Totals]]:
        """Every group that has predictions, without its values, and its totals."""
        wanted = {(each.window_us, each.maturity.seconds_whole): each for each in judgements}
        if not wanted or not len(states):
            return
        self._put(states, list(wanted.values()))
        folded = self._fold(distinct(states, "slice"))
        counts, cells = self._counts(), self._cells()
        members, needed = _members(counts, self._compared), self._evaluation.states
        for key, found in counts.items():
            apart = {
                over: {value: _totals(states, counts[each], cells.get(each, {})) for value, each in parts.items()}
                for over, states in self._compared.items()
                if (parts := self._supported(members.get((key, over), {}), counts))
            }
            predictions, labelled, explicit = (found.get(each, 0) for each in (PREDICTIONS, LABELLED, EXPLICIT))
            if predictions:
                counted = (predictions, labelled, explicit, folded.get((*key[:2], key[-1]), 0))
                totals = _totals(needed, found, cells.get(key, {}), apart)
                yield Group(key, wanted[key[:2]], *counted), totals

    def _put(self, states: pa.Table, judgements: Sequence[Judgement]) -> None:
        """Define `judged_apart`: the sums of the tiles and buckets that count, with the window and maturity of each."""
        windows = {tile: self._calendar.window_of(tile) for tile in distinct(states, "tile_us")}
        columns: dict[str, dict[str, Iterable[int]]] = {
            "windows": {"tile_us": windows.keys(), "window_us": windows.values()},
            "wanted": {
                "window_us": [each.window_us for each in judgements],
                "maturity_s": [each.maturity.seconds_whole for each in judgements],
                "until_us": [each.until_us for each in judgements],
            },
        }
        self._engine.put("states", states)
        for name, lists in columns.items():
            self._engine.put(name, pa.table({column: pa.array(each, pa.int64()) for column, each in lists.items()}))
        self._engine.define(
            "judged_apart",
            "SELECT * FROM states JOIN windows USING (tile_us) JOIN wanted USING (window_us)"
            " WHERE states.tile_us < wanted.until_us AND states.bucket <= wanted.maturity_s",
        )

    def _fold(self, slices: Sequence[str]) -> dict[tuple[int, int, str], int]:
        """Define `judged`, in which the rest of the slices of a window are one; how many each of those stands for.

        Slices are ranked by predictions, which are the same at every maturity, whatever labels came.
        """
        tops = self._evaluation.tops
        if len(slices) <= min(tops.values(), default=0):  # no window has more
            self._engine.define("judged", "SELECT * FROM judged_apart")
            return {}
        ranked = self._engine.sql(
            "SELECT window_us, maturity_s, slice, CAST(sum(CAST(value AS HUGEINT)) AS BIGINT) AS predictions FROM"  # noqa: S608  names of ours
            f" judged_apart WHERE sum = '{PREDICTIONS}' AND slice <> '{{}}' GROUP BY window_us, maturity_s, slice"
        )
        folds = folds_of(ranked, tops, self._bounds())
        if not folds:
            self._engine.define("judged", "SELECT * FROM judged_apart")
            return {}
        self._engine.put("folds", pa.Table.from_pylist(folds, FOLDS))
        self._engine.define(
            "judged",
            "SELECT judged_apart.* REPLACE (coalesce(folds.folded, judged_apart.slice) AS slice) FROM judged_apart"
            " LEFT JOIN folds USING (window_us, maturity_s, slice)",
        )
        return Counter((each["window_us"], each["maturity_s"], each["folded"]) for each in folds)

    def _bounds(self) -> dict[tuple[int, tuple[str, ...]], str]:
        """By window and kind, up to which digest slices are told apart in all of its tiles, where that is bounded."""
        found = self._engine.sql(
            "SELECT window_us, tile_us, list(DISTINCT slice) AS slices FROM states JOIN windows USING (tile_us) WHERE"
            " tile_us IN (SELECT tile_us FROM states WHERE slice LIKE '%: null%') GROUP BY window_us, tile_us"
        )
        bounds: dict[tuple[int, tuple[str, ...]], str] = {}
        for window, slices in zip(values(found, "window_us"), values(found, "slices"), strict=True):
            for fields, bound in bounds_of(slices).items():
                bounds[window, fields] = min(bound, bounds.get((window, fields), bound))
        return bounds

    def _counts(self) -> dict[GroupKey, dict[str, int]]:
        """The plain sums by group, groups in order."""
        table = self._engine.sql(
            f"SELECT {_KEYS}, sum, CAST(sum(CAST(value AS HUGEINT)) AS VARCHAR) AS value FROM judged"  # noqa: S608  names of ours
            f" WHERE bin < 0 GROUP BY {_KEYS}, sum ORDER BY {_KEYS}"
        )
        found: dict[GroupKey, dict[str, int]] = {}
        for *key, name, value in zip(*(column.to_pylist() for column in table.columns), strict=True):
            found.setdefault(tuple(key), {})[name] = int(value)
        return found

    def _cells(self) -> dict[GroupKey, dict[str, tuple[NDArray[Any], NDArray[Any]]]]:
        """The cells of each binned sum by group, and what they hold."""
        table = self._engine.sql(
            f"SELECT {_KEYS}, sum, list(bin) AS cells, list(value) AS counts FROM (SELECT {_KEYS}, sum, bin,"  # noqa: S608
            " CAST(sum(CAST(value AS HUGEINT)) AS DECIMAL(38, 0)) AS value FROM judged WHERE bin >= 0"
            f" GROUP BY {_KEYS}, sum, bin) AS added GROUP BY {_KEYS}, sum"
        )
        found: dict[GroupKey, dict[str, tuple[NDArray[Any], NDArray[Any]]]] = {}
        lists = [_arrays(table.column(name)) for name in ("cells", "counts")]
        keys = zip(*(values(table, name) for name in (*_GROUP, "sum")), strict=True)
        for (*key, name), cells, counts in zip(keys, *lists, strict=True):
            found.setdefault(tuple(key), {})[name] = (cells, counts)
        return found

    def _supported(
        self, members: Mapping[str, GroupKey], counts: Mapping[GroupKey, Mapping[str, int]]
    ) -> dict[str, GroupKey]:
        """The groups that rest on enough rows to be compared."""
        least = self._evaluation.minimum_support
        return {value: key for value, key in members.items() if counts[key].get(LABELLED, 0) >= least}

    def _is_cut(self, slice_: Mapping[str, str], over: str) -> bool:
        """Whether the rows of a slice were added up apart by another field as well."""
        return over not in slice_ and tuple(sorted((*slice_, over))) in self._evaluation.slices

    def _judge(self, group: Group, measure: Measure, totals: Totals) -> None:
        if 0 < totals[measure.support] < self._evaluation.minimum_support:
            group.undefined[measure.name] = BELOW_MINIMUM
            return
        found = measure.found(totals)
        if isinstance(found, Undefined):
            group.undefined[measure.name] = found.reason
            return
        if not np.isfinite(found.value):
            group.undefined[measure.name] = "not_finite"
            return
        lower, upper = found.interval or (None, None)
        share = self._evaluation.sample if measure.extensive else 1.0
        group.values[measure.name] = self.value(
            group,
            measure,
            float(found.value) / share,
            support=int(totals[measure.support]),
            lower=None if lower is None else float(lower),
            upper=None if upper is None else float(upper),
            certificate=None if found.certificate is None else float(found.certificate) / share,
        )

    def value(
        self,
        group: Group,
        measure: Measure | Exact,
        value: float,
        *,
        support: int,
        lower: float | None = None,
        upper: float | None = None,
        certificate: float | None = None,
    ) -> Value:
        """A value of a group; by default with neither an interval nor a bound."""
        return Value(
            measure=measure.name,
            value=value,
            lower=lower,
            upper=upper,
            certificate=certificate,
            unit=measure.unit,
            support=support,
            coverage=group.coverage,
            stage=STAGE_FINAL if group.judgement.is_final else STAGE_PROVISIONAL,
            model=self._evaluation.model,
            **self._place(group),
        )

    def _place(self, group: Group) -> dict[str, Any]:
        """Which rows a group is, as values say it."""
        _, _, output, version, variant, _ = group.key
        return {
            "window_start": from_us(group.judgement.window_us),
            "window_end": from_us(self._calendar.end_of(group.judgement.window_us)),
            "maturity": str(group.judgement.maturity),
            "version": version or None,
            "variant": variant or None,
            "output": output or None,
            "slice": group.slice,
        }


def _members(keys: Iterable[GroupKey], compared: Iterable[str]) -> dict[tuple[GroupKey, str], dict[str, GroupKey]]:
    """By the group of some rows and a field: each value of the field, and the group of those rows that have it."""
    fields = frozenset(compared)
    found: dict[tuple[GroupKey, str], dict[str, GroupKey]] = {}
    for key in keys if fields else ():
        named = json.loads(key[-1])
        for over in fields & named.keys():
            if named[over] not in {None, MISSING_SLICE, OTHER_SLICE}:  # None: slices that were not told apart
                rest = slice_text({field: value for field, value in named.items() if field != over})
                found.setdefault(((*key[:-1], rest), over), {})[named[over]] = key
    return found


def _totals(
    states: Iterable[State],
    counts: Mapping[str, int],
    cells: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
    apart: Mapping[str, Mapping[str, Totals]] | None = None,
) -> Totals:
    """The totals of one group, and of the groups that are compared in it."""
    whole: dict[str, Counted] = {
        state.key: _spread(state, cells.get(state.key)) if isinstance(state, Binned) else counts.get(state.key, 0)
        for state in states
    }
    return Totals(whole, groups=apart)


def most_folded(groups: Iterable[Group]) -> dict[str, int]:
    """By the fields of a slice, the most slices that are told as one in any window."""
    found: dict[str, int] = {}
    for group in groups:
        if group.folded:
            fields = ", ".join(sorted(group.slice))
            found[fields] = max(found.get(fields, 0), group.folded)
    return found


def _arrays(column: pa.ChunkedArray[Any]) -> list[NDArray[Any]]:
    """One array per list of a column."""
    arrays = []
    for chunk in column.chunks:
        flat, ends = _integers(pc.list_flatten(chunk)), np.cumsum([0, *pc.list_value_length(chunk).to_pylist()])
        arrays += [flat[start:end] for start, end in pairwise(ends)]
    return arrays


def _integers(whole: pa.Array[Any]) -> NDArray[Any]:
    """Whole numbers as int64, or as Python's where 64 bits do not suffice."""
    try:
        return whole.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        return np.array([int(str(each)) for each in whole.to_pylist()], dtype=object)


def _spread(state: Binned, filled: tuple[NDArray[Any], NDArray[Any]] | None) -> NDArray[Any]:
    """Every cell of a binned sum, from those that hold anything."""
    whole = state.zeros()
    if filled is not None:
        cells, counts = filled
        whole[cells] = counts
    return whole
