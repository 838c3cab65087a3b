"""Our statements, written in DuckDB's dialect, for other engines: with the same whole numbers as a result.

sqlglot rewrites names and syntax. It cannot know how far an engine's arithmetic differs, which is added here:

- A number with an exponent is a double for DuckDB and an exact decimal for PostgreSQL, which computes otherwise.
- PostgreSQL has no integer of 128 bits, and turns a double into a decimal by its first 15 digits. So a whole double is
  cut into two halves that 64 bits hold, which loses nothing up to 2^124.
- PostgreSQL refuses a product that overflows or underflows, where IEEE gives infinity or 0. So factors are kept between
  1e-140 and 1e100 in magnitude: what lies beyond is no part of any sum either way.

The last two are functions that a session defines for itself, by the statements of `prelude`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics.errors import EngineError, MissingExtraError

try:
    import sqlglot
    from sqlglot import exp
except ImportError as error:
    raise MissingExtraError("sqlglot", "sql", "Writing SQL for other engines") from error  # noqa: EM101  # fields, no message

if TYPE_CHECKING:
    from collections.abc import Callable

DIALECTS: Final = ("postgres",)
"""Engines that are known to give the same whole numbers."""

_FACTOR: Final = "pg_temp.ml_factor"
_POWER_OF_E: Final = "pg_temp.ml_exponent"
_WIDE: Final = "pg_temp.ml_whole"
_WHOLE_COLUMNS: Final = frozenset({"_sign"})

_FUNCTION: Final = "CREATE OR REPLACE FUNCTION {}(x double precision) RETURNS {} LANGUAGE sql IMMUTABLE AS $${}$$"
_PRELUDES: Final = {
    "postgres": (
        _FUNCTION.format(
            _FACTOR,
            "double precision",
            "SELECT CASE WHEN x = 'NaN' THEN x WHEN x > 1e100 THEN 1e100 WHEN x < -1e100 THEN -1e100"
            " WHEN abs(x) < 1e-140 THEN 0 ELSE x END",
        ),
        _FUNCTION.format(
            _POWER_OF_E,
            "double precision",
            "SELECT CASE WHEN x = 'NaN' THEN x WHEN x > 700 THEN 700 WHEN x < -700 THEN -700 ELSE x END",
        ),
        _FUNCTION.format(
            _WIDE,
            "numeric",
            "SELECT CAST(trunc(x / 4611686018427387904) AS bigint) * 4611686018427387904::numeric"
            " + CAST(x - trunc(x / 4611686018427387904) * 4611686018427387904 AS bigint)",
        ),
    )
}


def prelude(dialect: str) -> tuple[str, ...]:
    """The statements that a session of an engine runs once, before those that are written for it.

    Raises:
        EngineError: The dialect is not known to give the same whole numbers.
    """
    _check(dialect)
    return _PRELUDES[dialect]


def transpiled(statement: str, dialect: str) -> str:
    """A statement of ours for another engine.

    Covers what measures are made of: row expressions, and the statements that add them up
    (`engines.delta_statements.label_sums`, `binned_sums`, `prediction_sums`, `whole_sums`).

    Args:
        statement: In DuckDB's dialect, as those functions write it.
        dialect: One of `DIALECTS`, as sqlglot names it.

    Raises:
        EngineError: The dialect is not known to give the same whole numbers.

    >>> transpiled('SELECT sum(CASE WHEN "label" THEN CAST(1 AS HUGEINT) ELSE 0 END) FROM effects', "postgres")
    'SELECT SUM(CASE WHEN "label" THEN CAST(1 AS DECIMAL(38, 0)) ELSE 0 END) FROM effects'
    """
    _check(dialect)
    tree = sqlglot.parse_one(statement, read="duckdb")
    return _rewritten(tree).sql(dialect=dialect, normalize_functions=False)


def _check(dialect: str) -> None:
    if dialect not in DIALECTS:
        message = f"SQL cannot be written for {dialect!r} yet. Known are: {', '.join(DIALECTS)}."
        raise EngineError(message)


def _rewritten(node: exp.Expr) -> exp.Expr:
    """The tree with the arithmetic of PostgreSQL, from the leaves up."""
    for name, child in list(node.args.items()):
        if isinstance(child, exp.Expr):
            node.set(name, _rewritten(child))
        elif isinstance(child, list):
            node.set(name, [_rewritten(each) if isinstance(each, exp.Expr) else each for each in child])
    return _replaced(node)


def _replaced(node: exp.Expr) -> exp.Expr:
    """A node whose arguments are rewritten already."""
    rewrite = _REWRITES.get(type(node))
    return node if rewrite is None else rewrite(node)


def _literal(node: exp.Expr) -> exp.Expr:
    """A number with an exponent is a double."""
    is_double = not node.is_string and "e" in node.name.lower()
    return exp.cast(node, "DOUBLE") if is_double else node


def _cast(node: exp.Expr) -> exp.Expr:
    """A whole number with up to 38 digits: of a double where it is what `floor` gives."""
    if not (isinstance(node, exp.Cast) and node.to.is_type("INT128")):
        return node
    return _call(_WIDE, node.this) if isinstance(node.this, exp.Floor) else exp.cast(node.this, "DECIMAL(38, 0)")


def _product(node: exp.Expr) -> exp.Expr:
    if _is_whole(node.this) or _is_whole(node.expression):
        return node
    return exp.Mul(this=_factor(node.this), expression=_factor(node.expression))


def _quotient(node: exp.Expr) -> exp.Expr:
    divisor = node.expression
    if isinstance(divisor, exp.Nullif):
        divisor = exp.Nullif(this=_factor(divisor.this), expression=divisor.expression)
    return exp.Div(this=_factor(node.this), expression=divisor, typed=True)


def _power(node: exp.Expr) -> exp.Expr:
    return exp.Pow(this=_factor(node.this), expression=node.expression)


def _exponential(node: exp.Expr) -> exp.Expr:
    return exp.Exp(this=_call(_POWER_OF_E, node.this))


_REWRITES: Final[dict[type[exp.Expr], Callable[[exp.Expr], exp.Expr]]] = {
    exp.Literal: _literal,
    exp.Cast: _cast,
    exp.Mul: _product,
    exp.Div: _quotient,
    exp.Pow: _power,
    exp.Exp: _exponential,
}


def _is_whole(node: exp.Expr) -> bool:
    """Whether an operand is a whole number: in our statements a literal without exponent, or the sign of an effect."""
    node = node.unnest()
    if isinstance(node, exp.Neg):
        return _is_whole(node.this)
    return node.is_int if isinstance(node, exp.Literal) else node.name in _WHOLE_COLUMNS


def _factor(node: exp.Expr) -> exp.Expr:
    """An operand whose product with another one neither overflows nor underflows."""
    return node if _is_small(node) else _call(_FACTOR, node.unnest())


def _is_small(node: exp.Expr) -> bool:
    """Whether an operand is a number that somebody wrote, or a boolean."""
    node = node.unnest()
    if isinstance(node, (exp.Cast, exp.Neg)):
        return node.is_type("INT") or _is_small(node.this)
    return isinstance(node, exp.Literal)


def _call(function: str, argument: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=function, expressions=[argument])
