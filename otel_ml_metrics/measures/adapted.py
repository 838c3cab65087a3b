"""One measure made of another: at a threshold, or with weighted rows. Only the states change, never a formula."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.expressions import col, lit
from otel_ml_metrics.measures.measure import Interval, Measure, Undefined
from otel_ml_metrics.measures.sums import Binned, Sum

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.expressions import Expression
    from otel_ml_metrics.measures.totals import State, Totals

_WEIGHT: Final = col("weight")
_WEIGHT_SCALE: Final = 30


def with_states(measure: Measure, stand_ins: Mapping[State, State]) -> Measure:
    """The measure over other states, its formulas unchanged."""
    inner_interval, inner_error = measure.interval_from, measure.error_from
    support = stand_ins[measure.support]
    return replace(
        measure,
        sums=tuple(dict.fromkeys(stand_ins[state] for state in measure.sums)),
        support=support if isinstance(support, Sum) else measure.support,
        value_from=lambda totals: measure.value_from(totals.through(stand_ins)),
        interval_from=inner_interval and (lambda totals: inner_interval(totals.through(stand_ins))),
        error_from=inner_error and (lambda totals: inner_error(totals.through(stand_ins))),
    )


def over(measure: Measure, columns: Mapping[str, Expression]) -> Measure:
    """The measure with expressions in the place of columns."""

    def stand_in(state: State) -> State:
        if isinstance(state, Binned):
            return replace(state, summed=state.summed.over(columns))
        return state.over(columns)

    return with_states(measure, {state: stand_in(state) for state in measure.states})


def at_threshold(measure: Measure, threshold: float) -> Measure:
    """The measure with `score >= threshold` as the decision, whatever was decided when the prediction was made.

    Raises:
        ConfigurationError: The measure does not look at decisions.

    >>> from otel_ml_metrics.measures.table import MEASURES
    >>> at_threshold(MEASURES["recall"], 0.8).support.key
    'sum[1 where present(label) & present(score >= 0.8)]@0'
    """
    if "prediction" not in measure.columns() or "binary" not in measure.tasks:
        message = f"{measure.name!r} does not look at yes-or-no decisions, so it has no threshold. Leave it out."
        raise ConfigurationError(message, "threshold")
    made = over(measure, {"prediction": col("score") >= lit(threshold)})
    return replace(
        made,
        description=f"{measure.description.rstrip('.')}, deciding by score >= {threshold:g}.",
        formula=f"{measure.formula} at score >= {threshold:g}",
    )


def weighted(measure: Measure) -> Measure:
    """The measure with each row counted `weight` times; a row without a weight of at least 0 takes no part.

    The support stays the number of rows. Intervals use the effective number of rows (Kish, Survey Sampling, 1965), so
    weights that are all 2 change neither the value nor its uncertainty.
    """
    stand_ins = {state: _weighted_state(state) for state in measure.states}
    total = _weighted_sum(measure.support)
    squares = replace(total, expression=_WEIGHT * _WEIGHT, scale=24)
    valid = _WEIGHT >= 0
    condition = valid if measure.support.condition is None else measure.support.condition & valid
    inner_interval, inner_error = measure.interval_from, measure.error_from

    def value(totals: Totals) -> float | Undefined:
        return measure.value_from(totals.through(stand_ins)) if totals[total] else Undefined("no_weight")

    def interval(totals: Totals) -> Interval | None:
        if inner_interval is None or not totals[squares]:
            return None
        return inner_interval(totals.through(stand_ins, factor=totals[total] / totals[squares]))

    return replace(
        measure,
        description=f"{measure.description.rstrip('.')}, rows weighted.",
        formula=f"{measure.formula}, each row counted `weight` times",
        undefined=f"{measure.undefined}, or weights of 0 only",
        sums=tuple(dict.fromkeys((*stand_ins.values(), total, squares))),
        support=replace(measure.support, condition=condition),
        value_from=value,
        interval_from=inner_interval and interval,
        error_from=inner_error and (lambda totals: inner_error(totals.through(stand_ins))),
    )


def _weighted_state(state: State) -> State:
    return replace(state, summed=_weighted_sum(state.summed)) if isinstance(state, Binned) else _weighted_sum(state)


def _weighted_sum(summed: Sum) -> Sum:
    is_count = summed.expression.same_as(lit(1))
    valid = _WEIGHT >= 0
    return replace(
        summed,
        expression=_WEIGHT if is_count else summed.expression * _WEIGHT,
        condition=valid if summed.condition is None else summed.condition & valid,
        scale=max(summed.scale, _WEIGHT_SCALE) if summed.scale in {0, _WEIGHT_SCALE} else summed.scale,
        wide=True,
    )
