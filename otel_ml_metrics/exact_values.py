"""The values of exact measures: computed from the joined rows of windows, and kept by the ledger as they stand.

A final value follows from the log and the labels that were applied, like every other: computing it once more gives the
same. So only the windows are read that new input touched or that became old enough; of all others the ledger keeps what
was computed. Where the rows of a window were retired, that is the last value.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from otel_ml_metrics.attribution.tables import EXACT, slice_text
from otel_ml_metrics.engines.joined_statements import SPLIT, listed_rows, materialise_judged
from otel_ml_metrics.instants import from_us, iso
from otel_ml_metrics.intake import Reading
from otel_ml_metrics.measures.measure import Undefined
from otel_ml_metrics.semconv import OTHER_SLICE
from otel_ml_metrics.valuation import BELOW_MINIMUM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from otel_ml_metrics.attribution.calendar import Calendar, Judgement
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.engines.port import Engine
    from otel_ml_metrics.ledger.reader import LedgerReader
    from otel_ml_metrics.measures.exact import Exact
    from otel_ml_metrics.valuation import Group, GroupKey, Valuation

    Groups = dict[GroupKey, Group]
    Judged = tuple[int, int]
    Keys = dict[Judged, list[GroupKey]]
    Entries = dict[tuple[GroupKey, str], "Entry"]

_GONE: Final = (
    "The segment {segment} was evaluated and is gone, so the exact measures of the window from {start} on cannot be"
    " computed again: the values that they have stand."
)
_GROUP: Final = ("maturity_s", *SPLIT, "slice")


@dataclass(frozen=True)
class Entry:
    """What an exact measure says of a group.

    Args:
        found: The value, or why there is none.
        support: Rows that the callable was given.
    """

    found: float | Undefined
    support: int


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """What a run says by exact measures.

    Args:
        groups: With their values.
        blocks: What the ledger is to keep of the windows where it keeps something else, as `EXACT`.
        warnings: What an operator should know.
    """

    groups: Groups
    blocks: Mapping[int, pa.Table] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class ExactValues:
    """Computes and recalls what the exact measures of an evaluation say; does nothing where it has none.

    Args:
        evaluation: Whose measures.
        calendar: Its windows.
        engine: Reads and joins.
        valuation: Makes a value of a number.
    """

    def __init__(self, evaluation: Evaluation, calendar: Calendar, engine: Engine, valuation: Valuation) -> None:
        self._evaluation = evaluation
        self._calendar = calendar
        self._engine = engine
        self._valuation = valuation
        self._alike: dict[object, list[Exact]] = defaultdict(list)
        for measure in evaluation.exact:
            self._alike[measure.given, measure.weighted].append(measure)

    def recalled(self, groups: Groups, ledger: LedgerReader) -> Groups:
        """Groups with what the ledger keeps of them.

        Raises:
            LedgerError: A block of the ledger is damaged.
        """
        if not self._evaluation.exact:
            return groups
        return self._given(groups, _kept(ledger, {key[0] for key in groups}), ledger)

    def renewed(
        self, groups: Groups, judgements: Iterable[Judgement], ledger: LedgerReader, ahead: LedgerReader
    ) -> Renewed:
        """Groups with what is computed of some windows and kept of the others; and what is to be kept from now on.

        Args:
            groups: As the sums have them.
            judgements: What is to be computed, as far as its rows were not retired.
            ledger: Keeps what was computed before.
            ahead: The ledger as the commit of this run is going to leave it.

        Raises:
            LogError: The log cannot be read.
            LedgerError: A block of the ledger is damaged.
        """
        windows = self._computable(judgements, ledger)
        if not windows:
            return Renewed(groups=self.recalled(groups, ledger))
        kept = _kept(ledger, {*windows, *(key[0] for key in groups)})
        computed, warnings = self._computed(windows, groups, kept, ahead)
        lasting = kept | {_of(each): computed[_of(each)] for some in windows.values() for each in some if each.is_final}
        rows = {window: (self._rows(window, kept), self._rows(window, lasting)) for window in windows}
        return Renewed(
            groups=self._given(groups, kept | computed, ledger),
            blocks={w: pa.Table.from_pylist(after, EXACT) for w, (before, after) in rows.items() if before != after},
            warnings=tuple(warnings),
        )

    def _computable(self, judgements: Iterable[Judgement], ledger: LedgerReader) -> dict[int, list[Judgement]]:
        """The judgements of each window whose rows are all there."""
        if not self._evaluation.exact:
            return {}
        windows: dict[int, list[Judgement]] = {}
        retirement = ledger.retired()
        for each in judgements:
            if retirement.era_of(each.window_us) is None:
                windows.setdefault(each.window_us, []).append(each)
        return windows

    def _computed(
        self,
        windows: Mapping[int, Sequence[Judgement]],
        groups: Groups,
        kept: Mapping[Judged, Entries],
        ahead: LedgerReader,
    ) -> tuple[dict[Judged, Entries], list[str]]:
        """What the exact measures say of windows, the rows of one in memory at a time; and what is to be told."""
        wanted: Keys = defaultdict(list)
        for key in groups:
            wanted[key[:2]].append(key)
        reading = Reading(self._evaluation, self._engine, ahead)
        found: dict[Judged, Entries] = {}
        warnings = []
        for window, judgements in windows.items():
            end = self._calendar.end_of(window)
            gone = reading.gone(start_us=window, end_us=end)
            if gone is None:
                reading.join(start_us=window, end_us=end)
                found |= self._said(judgements, wanted)
            else:
                unsaid = self._unsaid(judgements, wanted, "rows_gone")
                found |= {place: entries | kept.get(place, {}) for place, entries in unsaid.items()}
                warnings.append(_GONE.format(start=iso(from_us(window)), segment=gone))
        return found, warnings

    def _said(self, judgements: Sequence[Judgement], wanted: Keys) -> dict[Judged, Entries]:
        """What the exact measures say of the rows that were joined, for every group that is judged."""
        found = self._unsaid(judgements, wanted, "no_rows")
        for each in judgements:
            materialise_judged(self._engine, maturity_s=each.maturity.seconds_whole, until_us=each.until_us)
            entries = found[_of(each)]
            apart = {key[-1] for key in wanted.get(_of(each), ())}
            for alike, fields in product(self._alike.values(), ((), *self._evaluation.slices)):
                for key, label, score, weight in self._listed(alike[0], _of(each), fields, apart):
                    for measure in alike if (key, alike[0].name) in entries else ():
                        said = measure.value(label.copy(), score.copy(), weight)  # somebody may sort in place
                        entries[key, measure.name] = Entry(said, len(label))
        return found

    def _unsaid(self, judgements: Iterable[Judgement], wanted: Keys, reason: str) -> dict[Judged, Entries]:
        """No value of any exact measure, for every group that is judged."""
        nothing, names = Entry(Undefined(reason), 0), [measure.name for measure in self._evaluation.exact]
        return {_of(each): dict.fromkeys(product(wanted.get(_of(each), ()), names), nothing) for each in judgements}

    def _listed(
        self, measure: Exact, place: Judged, fields: Sequence[str], apart: AbstractSet[str]
    ) -> Iterator[tuple[GroupKey, NDArray[Any], NDArray[Any], NDArray[Any] | None]]:
        """The rows that a measure is given, of each group of one slicing: label, score and weight.

        Slices that are not told apart in this window are one.
        """
        classes = measure.classes if len(measure.given) > 1 else ()
        table = self._engine.sql(listed_rows(fields, measure.given, weighted=measure.weighted, classes=classes))
        parts: dict[GroupKey, list[int]] = defaultdict(list)
        for row in range(len(table)):
            output, version, variant = (str(table.column(name)[row]) for name in SPLIT)
            own = slice_text({name: str(table.column(name)[row]) for name in fields})
            told = own if own in apart else slice_text(dict.fromkeys(fields, OTHER_SLICE))
            parts[(*place, output, version, variant, told)].append(row)
        for key, rows in parts.items():
            order = np.argsort(_array(table, "_place", rows))
            scores = [_array(table, f"_c{at}", rows)[order] for at in range(len(measure.given))]
            yield (
                key,
                _array(table, "_label", rows)[order],
                scores[0] if len(scores) == 1 else np.column_stack(scores),
                _array(table, "_weight", rows)[order] if measure.weighted else None,
            )

    def _given(self, groups: Groups, found: Mapping[Judged, Entries], ledger: LedgerReader) -> Groups:
        """Groups with what was found of them."""
        retirement = ledger.retired()
        return {
            key: self._told(group, found.get(key[:2], {}), is_retired=retirement.era_of(key[0]) is not None)
            for key, group in groups.items()
        }

    def _told(self, group: Group, entries: Entries, *, is_retired: bool) -> Group:
        told, undefined = dict(group.values), dict(group.undefined)
        for measure in self._evaluation.exact:
            entry = entries.get((group.key, measure.name))
            if entry is None:
                continue  # a retired window that never had it
            if 0 < entry.support < self._evaluation.minimum_support:
                undefined[measure.name] = BELOW_MINIMUM
            elif isinstance(entry.found, Undefined):
                undefined[measure.name] = entry.found.reason
            else:
                value = self._valuation.value(group, measure, entry.found, support=entry.support)
                told[measure.name] = replace(value, retired=is_retired)
        return replace(group, values=told, undefined=undefined)

    def _rows(self, window: int, found: Mapping[Judged, Entries]) -> list[dict[str, Any]]:
        """What is kept of a window, in order."""
        rows = []
        for maturity in self._calendar.maturities:
            for (key, name), entry in sorted(found.get((window, maturity.seconds_whole), {}).items()):
                place = dict(zip(_GROUP, key[1:], strict=True)) | {"measure": name, "support": entry.support}
                said, why = (None, entry.found.reason) if isinstance(entry.found, Undefined) else (entry.found, None)
                rows.append(place | {"value": said, "undefined": why})
        return rows


def _kept(ledger: LedgerReader, windows: Iterable[int]) -> dict[Judged, Entries]:
    """What a ledger keeps of windows."""
    found: dict[Judged, Entries] = {}
    for window, block in ledger.exact(windows).items():
        for row in block.to_pylist():
            key: GroupKey = (window, *(row[name] for name in _GROUP))
            said = Undefined(row["undefined"]) if row["value"] is None else row["value"]
            found.setdefault(key[:2], {})[key, row["measure"]] = Entry(said, row["support"])
    return found


def _of(judgement: Judgement) -> Judged:
    return judgement.window_us, judgement.maturity.seconds_whole


def _array(table: pa.Table, name: str, rows: Sequence[int]) -> NDArray[Any]:
    """Some lists of a table, one after the other."""
    column = table.column(name)
    return np.concatenate([column[row].values.to_numpy(zero_copy_only=False) for row in rows])
