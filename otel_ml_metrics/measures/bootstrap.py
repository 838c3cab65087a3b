"""Intervals where there is no formula: a Poisson bootstrap that is kept as additive sums.

Every row belongs, by its id alone, to one of 64 groups whose sums are kept apart. A replicate counts each group as
often as a Poisson number of mean 1 says, the same numbers in every run. So a replicate is a function of sums: rows are
added and taken back as everywhere, in one pass over them however many replicates there are.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.expressions import col
from otel_ml_metrics.measures.measure import Interval, Measure, Undefined
from otel_ml_metrics.measures.sums import Binned, Grid, Sum
from otel_ml_metrics.measures.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

GROUPS: Final = 64
REPLICATES: Final = 200
ID_GROUP: Final = "id%64"
"""Column of a row's group. No declared field can have this name."""

_DIGIT: Final = "strpos('0123456789abcdef', substr(md5(prediction_id), {}, 1)) - 1"
GROUP_SQL: Final = f"({_DIGIT.format(1)}) % 4 * 16 + {_DIGIT.format(2)}"
"""The group as SQL."""

_GRID: Final = Grid("id_group:md5_64", col(ID_GROUP), GROUPS)
_CHANCES: Final = np.cumsum(np.exp(-1.0) / np.cumprod([1.0, *range(1, 12)]))
_UNDEFINED_AT_MOST: Final = 0.1


def id_groups(ids: Iterable[str]) -> NDArray[np.float64]:
    """The group of each prediction, by its id alone.

    >>> id_groups(["p-1", "p-1", "p-2"]).tolist()
    [48.0, 48.0, 61.0]
    """
    digests = (hashlib.md5(each.encode(), usedforsecurity=False).digest() for each in ids)
    return np.array([digest[0] % GROUPS for digest in digests], dtype=np.float64)


def _draws() -> NDArray[np.int64]:
    """How often each replicate counts each group, of shape (replicates, groups); no library's generator changes it."""
    stream = hashlib.shake_128(b"otel_ml_metrics").digest(2 * REPLICATES * GROUPS)
    uniform = (np.frombuffer(stream, dtype="<u2") + 0.5) / 65_536
    return np.searchsorted(_CHANCES, uniform).reshape(REPLICATES, GROUPS)


def bootstrapped(measure: Measure) -> Measure:
    """The measure with an interval by bootstrap, between the 2.5 % and 97.5 % quantiles of the replicates.

    Raises:
        ConfigurationError: The measure needs more than plain sums over labelled rows.
    """
    sums = [state for state in measure.states if isinstance(state, Sum) and state.rows == "labelled"]
    if len(sums) < len(measure.states):
        message = f"{measure.name!r} is not made of plain sums over labelled rows, which the bootstrap needs. Drop it."
        raise ConfigurationError(message, "interval")
    cells = [Binned(each, _GRID) for each in sums]

    def interval(totals: Totals) -> Interval | None:
        values = _replicates(measure, totals, cells)
        if len(values) < (1 - _UNDEFINED_AT_MOST) * REPLICATES:
            return None
        low, high = np.quantile(values, [0.025, 0.975])
        return (float(low), float(high)) if high > low else None

    return replace(
        measure,
        source=f"{measure.source}; interval: Poisson bootstrap over {GROUPS} groups of ids",
        sums=tuple(dict.fromkeys((*measure.sums, *cells))),
        interval_from=interval,
    )


def _replicates(measure: Measure, totals: Totals, cells: Sequence[Binned]) -> list[float]:
    """The value of each replicate that has one."""
    values = map(measure.value, _drawn(totals, cells, _draws()))
    return [value for value in values if not isinstance(value, Undefined)]


def _drawn(totals: Totals, cells: Sequence[Binned], draws: NDArray[np.int64]) -> list[Totals]:
    """The totals of each replicate, and of the groups in it."""
    drawn = [np.rint(draws @ totals[each] * 2.0**each.scale) for each in cells]
    groups = {
        over: {value: _drawn(group, cells, draws) for value, group in members.items()}
        for over, members in totals.by_slice.items()
    }
    return [
        Totals(
            {each.summed.key: int(total) for each, total in zip(cells, replicate, strict=True)},
            groups={over: {value: each[at] for value, each in members.items()} for over, members in groups.items()},
        )
        for at, replicate in enumerate(zip(*drawn, strict=True))
    ]
