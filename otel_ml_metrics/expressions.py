"""Row expressions: one small tree, written in Python or as text, evaluated by numpy or by a SQL engine.

    col("fare") * (col("label") & ~col("prediction"))      is the same tree as
    parse("fare * (label & ~prediction)")

One rule about gaps: a row that misses any column the expression uses (NULL, None, NaN or an infinity), or whose result
is not finite, has no value. Both back ends give the same numbers to the last bit, but for `ln`, `exp` and `**`.
"""

from __future__ import annotations

import keyword
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Final, NoReturn

import numpy as np

from otel_ml_metrics import grammar
from otel_ml_metrics.errors import ExpressionError, suggest
from otel_ml_metrics.operations import (
    CALL,
    OPERATORS,
    Array,
    Evaluated,
    Kind,
    Operand,
    Operator,
    as_numbers,
    kind_of,
    misfit,
    unified,
)

__all__ = [
    "Column", "Expression", "Kind", "Kinds", "Literal", "Operation", "added", "as_expression", "clip", "col",
    "exp", "floor", "lit", "ln", "maximum", "minimum", "number_sql", "parse", "present", "sqrt", "where",
]  # fmt: skip

MAXIMUM_DEPTH: Final = grammar.MAXIMUM_DEPTH
MAXIMUM_SIZE: Final = 2_000
_EVERYWHERE: Final = np.array(1, dtype=np.bool_)

Kinds = Mapping[str, Kind]


def _infix(symbol: str) -> Callable[[Expression, object], Expression]:
    def method(self: Expression, other: object) -> Expression:
        return _operation(symbol, self, other)

    return method


def _reflected(symbol: str) -> Callable[[Expression, object], Expression]:
    def method(self: Expression, other: object) -> Expression:
        return _operation(symbol, other, self)

    return method


def _prefix(symbol: str) -> Callable[[Expression], Expression]:
    def method(self: Expression) -> Expression:
        return _operation(symbol, self)

    return method


