"""Why measures leave labelled rows out, and how many: nothing that cannot be used is folded in, nor goes unnoticed.

A reason is the difference of two counts, so that it is added and taken back like any other sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.expressions import Column, Operation, col, lit
from otel_ml_metrics.measures.bootstrap import ID_GROUP
from otel_ml_metrics.measures.multiclass import decided_rows, scored_rows
from otel_ml_metrics.measures.probabilities import PROBABILITIES
from otel_ml_metrics.measures.sums import Sum

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from otel_ml_metrics.expressions import Expression
    from otel_ml_metrics.measures.measure import Measure


def _having(*names: str, condition: Expression | None = None) -> Sum:
    """Count the rows that have these columns, however large their numbers are, and meet the condition."""
    conditions = [col(name) == col(name) for name in names] + ([] if condition is None else [condition])
    return Sum(lit(1), reduce(and_, conditions), scale=0, wide=False)


LABELLED: Final = _having("label")
_VALID_WEIGHT: Final = col("weight") >= 0
_SCORE_BIN: Final = "score_bin"
_OURS: Final = frozenset({"label", _SCORE_BIN, ID_GROUP})


@dataclass(frozen=True)
class Exclusion:
    """Labelled rows that measures leave out for one reason.

    Args:
        reason: Such as `score_missing` (missing, NaN or infinite), `score_outside_0_1`, `weight_negative`,
            `prediction_outside_classes`, `scores_no_distribution`, or `<measure>_out_of_domain`.
        among: Counts the rows that have what the reason is about.
        usable: Counts those of them that can be used.
    """

    reason: str
    among: Sum
    usable: Sum

    @property
    def sums(self) -> tuple[Sum, Sum]:
        """What it is counted by."""
        return self.among, self.usable

    def count(self, counts: Mapping[str, int]) -> int:
        """How many rows there are, from counts by key."""
        return counts.get(self.among.key, 0) - counts.get(self.usable.key, 0)


def exclusions_of(measures: Iterable[Measure], classes: Sequence[str] = ()) -> tuple[Exclusion, ...]:
    """Every reason for which measures over labelled rows may leave one out, in a fixed order.

    Args:
        measures: In any order.
        classes: Those of a multiclass task.

    >>> from otel_ml_metrics.measures.table import MEASURES
    >>> [each.reason for each in exclusions_of([MEASURES["accuracy"], MEASURES["log_loss"]])]
    ['prediction_missing', 'score_missing', 'score_outside_0_1']
    """
    labelled = sorted((each for each in measures if each.support.rows == "labelled"), key=lambda each: each.name)
    found = [*_missing(labelled), *_unfit(labelled, classes)]
    known = {exclusion.usable.key for exclusion in found}
    domains = {measure.support.key: measure for measure in reversed(labelled) if _has_domain(measure, classes)}
    others = [_domain(measure) for key, measure in domains.items() if key not in known]
    return tuple(sorted((*found, *others), key=lambda exclusion: exclusion.reason))


def _missing(measures: Sequence[Measure]) -> Iterator[Exclusion]:
    """A column that a measure needs has no value."""
    used = frozenset[str]().union(*(measure.columns() for measure in measures))
    names = (used - _OURS) | ({"score"} if _SCORE_BIN in used else set())
    scores = sorted(name for name in names if name.startswith("score["))
    for name in sorted(names.difference(scores)):
        yield Exclusion(f"{name}_missing", LABELLED, _having("label", name))
    if scores:
        yield Exclusion("scores_missing", LABELLED, _having("label", *scores))


def _unfit(measures: Sequence[Measure], classes: Sequence[str]) -> Iterator[Exclusion]:
    """A column has a value that no measure of its kind can use."""
    if any(map(_is_weighted, measures)):
        weights = _having("label", "weight", condition=_VALID_WEIGHT)
        yield Exclusion("weight_negative", _having("label", "weight"), weights)
    if any(map(_needs_probability, measures)):
        yield Exclusion("score_outside_0_1", _having("label", "score"), PROBABILITIES)
    used = frozenset[str]().union(*(measure.columns() for measure in measures))
    if classes and "prediction" in used:
        yield Exclusion("prediction_outside_classes", _having("label", "prediction"), decided_rows(classes))
    if classes and any(name.startswith("score[") for name in used):
        usable = scored_rows(classes)
        yield Exclusion("scores_no_distribution", _having(*sorted(usable.columns())), usable)


def _has_domain(measure: Measure, classes: Sequence[str]) -> bool:
    """Whether a measure asks more of a row than the values of its columns, and more than a kind of column does."""
    needs = [each for each in _conjuncts(measure.support.condition) if not each.same_as(_VALID_WEIGHT)]
    return not (classes or _needs_probability(measure) or all(map(_is_presence, needs)))


def _domain(measure: Measure) -> Exclusion:
    condition = _VALID_WEIGHT if _is_weighted(measure) else None
    among = _having(*sorted(measure.support.columns() | {"label"}), condition=condition)
    return Exclusion(f"{measure.name}_out_of_domain", among, measure.support)


def _is_weighted(measure: Measure) -> bool:
    return any(each.same_as(_VALID_WEIGHT) for each in _conjuncts(measure.support.condition))


def _needs_probability(measure: Measure) -> bool:
    support = measure.support
    needed = {str(each) for each in _conjuncts(PROBABILITIES.condition)}
    return _SCORE_BIN in support.columns() or needed <= {str(each) for each in _conjuncts(support.condition)}


def _is_presence(condition: Expression) -> bool:
    if isinstance(condition, Operation) and condition.name == "present":
        return isinstance(condition.arguments[0], Column)
    return False


def _conjuncts(condition: Expression | None) -> Iterator[Expression]:
    """The parts of a condition that all have to hold."""
    if isinstance(condition, Operation) and condition.name == "&":
        for argument in condition.arguments:
            yield from _conjuncts(argument)
    elif condition is not None:
        yield condition
