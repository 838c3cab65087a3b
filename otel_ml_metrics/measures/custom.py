"""Measures that users declare by expressions: a sum, a mean, or a ratio of two sums."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args

from otel_ml_metrics.errors import ConfigurationError, suggest
from otel_ml_metrics.expressions import Expression, Literal, Operation, lit, parse, present
from otel_ml_metrics.measures.measure import Direction, Measure, Undefined
from otel_ml_metrics.measures.sums import Rows, Sum

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_ml_metrics.measures.totals import Totals

ANY_TASK: Final = frozenset({"binary", "multiclass", "multilabel", "regression", "quantile", "ranking"})
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,99}")
_UNIT: Final = re.compile(r"(?:[!-z|~]|\{[!-z|~]*\}){1,63}")  # printable ASCII, braces in pairs around an annotation


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What a user says about a measure besides its expressions; checked when it is made."""

    name: str
    unit: str
    description: str
    direction: Direction
    rows: Rows

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            message = (
                f"{self.name!r} cannot be a measure's name. Use letters, digits, _ and ., a letter first, 100 at most."
            )
            raise ConfigurationError(message, "name")
        if not _UNIT.fullmatch(self.unit):
            message = (
                f"{self.unit!r} is no unit. Write UCUM, such as USD, s, 1 for a fraction, or {{flight}} for a count."
            )
            raise ConfigurationError(message, "unit")
        if not self.description.strip():
            message = f"The measure {self.name!r} needs a description: one sentence that dashboards can show."
            raise ConfigurationError(message, "description")
        _check_choice("direction", self.direction, get_args(Direction))
        _check_choice("rows", self.rows, get_args(Rows))

    def measure(
        self,
        formula: str,
        sums: tuple[Sum, ...],
        support: Sum,
        value: Callable[[Totals], float | Undefined],
        *,
        extensive: bool = False,
    ) -> Measure:
        return Measure(
            name=self.name,
            unit=self.unit,
            description=self.description,
            formula=formula,
            source="declared by the user",
            direction=self.direction,
            tasks=ANY_TASK,
            sums=sums,
            support=support,
            value_from=value,
            extensive=extensive,
        )


def _check_choice(field: str, found: str, choices: tuple[str, ...]) -> None:
    if found not in choices:
        message = f"{field} is {found!r}, but has to be one of {', '.join(choices)}. {suggest(found, choices)}"
        raise ConfigurationError(message, field)


def _expression(given: Expression | str) -> Expression:
    return given if isinstance(given, Expression) else parse(given)


def _sum(expression: Expression, condition: Expression | None, rows: Rows) -> Sum:
    """The sum of an expression; counts are known to be small, everything else may be as large as it likes."""
    is_boolean = isinstance(expression, Operation) and expression.operator.gives == "boolean"
    if is_boolean or expression.same_as(lit(1)):
        return Sum(expression, condition, scale=0, rows=rows, wide=False)
    return Sum(expression, condition, rows=rows)


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
    facts = _Facts(name=name, unit=unit, description=description, direction=direction, rows=rows)
    summed = _expression(expression)
    total = _sum(summed, None, rows)
    support = _support(summed, rows=rows)
    return facts.measure(f"sum of {summed}", (total,), support, lambda totals: totals[total], extensive=True)


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
    facts = _Facts(name=name, unit=unit, description=description, direction=direction, rows=rows)
    averaged = _expression(expression)
    total, support = _sum(averaged, None, rows), _support(averaged, rows=rows)
    return facts.measure(f"mean of {averaged}", (total,), support, lambda totals: totals[total] / totals[support])


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
    facts = _Facts(name=name, unit=unit, description=description, direction=direction, rows=rows)
    above, below = _expression(numerator), _expression(denominator)
    support = _support(above, below, rows=rows)
    total, divisor = _sum(above, support.condition, rows), _sum(below, support.condition, rows)

    def value(totals: Totals) -> float | Undefined:
        return totals[total] / totals[divisor] if totals[divisor] else Undefined("zero_denominator")

    return facts.measure(f"sum of {above} / sum of {below}", (total, divisor), support, value)