class Expression:
    """A value per row, as a tree of columns, literals and operations. Make one with `col`, `lit` or `parse`.

    Operators build larger trees: `+ - * / **`, comparisons, `& | ~` (not `and or not`), `abs()`. That includes `==`,
    so two trees are compared by `same_as`.

    >>> risk = col("score") * col("fare")
    >>> risk > 100
    parse('score * fare > 100')
    >>> sorted(risk.columns())
    ['fare', 'score']
    """

    __array_ufunc__ = None  # a numpy scalar on the left leaves the operator to us
    depth: int
    size: int
    may_miss: bool

    @property
    def precedence(self) -> int:
        """How tightly the text binds, as in Python."""
        return CALL

    def columns(self) -> frozenset[str]:
        """Names of the columns that a row needs."""
        return frozenset()

    def kind(self, kinds: Kinds) -> Kind:
        """Kind of the result over columns of these kinds.

        Raises:
            ExpressionError: A column is unknown, or an operation does not take what it is given.
        """
        raise NotImplementedError

    def to_sql(self, kinds: Kinds) -> str:
        """Scalar SQL in DuckDB's dialect; numbers are DOUBLE. Only for rows in which `present_sql` holds."""
        raise NotImplementedError

    def replaced(self, columns: Mapping[str, Expression]) -> Expression:  # noqa: ARG002  # every node is asked the same way
        """The same tree with other trees in the place of columns."""
        return self

    def same_as(self, other: Expression) -> bool:
        """Whether both are the same tree."""
        return str(self) == str(other)

    def evaluate(self, loaded: Mapping[str, Array]) -> Evaluated:
        """Values over loaded columns, and where they are defined; gaps of columns are the caller's."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"parse({str(self)!r})"

    def __bool__(self) -> NoReturn:
        message = (
            f"`{self}` has one truth value per row, so `and`, `or`, `not`, `if` and chains such as 0 <= a <= 1 cannot "
            "use it. Write & for and, | for or, ~ for not, with parentheses around comparisons: (0 <= a) & (a <= 1)."
        )
        raise ExpressionError(message)

    __hash__ = object.__hash__  # by identity: `==` builds a tree
    __eq__ = _infix("==")  # type: ignore[assignment]
    __ne__ = _infix("!=")  # type: ignore[assignment]
    __lt__, __le__, __gt__, __ge__ = _infix("<"), _infix("<="), _infix(">"), _infix(">=")
    __add__, __radd__ = _infix("+"), _reflected("+")
    __sub__, __rsub__ = _infix("-"), _reflected("-")
    __mul__, __rmul__ = _infix("*"), _reflected("*")
    __truediv__, __rtruediv__ = _infix("/"), _reflected("/")
    __pow__, __rpow__ = _infix("**"), _reflected("**")
    __and__, __rand__ = _infix("&"), _reflected("&")
    __or__, __ror__ = _infix("|"), _reflected("|")
    __invert__, __neg__, __abs__ = _prefix("~"), _prefix("negative"), _prefix("abs")


@dataclass(frozen=True, eq=False, repr=False)
class Column(Expression):
    """The value of one column."""

    name: str
    depth = 1
    size = 1
    may_miss = False

    def replaced(self, columns: Mapping[str, Expression]) -> Expression:
        """What stands in its place."""
        return columns.get(self.name, self)

    def columns(self) -> frozenset[str]:
        """The column itself."""
        return frozenset({self.name})

    def kind(self, kinds: Kinds) -> Kind:
        """Kind of the column."""
        if self.name not in kinds:
            message = f"There is no column {self.name!r} here. {suggest(self.name, kinds)}"
            raise ExpressionError(message)
        return kinds[self.name]

    def to_sql(self, kinds: Kinds) -> str:
        """The quoted name; numbers are cast, whatever width the relation stores."""
        quoted = '"' + self.name.replace('"', '""') + '"'
        return f"CAST({quoted} AS DOUBLE)" if self.kind(kinds) == "number" else quoted

    def evaluate(self, loaded: Mapping[str, Array]) -> Evaluated:
        """The loaded column."""
        return Evaluated(loaded[self.name], _EVERYWHERE)

    def __str__(self) -> str:
        plain = self.name.isidentifier() and not keyword.iskeyword(self.name)
        return self.name if plain and unicodedata.is_normalized("NFKC", self.name) else f"col({self.name!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Literal(Expression):
    """A finite double, a boolean or a string."""

    value: float | bool | str
    depth = 1
    size = 1
    may_miss = False

    @property
    def precedence(self) -> int:
        """That of unary minus for a negative number, which needs parentheses in `(-1) ** 2`."""
        return OPERATORS["negative"].precedence if str(self).startswith("-") else CALL

    def kind(self, kinds: Kinds) -> Kind:  # noqa: ARG002  every node is asked the same way
        """Kind of the value."""
        if isinstance(self.value, bool):
            return "boolean"
        return "string" if isinstance(self.value, str) else "number"

    def to_sql(self, kinds: Kinds) -> str:  # noqa: ARG002  every node is asked the same way
        """A literal of type BOOLEAN, VARCHAR or, by its exponent, DOUBLE (0.8 alone would be a decimal)."""
        if isinstance(self.value, bool):
            return str(self.value).upper()
        if isinstance(self.value, str):
            return "'" + self.value.replace("'", "''") + "'"
        return number_sql(self.value)

    def evaluate(self, loaded: Mapping[str, Array]) -> Evaluated:  # noqa: ARG002  every node is asked the same way
        """The value as an array without dimensions."""
        return Evaluated(np.array(self.value, dtype=object if isinstance(self.value, str) else None), _EVERYWHERE)

    def __str__(self) -> str:
        whole = isinstance(self.value, float) and self.value.is_integer() and abs(self.value) < 1e15  # noqa: PLR2004
        return str(int(self.value)) if whole else repr(self.value)


@dataclass(frozen=True, eq=False, repr=False)
class Operation(Expression):
    """An entry of `OPERATORS` applied to arguments."""

    name: str
    arguments: tuple[Expression, ...]
    depth: int = field(init=False)
    size: int = field(init=False)
    may_miss: bool = field(init=False)

    def __post_init__(self) -> None:
        operator, arguments = self.operator, self.arguments
        misses = operator.may_miss(*(_number(argument) for argument in arguments))
        inherited = self.name != "present" and any(argument.may_miss for argument in arguments)
        object.__setattr__(self, "depth", 1 + max(argument.depth for argument in arguments))
        object.__setattr__(self, "size", 1 + operator.copies * sum(argument.size for argument in arguments))
        object.__setattr__(self, "may_miss", misses or inherited)
        if self.depth > MAXIMUM_DEPTH or self.size > MAXIMUM_SIZE:
            message = (
                f"The expression has {self.depth} levels and {self.size} terms; at most {MAXIMUM_DEPTH} and "
                f"{MAXIMUM_SIZE} are allowed (`/`, `**`, `minimum` and the like count their arguments several times). "
                "Compute a part of it beforehand and record that as a field of its own."
            )
            raise ExpressionError(message)

    @property
    def operator(self) -> Operator:
        """The entry of the table."""
        return OPERATORS[self.name]

    @property
    def precedence(self) -> int:
        """That of the operator."""
        return self.operator.precedence

    def replaced(self, columns: Mapping[str, Expression]) -> Expression:
        """The operation over the arguments, themselves replaced."""
        return Operation(self.name, tuple(argument.replaced(columns) for argument in self.arguments))

    def columns(self) -> frozenset[str]:
        """Those of the arguments."""
        return frozenset().union(*(argument.columns() for argument in self.arguments))

    def kind(self, kinds: Kinds) -> Kind:
        """Kind of the result, once the arguments are found to fit."""
        found = [argument.kind(kinds) for argument in self.arguments]
        wrong = misfit(self.operator.takes, found)
        if wrong is not None:
            place, expected, advice = wrong
            problem = f"`{self.arguments[place]}` is a {found[place]}, where {expected} is needed"
            message = f"In `{self}`, {problem}. {advice}"
            raise ExpressionError(message)
        return self.operator.gives or unified(found[1:])

    def to_sql(self, kinds: Kinds) -> str:
        """The operator's SQL over the arguments."""
        self.kind(kinds)
        operands = [
            Operand(argument.to_sql(kinds), argument.kind(kinds), _number(argument), argument.may_miss)
            for argument in self.arguments
        ]
        numbers = as_numbers(self.operator.takes, [operand.kind for operand in operands])
        return self.operator.sql(*(each.cast() if cast else each for each, cast in zip(operands, numbers, strict=True)))

    def evaluate(self, loaded: Mapping[str, Array]) -> Evaluated:
        """The operator's function over the arguments."""
        arguments = [argument.evaluate(loaded) for argument in self.arguments]
        numbers = as_numbers(self.operator.takes, [kind_of(each.values) for each in arguments])
        values = [
            each.values.astype(np.float64) if cast else each.values
            for each, cast in zip(arguments, numbers, strict=True)
        ]
        return self.operator.apply(values, [each.defined for each in arguments])

    def __str__(self) -> str:
        texts = [
            str(argument) if argument.precedence >= limit else f"({argument})"
            for argument, limit in zip(self.arguments, self.operator.limits, strict=True)
        ]
        return self.operator.text.format(*texts)


