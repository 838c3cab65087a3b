"""What each operation of a row expression does, as data: once in numpy, once in SQL.

Both columns of the table must give the same bits. Three facts shape it:

- SQL sorts NaN above every number and equal to itself, IEEE does not. NaN can only come up inside an expression
  (infinity minus infinity), and the numpy side then follows SQL.
- An operation outside its domain (`x / 0`, `ln(0)`) is *missing*: NULL in SQL, `defined = False` in numpy. It spreads
  by SQL's three-valued logic, and `where(x > 0, ln(x), 0)` never sees the branch that it does not take.
- `least` and `greatest` skip NULL on some engines and not on others: they only stand where nothing can be missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["boolean", "number", "string"]
Array = NDArray[Any]
Mask = NDArray[np.bool_]
Takes = Literal["numbers", "booleans", "alike", "choice", "anything"]

CALL: Final = 8
LARGEST: Final = 2.0**90
"""Beyond this magnitude (1.2e27) a value counts as not finite: so a single row can never break a 128-bit sum."""


_MAXIMUM_WITH_NUMBER: Final = re.compile(r"greatest\(.*, ([0-9.e+-]+)\)")
"""What `maximum(…, 1e-15)` is in SQL: an infix around it would be in parentheses, and so is a negative number."""


class Evaluated(NamedTuple):
    """Values per row, and where they are defined."""

    values: Array
    defined: Mask


@dataclass(frozen=True)
class Operand:
    """What an operation may know of an argument when it writes SQL."""

    sql: str
    kind: Kind
    literal: float | None
    may_miss: bool

    def cast(self) -> Operand:
        """A boolean as 0 or 1; by way of an integer, because PostgreSQL has no direct cast."""
        return replace(self, sql=f"CAST(CAST({self.sql} AS INTEGER) AS DOUBLE)", kind="number")


@dataclass(frozen=True)
class Operator:
    """One operation.

    Args:
        text: How it is written, `{0}` being the first argument.
        takes: Kinds of the arguments. Booleans count as 0 and 1 where numbers are taken.
        gives: Kind of the result; None where it is that of the arguments.
        numpy: Values from values.
        sql: SQL from operands.
        precedence: As in Python.
        defined: From values and defined masks of the arguments to where the result is defined; None: where all are.
        may_miss: Whether a result can be missing though no argument is, given the arguments that are literal numbers.
        copies: How often the SQL repeats an argument, which bounds the length of the SQL.
        arity: Number of arguments.
    """

    text: str
    takes: Takes
    gives: Kind | None
    numpy: Callable[..., Array]
    sql: Callable[..., str]
    precedence: int = CALL
    defined: Callable[[list[Array], list[Mask]], Mask] | None = None
    may_miss: Callable[..., bool] = lambda *_: False
    copies: int = 1
    arity: int = 2

    @property
    def limits(self) -> list[int]:
        """The precedence below which each argument is put into parentheses."""
        if self.precedence == CALL:
            return [0] * self.arity
        if self.arity == 1:
            return [self.precedence]
        groups_left = self.precedence in {2, 3, 4, 5}
        return [self.precedence + (not groups_left), self.precedence + 1]

    def apply(self, values: list[Array], masks: list[Mask]) -> Evaluated:
        """Compute the result and where it is defined."""
        if self.takes == "anything":
            return Evaluated(is_present(values[0], masks[0]), np.array(1, dtype=np.bool_))
        defined = self.defined(values, masks) if self.defined else all_defined(masks)
        return Evaluated(self.numpy(*values), defined)


def kind_of(array: Array) -> Kind:
    """Kind of the values of an array, by its type."""
    if array.dtype == np.bool_:
        return "boolean"
    return "number" if np.issubdtype(array.dtype, np.number) else "string"


def unified(kinds: list[Kind]) -> Kind:
    """Kind of a choice between values of these kinds."""
    return "number" if "number" in kinds else kinds[0]


def as_numbers(takes: Takes, kinds: list[Kind]) -> list[bool]:
    """Which arguments are booleans that have to become numbers."""
    compared = kinds[1:] if takes == "choice" else kinds
    wanted = takes == "numbers" or (takes in {"alike", "choice"} and "number" in compared)
    first = len(kinds) - len(compared)
    return [wanted and place >= first and kind == "boolean" for place, kind in enumerate(kinds)]


def misfit(takes: Takes, kinds: list[Kind]) -> tuple[int, str, str] | None:
    """The first argument that does not fit: its place, what is needed there, and advice; None if all fit."""
    heads = {"booleans": len(kinds), "choice": 1}.get(takes, 0)
    for place, kind in enumerate(kinds):
        if place < heads and kind != "boolean":
            return place, "a boolean", "Compare it, and put comparisons into parentheses: (a > 0) & (b > 0)."
        if place >= heads and takes == "numbers" and kind == "string":
            return place, "a number", 'Strings can only be compared by == and !=: where(a == "x", 1, 0).'
        if place > heads and takes in {"alike", "choice"} and (kind == "string") != (kinds[place - 1] == "string"):
            return place, f"a {kinds[place - 1]}", 'Strings stand in quotes: a == "x".'
    return None


def all_defined(masks: list[Mask]) -> Mask:
    """Where every argument is defined."""
    return reduce(np.logical_and, masks)


def _template(template: str) -> Callable[..., str]:
    return lambda *operands: template.format(*(operand.sql for operand in operands))


def _less(left: Array, right: Array) -> Array:
    return (left < right) | (np.isnan(right) & ~np.isnan(left))


def _equal(left: Array, right: Array) -> Array:
    same: Array = np.equal(left, right)
    if np.result_type(left) == np.float64:
        return same | (np.isnan(left) & np.isnan(right))
    return same.astype(np.bool_)


def _minimum(left: Array, right: Array) -> Array:
    return np.where(_less(right, left), right, left)


def _maximum(left: Array, right: Array) -> Array:
    return np.where(_less(left, right), right, left)


def _extreme_sql(function: str, comparison: str) -> Callable[..., str]:
    def sql(left: Operand, right: Operand) -> str:
        if not (left.may_miss or right.may_miss):
            return f"{function}({left.sql}, {right.sql})"
        kept = f"WHEN {left.sql} {comparison}= {right.sql} THEN {left.sql}"
        return f"CASE {kept} WHEN {right.sql} {comparison} {left.sql} THEN {right.sql} END"

    return sql


def _and_defined(values: list[Array], masks: list[Mask]) -> Mask:
    (left, right), (has_left, has_right) = values, masks
    return (has_left & has_right) | (has_left & ~left) | (has_right & ~right)


def _or_defined(values: list[Array], masks: list[Mask]) -> Mask:
    (left, right), (has_left, has_right) = values, masks
    return (has_left & has_right) | (has_left & left) | (has_right & right)


def _where_defined(values: list[Array], masks: list[Mask]) -> Mask:
    return masks[0] & np.where(values[0], masks[1], masks[2])


def _where_sql(condition: Operand, then: Operand, otherwise: Operand) -> str:
    rest = f"WHEN NOT {condition.sql} THEN" if condition.may_miss else "ELSE"
    return f"CASE WHEN {condition.sql} THEN {then.sql} {rest} {otherwise.sql} END"


def _divide_sql(left: Operand, right: Operand) -> str:
    return f"({left.sql} / {right.sql if right.literal else f'NULLIF({right.sql}, 0e0)'})"


def _power(base: Array, exponent: Array) -> Array:
    if exponent.ndim == 0 and exponent == 2:  # noqa: PLR2004  pow() is not exact to the last bit everywhere, a product is
        return base * base
    return np.power(base, exponent)


def _power_defined(values: list[Array], masks: list[Mask]) -> Mask:
    base, exponent = values
    broken = (base < 0) & ~_equal(exponent, np.floor(exponent))
    pole = (base == 0) & (exponent < 0)
    fine: Mask = all_defined(masks) & ~(broken | pole)
    return fine


def _is_natural(exponent: float | None) -> bool:
    return exponent is not None and exponent >= 0 and exponent == int(exponent)


def _power_sql(base: Operand, exponent: Operand) -> str:
    if exponent.literal == 2:  # noqa: PLR2004
        return f"({base.sql} * {base.sql})"
    if _is_natural(exponent.literal):
        return f"pow({base.sql}, {exponent.sql})"
    broken = f"{base.sql} < 0e0 AND {exponent.sql} <> floor({exponent.sql})"
    pole = f"{base.sql} = 0e0 AND {exponent.sql} < 0e0"
    return f"pow(CASE WHEN NOT ({broken}) AND NOT ({pole}) THEN {base.sql} END, {exponent.sql})"


def is_present(values: Array, defined: Mask) -> Mask:
    """Where a value is defined and, if it is a number, no larger than LARGEST in magnitude."""
    if values.dtype == np.float64:
        return defined & (np.abs(values) <= LARGEST)
    return defined | np.zeros(values.shape, np.bool_)


def _ln_sql(operand: Operand) -> str:
    """A maximum with a positive number is positive, so it needs no guard, which takes longer than the logarithm."""
    least = _MAXIMUM_WITH_NUMBER.fullmatch(operand.sql)
    if least is not None and float(least[1]) > 0:
        return f"ln({operand.sql})"
    return f"ln(CASE WHEN {operand.sql} > 0e0 THEN {operand.sql} END)"


def _sqrt_sql(operand: Operand) -> str:
    """A root is never negative, so the root of a root needs no guard, and is not written twice."""
    is_root = operand.sql.startswith("sqrt(")  # whatever is made of a root by an infix is in parentheses
    return f"sqrt({operand.sql})" if is_root else f"sqrt(CASE WHEN {operand.sql} >= 0e0 THEN {operand.sql} END)"


def is_present_sql(operand: Operand) -> str:
    """The same as SQL; NULL and false both mean no."""
    if operand.kind == "number":
        return f"abs({operand.sql}) <= {LARGEST!r}"
    return f"{operand.sql} IS NOT NULL"


def _arithmetic(symbol: str, precedence: int, function: Callable[..., Array]) -> Operator:
    text = f"{{0}} {symbol} {{1}}"
    return Operator(text, "numbers", "number", function, _template(f"({{0}} {symbol} {{1}})"), precedence)


def _comparison(symbol: str, takes: Takes, function: Callable[..., Array], sql: str = "") -> Operator:
    return Operator(f"{{0}} {symbol} {{1}}", takes, "boolean", function, _template(f"({{0}} {sql or symbol} {{1}})"), 1)


def _function(name: str, function: Callable[..., Array]) -> Operator:
    return Operator(f"{name}({{0}})", "numbers", "number", function, _template(f"{name}({{0}})"), arity=1)


OPERATORS: Final[dict[str, Operator]] = {
    "+": _arithmetic("+", 4, np.add),
    "-": _arithmetic("-", 4, np.subtract),
    "*": _arithmetic("*", 5, np.multiply),
    "/": Operator(
        "{0} / {1}", "numbers", "number", np.divide, _divide_sql, 5,
        defined=lambda values, masks: all_defined(masks) & (values[1] != 0),
        may_miss=lambda _, divisor: not divisor,
        copies=2,
    ),
    "**": Operator(
        "{0} ** {1}", "numbers", "number", _power, _power_sql, 7,
        defined=_power_defined, may_miss=lambda _, exponent: not _is_natural(exponent), copies=4,
    ),
    "negative": Operator("-{0}", "numbers", "number", np.negative, _template("(-{0})"), 6, arity=1),
    "<": _comparison("<", "numbers", _less),
    "<=": _comparison("<=", "numbers", lambda left, right: ~_less(right, left)),
    ">": _comparison(">", "numbers", lambda left, right: _less(right, left)),
    ">=": _comparison(">=", "numbers", lambda left, right: ~_less(left, right)),
    "==": _comparison("==", "alike", _equal, "="),
    "!=": _comparison("!=", "alike", lambda left, right: ~_equal(left, right), "<>"),
    "|": Operator(
        "{0} | {1}", "booleans", "boolean", np.logical_or, _template("({0} OR {1})"), 2, defined=_or_defined
    ),
    "&": Operator(
        "{0} & {1}", "booleans", "boolean", np.logical_and, _template("({0} AND {1})"), 3, defined=_and_defined
    ),
    "~": Operator("~{0}", "booleans", "boolean", np.logical_not, _template("(NOT {0})"), 6, arity=1),
    "where": Operator(
        "where({0}, {1}, {2})", "choice", None, np.where, _where_sql, defined=_where_defined, copies=2, arity=3
    ),
    "abs": _function("abs", np.abs),
    "floor": _function("floor", np.floor),
    "exp": _function("exp", np.exp),
    "ln": Operator(
        "ln({0})", "numbers", "number", np.log, _ln_sql,
        defined=lambda values, masks: masks[0] & ~(values[0] <= 0), may_miss=lambda x: not (x and x > 0),
        copies=2, arity=1,
    ),
    "sqrt": Operator(
        "sqrt({0})", "numbers", "number", np.sqrt, _sqrt_sql,
        defined=lambda values, masks: masks[0] & ~(values[0] < 0), may_miss=lambda x: x is None or x < 0,
        copies=2, arity=1,
    ),
    "minimum": Operator(
        "minimum({0}, {1})", "numbers", "number", _minimum, _extreme_sql("least", "<"), copies=3
    ),
    "maximum": Operator(
        "maximum({0}, {1})", "numbers", "number", _maximum, _extreme_sql("greatest", ">"), copies=3
    ),
    "present": Operator(
        "present({0})", "anything", "boolean", lambda values: values,
        lambda operand: f"coalesce({is_present_sql(operand)}, FALSE)",
        arity=1,
    ),
}  # fmt: skip
