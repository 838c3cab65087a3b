"""Measures that users declare by expressions: sums, means, ratios, rates and quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.expressions import Expression, Literal, Operation, as_expression, lit, minimum, present
from otel_ml_metrics.measures import intervals
from otel_ml_metrics.measures.facts import Facts
from otel_ml_metrics.measures.measure import Direction, Interval, Measure, Undefined
from otel_ml_metrics.measures.quantiles import quantile_of
from otel_ml_metrics.measures.sums import Rows, Sum

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_ml_metrics.measures.totals import Totals

ANY_TASK: Final = frozenset({"binary", "multiclass", "multilabel", "regression", "quantile", "ranking"})
_SOURCE: Final = "declared by the user"
_BOOLEANS: Final = frozenset({"acted_on", "label", "prediction"})
_LARGEST_SQUARE: Final = 2.0**90  # a larger one counts as this, rather than leave out its row


def _measure(
    facts: Facts,
    formula: str,
    sums: tuple[Sum, ...],
    support: Sum,
    value: Callable[[Totals], float | Undefined],
    **more: Any,  # noqa: ANN401  # further fields of a measure
) -> Measure:
    return Measure(
        name=facts.name,
        unit=facts.unit,
        description=facts.description,
        formula=formula,
        source=_SOURCE,
        direction=facts.direction,
        sums=sums,
        support=support,
        value_from=value,
        **({"tasks": ANY_TASK} | more),
    )


def _is_boolean(expression: Expression) -> bool:
    return isinstance(expression, Operation) and expression.operator.gives == "boolean"


def _sum(expression: Expression, condition: Expression | None, rows: Rows) -> Sum:
    """The sum of an expression; counts are known to be small, everything else may be as large as it likes."""
    if _is_boolean(expression) or expression.same_as(lit(1)):
        return Sum(expression, condition, scale=0, rows=rows, wide=False)
    return Sum(expression, condition, rows=rows)


def _products(left: Expression, right: Expression, support: Sum) -> Sum:
    """The sum of products, for intervals; its terms are bounded, so that no row is left out of it."""
    product = minimum(left * right, _LARGEST_SQUARE)
    return Sum(product, support.condition, scale=24, rows=support.rows)


def _support(*expressions: Expression, rows: Rows) -> Sum:
    """Count the rows in which all of these have a value."""
    needed = [present(each) for each in expressions if not isinstance(each, Literal)]
    condition = needed[0] if needed else None
    for each in needed[1:]:
        condition = each if condition is None else condition & each
    return Sum(lit(1), condition, scale=0, rows=rows, wide=False)


def sum_measure(
    name: str,
    *,
    unit: str,
    expression: Expression | str,
    description: str,
    direction: Direction = "none",
    rows: Rows = "labelled",
) -> Measure:
    """The sum of an expression over rows, such as a loss in money.

    Args:
        name: Name of the measure; the metric is `ml.evaluation.<name>`.
        unit: Unit of the expression in UCUM, such as `USD` or `{flight}`.
        expression: Value per row; rows that miss a field of it are left out, and out of the support.
        description: One sentence.
        direction: Whether a `higher` or a `lower` value is better, or `none`.
        rows: `labelled`, or `predictions` for every prediction whether it has a label or not.

    Returns:
        The measure; undefined (not 0) in windows without rows.

    Raises:
        ConfigurationError: Name, unit, description, direction or rows cannot be used.
        ExpressionError: The expression cannot be read.

    >>> refunds = "fare * (label & ~prediction)"
    >>> missed = sum_measure("missed", unit="USD", expression=refunds, description="Refunds that we did not foresee")
    >>> missed.sums[0].key
    'sum[fare * (label & ~prediction)]@30'
    """
    facts = Facts(name=name, unit=unit, description=description, direction=direction, rows=rows)
    summed = as_expression(expression)
    total = _sum(summed, None, rows)
    support = _support(summed, rows=rows)
    return _measure(facts, f"sum of {summed}", (total,), support, lambda totals: totals[total], extensive=True)


def mean_measure(
    name: str,
    *,
    unit: str,
    expression: Expression | str,
    description: str,
    direction: Direction = "none",
    rows: Rows = "labelled",
) -> Measure:
    """The mean of an expression over the rows that have one. Arguments as for `sum_measure`."""
    facts = Facts(name=name, unit=unit, description=description, direction=direction, rows=rows)
    averaged = as_expression(expression)
    total, support = _sum(averaged, None, rows), _support(averaged, rows=rows)
    squares = total if _is_boolean(averaged) else _products(averaged, averaged, support)
    return _measure(
        facts,
        f"mean of {averaged}",
        tuple(dict.fromkeys((total, squares))),
        support,
        lambda totals: totals[total] / totals[support],
        interval_from=lambda totals: intervals.mean(totals[total], totals[squares], totals[support]),
    )


def rate_measure(
    name: str,
    *,
    unit: str = "1",
    condition: Expression | str,
    description: str,
    direction: Direction = "none",
    rows: Rows = "labelled",
) -> Measure:
    """The share of the rows in which a condition holds. Other arguments as for `sum_measure`."""
    facts = Facts(name=name, unit=unit, description=description, direction=direction, rows=rows)
    held = as_expression(condition)
    if not _is_boolean(held) and str(held) not in _BOOLEANS:
        message = f"`{held}` is no condition. Compare it, such as score > 0.8, or declare a mean."
        raise ConfigurationError(message, "rate")
    hits, support = Sum(held, scale=0, rows=rows, wide=False), _support(held, rows=rows)
    return _measure(
        facts,
        f"rows where {held} / n",
        (hits,),
        support,
        lambda totals: totals[hits] / totals[support],
        interval_from=lambda totals: intervals.wilson(totals[hits], totals[support]),
        lowest=0.0,
        highest=1.0,
    )


def ratio_measure(
    name: str,
    *,
    unit: str,
    numerator: Expression | str,
    denominator: Expression | str,
    description: str,
    direction: Direction = "none",
    rows: Rows = "labelled",
) -> Measure:
    """The sum of one expression over the sum of another, over the rows that have both.

    Arguments as for `sum_measure`; undefined where the sum of the denominator is 0.
    """
    facts = Facts(name=name, unit=unit, description=description, direction=direction, rows=rows)
    above, below = as_expression(numerator), as_expression(denominator)
    support = _support(above, below, rows=rows)
    total, divisor = _sum(above, support.condition, rows), _sum(below, support.condition, rows)
    squares, products, divisors = (
        _products(*each, support) for each in ((above, above), (above, below), (below, below))
    )

    def value(totals: Totals) -> float | Undefined:
        return totals[total] / totals[divisor] if totals[divisor] else Undefined("zero_denominator")

    def interval(totals: Totals) -> Interval | None:
        top = intervals.Moments(totals[total], totals[squares])
        bottom = intervals.Moments(totals[divisor], totals[divisors])
        return intervals.ratio(top, bottom, totals[products], totals[support])

    return _measure(
        facts,
        f"sum of {above} / sum of {below}",
        tuple(dict.fromkeys((total, divisor, squares, products, divisors))),
        support,
        value,
        interval_from=interval,
        undefined="the sum of the denominator is 0",
    )


def weighted_mean_measure(
    name: str,
    *,
    unit: str,
    expression: Expression | str,
    weight: Expression | str,
    description: str,
    direction: Direction = "none",
    rows: Rows = "labelled",
) -> Measure:
    """The mean of an expression in which each row counts as much as another one says; else as `ratio_measure`."""
    averaged, heavy = as_expression(expression), as_expression(weight)
    return ratio_measure(
        name,
        unit=unit,
        numerator=averaged * heavy,
        denominator=heavy,
        description=description,
        direction=direction,
        rows=rows,
    )


def quantile_measure(
    name: str, *, unit: str, expression: Expression | str, q: float, description: str, direction: Direction = "none"
) -> Measure:
    """The `q` quantile of an expression over the labelled rows, q between 0 and 1, with a bound of its error."""
    facts = Facts(name=name, unit=unit, description=description, direction=direction)
    of = as_expression(expression)
    return quantile_of(
        facts.name,
        of,
        q,
        unit=facts.unit,
        description=facts.description,
        formula=f"{q:g} quantile of {of}",
        direction=facts.direction,
        tasks=ANY_TASK,
    )