def number_sql(value: float) -> str:
    """A DOUBLE literal that reads back as the same double."""
    digits = repr(value)
    digits = digits if "e" in digits else f"{digits}e0"
    return f"({digits})" if value < 0 else digits


def col(name: str) -> Expression:
    """The value of a column: a reserved field such as `score`, `label` or `prediction`, or a declared one."""
    given: object = name
    if not isinstance(given, str) or not given or not name.isprintable():
        message = f'A column is named by printable text, but this is {name!r}. Write col("fare").'
        raise ExpressionError(message)
    return Column(name)


def lit(value: object) -> Expression:
    """The same value in every row: a finite number, a boolean or a string."""
    if isinstance(value, bool | np.bool_):
        return Literal(bool(value))
    if isinstance(value, str):
        return _text_literal(value)
    try:
        number = float(value) if isinstance(value, Real) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        message = (
            f"{value!r:.80} ({type(value).__name__}) cannot stand in an expression; finite numbers, booleans and "
            "strings can. Rows with gaps are left out by themselves, and present(a) tells where a value is."
        )
        raise ExpressionError(message)
    return Literal(number + 0.0)  # turns -0.0 into 0.0, which reads back as itself


def _text_literal(value: str) -> Expression:
    try:
        value.encode()
    except UnicodeEncodeError:
        message = f"The string {value!r:.80} is no valid Unicode text."
        raise ExpressionError(message) from None
    if "\0" in value:
        message = f"The string {value!r:.80} holds a NUL character, which no database takes."
        raise ExpressionError(message)
    return Literal(str(value))


