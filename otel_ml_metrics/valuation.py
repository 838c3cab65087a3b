"""From sums to values: every window that may be judged, at every maturity, for every version, variant and slice."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from otel_ml_metrics.attribution.tables import distinct
from otel_ml_metrics.engines.delta_statements import EXPLICIT, LABELLED, PREDICTIONS
from otel_ml_metrics.evaluation_report import Value
from otel_ml_metrics.instants import from_us
from otel_ml_metrics.measures.measure import Undefined
from otel_ml_metrics.measures.sums import Binned
from otel_ml_metrics.measures.totals import Totals
from otel_ml_metrics.semconv import STAGE_FINAL, STAGE_PROVISIONAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otel_ml_metrics.attribution.calendar import Calendar, Judgement
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.engines.port import Engine
    from otel_ml_metrics.measures.measure import Measure
    from otel_ml_metrics.measures.totals import Counted

_GROUP: Final = ("window_us", "maturity_s", "output", "version", "variant", "slice")
_of_group: Final = itemgetter(*range(len(_GROUP)))

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
        values: Of the measures that have one, by name.
        undefined: Why the others have none, by name.
    """

    key: GroupKey
    judgement: Judgement
    predictions: int
    labelled: int
    explicit: int
    values: dict[str, Value] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)

    @property
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

    def groups(self, states: pa.Table, judgements: Iterable[Judgement]) -> dict[GroupKey, Group]:
        """Judge windows by their sums.

        Args:
            states: Sums of (at least) the tiles of these windows, with the tile.
            judgements: Windows and maturities.
        """
        wanted = {(each.window_us, each.maturity.seconds_whole): each for each in judgements}
        if not wanted or not len(states):
            return {}
        rows = self._added_up(states, list(wanted.values()))
        groups = {}
        for key, members in groupby(rows, key=_of_group):
            group = self._group(key, wanted[key[:2]], [member[len(_GROUP) :] for member in members])
            if group.predictions:
                groups[key] = group
        return groups

    def _added_up(self, states: pa.Table, judgements: Sequence[Judgement]) -> list[tuple[Any, ...]]:
        windows = {tile: self._calendar.window_of(tile) for tile in distinct(states, "tile_us")}
        self._engine.put("states", states)
        self._engine.put(
            "windows",
            pa.table(
                {"tile_us": pa.array(windows.keys(), pa.int64()), "window_us": pa.array(windows.values(), pa.int64())}
            ),
        )
        self._engine.put(
            "wanted",
            pa.table(
                {
                    "window_us": pa.array([each.window_us for each in judgements], pa.int64()),
                    "maturity_s": pa.array([each.maturity.seconds_whole for each in judgements], pa.int64()),
                    "until_us": pa.array([each.until_us for each in judgements], pa.int64()),
                }
            ),
        )
        keys = ", ".join((*_GROUP, "sum", "bin"))
        table = self._engine.sql(
            f"SELECT {keys}, CAST(sum(CAST(value AS HUGEINT)) AS VARCHAR) AS value FROM states"  # noqa: S608  names of ours
            " JOIN windows USING (tile_us) JOIN wanted USING (window_us)"
            " WHERE states.tile_us < wanted.until_us AND states.bucket <= wanted.maturity_s"
            f" GROUP BY {keys} ORDER BY {keys}"
        )
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def _group(self, key: GroupKey, judgement: Judgement, sums: Sequence[tuple[str, int, str]]) -> Group:
        whole: dict[str, Counted] = {
            state.key: state.zeros() if isinstance(state, Binned) else 0 for state in self._evaluation.states
        }
        for name, at, value in sums:
            cells = whole.get(name)
            if isinstance(cells, np.ndarray):
                cells[at] = int(value)
            else:
                whole[name] = int(value)
        predictions, labelled, explicit = (int(whole.get(name, 0)) for name in (PREDICTIONS, LABELLED, EXPLICIT))
        group = Group(key, judgement, predictions, labelled, explicit)
        totals = Totals(whole)
        for measure in self._evaluation.measures:
            self._judge(group, measure, totals)
        return group

    def _judge(self, group: Group, measure: Measure, totals: Totals) -> None:
        value = measure.value(totals)
        if isinstance(value, Undefined):
            group.undefined[measure.name] = value.reason
            return
        if not np.isfinite(value):
            group.undefined[measure.name] = "not_finite"
            return
        _, _, output, version, variant, _ = group.key
        lower, upper = measure.interval(totals) or (None, None)
        certificate = measure.certificate(totals)
        group.values[measure.name] = Value(
            measure=measure.name,
            value=float(value),
            lower=None if lower is None else float(lower),
            upper=None if upper is None else float(upper),
            certificate=None if certificate is None else float(certificate),
            unit=measure.unit,
            support=int(totals[measure.support]),
            coverage=group.coverage,
            window_start=from_us(group.judgement.window_us),
            window_end=from_us(self._calendar.end_of(group.judgement.window_us)),
            maturity=str(group.judgement.maturity),
            stage=STAGE_FINAL if group.judgement.is_final else STAGE_PROVISIONAL,
            model=self._evaluation.model,
            version=version or None,
            variant=variant or None,
            output=output or None,
            slice=group.slice,
        )
