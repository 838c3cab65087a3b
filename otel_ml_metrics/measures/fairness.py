"""How alike a model treats groups of rows: rates of its decisions, compared over the values of a declared slice.

As in fairlearn, a difference is that of the highest and the lowest rate, a ratio that of the lowest and the highest. A
group in which a rate has no rows to count is left out of it; rows without a value of the slice are no group. The
criteria are about yes or no: over several classes none of them has one agreed meaning, so no other task has them.
"""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_ml_metrics.measures.decisions import CONFUSION, ROWS, Confusion, confusion
from otel_ml_metrics.measures.measure import Measure, Undefined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_ml_metrics.measures.totals import Totals

EXAMPLE: Final = "group"
"""Slice of the measures that the catalogue shows."""

_TWO: Final = 2
_HARDT: Final = "Hardt, Price and Srebro, Equality of Opportunity in Supervised Learning (2016)"

Rate = tuple[float, float]


class _Criterion(NamedTuple):
    """What is to be alike in all groups.

    Args:
        rates: Hits and trials of each rate.
        description: What a measure of it compares.
        formula: The rates in words.
        source: Who named it.
    """

    rates: tuple[Callable[[Confusion], Rate], ...]
    description: str
    formula: str
    source: str


def _true_positives(c: Confusion) -> Rate:
    return c.tp, c.tp + c.fn


_CRITERIA: Final[Mapping[str, _Criterion]] = MappingProxyType(
    {
        "demographic_parity": _Criterion(
            (lambda c: (c.tp + c.fp, sum(c)),),
            "shares of rows that are decided positive",
            "(TP + FP) / n",
            "Dwork, Hardt, Pitassi, Reingold and Zemel, Fairness through Awareness (2012)",
        ),
        "equal_opportunity": _Criterion(
            (_true_positives,), "shares of positives that are found", "TP / (TP + FN)", _HARDT
        ),
        "equalized_odds": _Criterion(
            (_true_positives, lambda c: (c.fp, c.fp + c.tn)),
            "shares of positives, or of negatives, that are decided positive, whichever are further apart",
            "TP / (TP + FN), FP / (FP + TN)",
            _HARDT,
        ),
        "predictive_parity": _Criterion(
            (lambda c: (c.tp, c.tp + c.fp),),
            "shares of decided positives that are positive",
            "TP / (TP + FP)",
            "Chouldechova, Fair Prediction with Disparate Impact (2017)",
        ),
    }
)


def _difference(rates: list[float]) -> float:
    return max(rates) - min(rates)


def _ratio(rates: list[float]) -> float | None:
    return min(rates) / max(rates) if max(rates) else None


def _compared(totals: Totals, over: str, criterion: _Criterion, *, is_ratio: bool) -> float | Undefined:
    """The largest difference of a rate between groups, or the smallest ratio."""
    groups = [confusion(group) for group in totals.groups(over)]
    found = []
    for rate in criterion.rates:
        rates = [hits / trials for hits, trials in map(rate, groups) if trials]
        if len(rates) < _TWO:
            return Undefined("fewer_than_two_groups")
        compared = _ratio(rates) if is_ratio else _difference(rates)
        if compared is None:
            return Undefined("zero_denominator")
        found.append(compared)
    return min(found) if is_ratio else max(found)


def difference(name: str, *, over: str) -> Measure:
    """Difference of the rates of a criterion between the groups of a slice where it is largest."""
    return _measure(name, over, "difference")


def ratio(name: str, *, over: str) -> Measure:
    """Ratio of the rates of a criterion between the groups of a slice where it is smallest."""
    return _measure(name, over, "ratio")


def _measure(name: str, over: str, how: str) -> Measure:
    criterion, is_ratio = _CRITERIA[name], how == "ratio"
    told = "Lowest to highest ratio of" if is_ratio else "Largest difference of"
    operation = "min / max" if is_ratio else "max - min"
    return Measure(
        name=f"{name}_{how}",
        unit="1",
        description=f"{told} {criterion.description}, over the values of {over}.",
        formula=f"{operation} over {over} of {criterion.formula}",
        source=criterion.source,
        undefined="fewer than two groups with such rows" + (", or a highest rate of 0" if is_ratio else ""),
        direction="higher" if is_ratio else "lower",
        lowest=0.0,
        highest=1.0,
        tasks=frozenset({"binary"}),
        sums=CONFUSION,
        support=ROWS,
        over=over,
        value_from=lambda totals: _compared(totals, over, criterion, is_ratio=is_ratio),
    )


FACTORIES: Final[Mapping[str, Callable[..., Measure]]] = MappingProxyType(
    {
        f"{name}_{how.__name__}": partial(how, name)
        for name in _CRITERIA
        for how in (difference, ratio)
    }
)  # fmt: skip


def fairness_measures(over: str) -> tuple[Measure, ...]:
    """Every measure that compares the groups of a slice."""
    return tuple(made(over=over) for made in FACTORIES.values())
