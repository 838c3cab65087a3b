"""Our statements, written in DuckDB's dialect, for other engines: with the same whole numbers as a result.

sqlglot rewrites names and syntax. It cannot know how far an engine's arithmetic differs, which is added here:

- A number with an exponent is a double for DuckDB and an exact decimal for PostgreSQL, which computes otherwise.
- PostgreSQL has no integer of 128 bits, and turns a double into a decimal by its first 15 digits. So a whole double is
  cut into two halves that 64 bits hold, which loses nothing up to 2^124.
- PostgreSQL refuses a result that overflows or underflows, where IEEE gives infinity or 0: so it is told to.

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

_PRODUCT: Final = "pg_temp.ml_product"
_QUOTIENT: Final = "pg_temp.ml_quotient"
_POWER: Final = "pg_temp.ml_power"
_EXPONENTIAL: Final = "pg_temp.ml_exp"
_WIDE: Final = "pg_temp.ml_whole"
_WHOLE_COLUMNS: Final = frozenset({"_sign"})


def _function(name: str, takes: str, gives: str, body: str) -> str:
    arguments = ", ".join(f"{argument} double precision" for argument in takes)
    return f"CREATE OR REPLACE FUNCTION {name}({arguments}) RETURNS {gives} LANGUAGE sql IMMUTABLE AS $${body}$$"


_PRELUDES: Final = {
    "postgres": (
        _function(
            _PRODUCT,
            "ab",
            "double precision",
            "SELECT CASE WHEN abs(a) > 1 AND abs(b) > 1e308 / abs(a) THEN sign(a) * sign(b) * float8 'Infinity'"
            " WHEN abs(a) < 1 AND abs(b) < 1e-307 / nullif(abs(a), 0) THEN 0 ELSE a * b END",
        ),
        _function(
            _QUOTIENT,
            "ab",
            "double precision",
            "SELECT CASE WHEN abs(b) < 1 AND abs(a) > 1e308 * abs(b) THEN sign(a) * sign(b) * float8 'Infinity'"
            " WHEN abs(b) > 1 AND abs(a) < 1e-307 * abs(b) THEN 0 ELSE a / b END",
        ),
        _function(
            _POWER,
            "ab",
            "double precision",
            f"SELECT CASE WHEN {_PRODUCT}(b, ln(nullif(abs(a), 0))) > 709 THEN float8 'Infinity'"
            f" WHEN {_PRODUCT}(b, ln(nullif(abs(a), 0))) < -708 THEN 0 ELSE power(a, b) END",
        ),
        _function(
            _EXPONENTIAL,
            "a",
            "double precision",
            "SELECT CASE WHEN a > 709 THEN float8 'Infinity' WHEN a < -708 THEN 0 ELSE exp(a) END",
        ),
        _function(
            _WIDE,
            "a",
            "numeric",
            "SELECT CAST(trunc(a / 4611686018427387904) AS bigint) * 4611686018427387904::numeric"
            " + CAST(a - trunc(a / 4611686018427387904) * 4611686018427387904 AS bigint)",
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
    operands = node.this.unnest(), node.expression.unnest()
    return node if any(_is_whole(each) or _is_boolean(each) for each in operands) else _call(_PRODUCT, *operands)


def _quotient(node: exp.Expr) -> exp.Expr:
    return _call(_QUOTIENT, node.this.unnest(), node.expression.unnest())


def _power(node: exp.Expr) -> exp.Expr:
    return _call(_POWER, node.this, node.expression)


def _exponential(node: exp.Expr) -> exp.Expr:
    return _call(_EXPONENTIAL, node.this)


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
    if isinstance(node, exp.Neg):
        return _is_whole(node.this)
    return node.is_int if isinstance(node, exp.Literal) else node.name in _WHOLE_COLUMNS


def _is_boolean(node: exp.Expr) -> bool:
    """Whether an operand is 0 or 1: a boolean becomes a double by way of an integer."""
    return isinstance(node, exp.Cast) and node.this.is_type("INT")


def _call(function: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=function, expressions=list(arguments))