def _number(expression: Expression) -> float | None:
    is_number = isinstance(expression, Literal) and kind_of(np.asarray(expression.value)) == "number"
    return float(expression.value) if isinstance(expression, Literal) and is_number else None


def _operation(name: str, *arguments: object) -> Expression:
    nodes = tuple(each if isinstance(each, Expression) else lit(each) for each in arguments)
    number = _number(nodes[0])
    return lit(-number) if name == "negative" and number is not None else Operation(name, nodes)


def where(condition: object, then: object, otherwise: object) -> Expression:
    """`then` in rows where the condition holds, else `otherwise`; the branch not taken may be undefined there."""
    return _operation("where", condition, then, otherwise)


def ln(value: object) -> Expression:
    """Natural logarithm; missing where the value is not above 0."""
    return _operation("ln", value)


def exp(value: object) -> Expression:
    """The exponential function."""
    return _operation("exp", value)


def sqrt(value: object) -> Expression:
    """Square root; missing where the value is negative."""
    return _operation("sqrt", value)


def floor(value: object) -> Expression:
    """The largest whole number that is not larger."""
    return _operation("floor", value)


def minimum(left: object, right: object) -> Expression:
    """The smaller of two numbers."""
    return _operation("minimum", left, right)


def maximum(left: object, right: object) -> Expression:
    """The larger of two numbers."""
    return _operation("maximum", left, right)


def clip(value: object, lowest: object, highest: object) -> Expression:
    """The value, but not below `lowest` nor above `highest`."""
    return minimum(maximum(value, lowest), highest)


def present(value: object) -> Expression:
    """Whether the value is there: not missing and, if it is a number, finite."""
    return _operation("present", value)


def added(terms: Sequence[Expression]) -> Expression:
    """The sum of one or more expressions, as a tree that is as flat as it can be."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return added(terms[:half]) + added(terms[half:])


_BUILDER: Final = grammar.Builder[Expression](
    column=col,
    literal=lit,
    operation=_operation,
    functions={
        "abs": (lambda value: _operation("abs", value), 1),
        "clip": (clip, 3),
        "exp": (exp, 1),
        "floor": (floor, 1),
        "ln": (ln, 1),
        "maximum": (maximum, 2),
        "minimum": (minimum, 2),
        "pow": (lambda base, exponent: _operation("**", base, exponent), 2),
        "present": (present, 1),
        "sqrt": (sqrt, 1),
        "where": (where, 3),
    },
)


def parse(text: str) -> Expression:
    """Read an expression from text, such as `fare * (label & ~prediction)`; names are columns.

    >>> parse("where(score > 0.8, fare, 0)")
    parse('where(score > 0.8, fare, 0)')

    Raises:
        ExpressionError: The text is outside the grammar; the message says where and what is allowed.
    """
    return grammar.read(text, _BUILDER)


def as_expression(given: Expression | str | float) -> Expression:
    """An expression as it is, from its text, or that of a number."""
    return given if isinstance(given, Expression) else parse(given) if isinstance(given, str) else lit(given)
