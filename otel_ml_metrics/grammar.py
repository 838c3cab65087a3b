"""Reads the text of a row expression: Python's syntax, a short allow-list of it, and nothing is ever executed.

The reader knows no tree of its own. It calls a builder for every column, literal and operation, innermost first.
"""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar

from otel_ml_metrics.errors import ExpressionError, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAXIMUM_TEXT: Final = 4_096
MAXIMUM_DEPTH: Final = 64

Node = TypeVar("Node")

_SYMBOLS: Final[dict[type[ast.AST], str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.USub: "negative",
    ast.Invert: "~",
}
_INSTEAD: Final[dict[type[ast.AST], str]] = {
    ast.And: "Write & for and, with parentheses around comparisons: (a > 0) & (b > 0).",
    ast.Or: "Write | for or, with parentheses around comparisons: (a > 0) | (b > 0).",
    ast.Not: "Write ~ for not: ~(a > 0).",
    ast.UAdd: "Leave the sign out.",
    ast.IfExp: "Write where(condition, then, otherwise).",
    ast.FloorDiv: "Write floor(a / b).",
    ast.Mod: "Write a - b * floor(a / b).",
    ast.BitXor: "Write ** for powers, or != between booleans.",
    ast.In: 'Write (a == "x") | (a == "y").',
    ast.NotIn: 'Write (a != "x") & (a != "y").',
    ast.Is: "Write ==, or present(a).",
    ast.IsNot: "Write !=, or present(a).",
}
_ALLOWED: Final = (
    "Allowed are column names, numbers, True, False, strings in quotes, parentheses, + - * / **, < <= > >= == !=, & | ~"
)


@dataclass(frozen=True)
class Builder(Generic[Node]):
    """How a reader makes nodes.

    Args:
        column: From a column name.
        literal: From a number, a boolean or a string.
        operation: From the operation's symbol and its arguments.
        functions: Functions that a text may call, with the number of their arguments.
    """

    column: Callable[[str], Node]
    literal: Callable[[float | bool | str], Node]
    operation: Callable[..., Node]
    functions: Mapping[str, tuple[Callable[..., Node], int]]


def read(text: object, builder: Builder[Node]) -> Node:
    """Build the tree that a text describes.

    Raises:
        ExpressionError: The text is too long or too deep, or uses something outside the grammar; says where.
    """
    if not isinstance(text, str):
        message = f"An expression is read from text, but this is {type(text).__name__}: {text!r:.80}. Put it in quotes."
        raise ExpressionError(message)
    if len(text) > MAXIMUM_TEXT:
        message = f"The expression has {len(text):,} characters; at most {MAXIMUM_TEXT:,} are read."
        raise ExpressionError(message)
    line = text.replace("\r", " ").replace("\n", " ").strip()
    return _Reader(line, builder).node(_syntax(line, builder.functions), 1)


def _allowed(functions: Mapping[str, object]) -> str:
    return f"{_ALLOWED}, and the functions {', '.join(sorted(functions))}."


def _syntax(line: str, functions: Mapping[str, object]) -> ast.expr:
    try:
        with warnings.catch_warnings():  # Python warns about text such as `1if`; here that is refused anyway
            warnings.simplefilter("ignore")
            body = ast.parse(line, mode="eval").body
        if "#" in line and any(token.type == tokenize.COMMENT for token in _tokens(line)):
            message = f"`{line}` holds a comment, and what follows the # would be lost. Put it on a line of its own."
            raise ExpressionError(message)
    except SyntaxError as error:
        place = f" near character {error.offset}" if error.offset and line else ""
        message = f"`{line}` cannot be read{place}: {error.msg}. {_allowed(functions)}"
        raise ExpressionError(message) from None
    except (ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        message = f"`{line:.80}` cannot be read: {str(error) or 'it is nested too deeply'}. {_allowed(functions)}"
        raise ExpressionError(message) from None
    return body


def _tokens(line: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(line).readline))


class _Reader(Generic[Node]):
    """Walks the syntax tree of one text."""

    def __init__(self, line: str, builder: Builder[Node]) -> None:
        self._line = line
        self._builder = builder

    def node(self, syntax: ast.expr, depth: int) -> Node:
        if depth > MAXIMUM_DEPTH:
            self._refuse(syntax, f"it is nested more than {MAXIMUM_DEPTH} levels deep", "Split it into two fields.")
        match syntax:
            case ast.Name(id=name):
                return self._builder.column(name)
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return self._builder.literal(value)
            case ast.UnaryOp(op=operator, operand=operand) if type(operator) in _SYMBOLS:
                return self._operation(operator, operand, depth=depth)
            case (
                ast.BinOp(left=left, op=operator, right=right)
                | ast.Compare(left=left, ops=[operator], comparators=[right])
            ) if type(operator) in _SYMBOLS:
                return self._operation(operator, left, right, depth=depth)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(syntax, name, arguments, depth)
        return self._not_allowed(syntax)

    def _operation(self, operator: ast.AST, *arguments: ast.expr, depth: int) -> Node:
        return self._builder.operation(_SYMBOLS[type(operator)], *(self.node(each, depth + 1) for each in arguments))

    def _call(self, syntax: ast.expr, name: str, arguments: list[ast.expr], depth: int) -> Node:
        match name, arguments:
            case "col", [ast.Constant(value=str() as column)]:
                return self._builder.column(column)
        if name not in self._builder.functions:
            self._refuse(syntax, f"there is no function {name!r}", suggest(name, self._builder.functions))
        function, arity = self._builder.functions[name]
        if len(arguments) != arity:
            self._refuse(syntax, f"{name} takes {arity} arguments and was given {len(arguments)}", "")
        return function(*(self.node(argument, depth + 1) for argument in arguments))

    def _not_allowed(self, syntax: ast.expr) -> NoReturn:
        if isinstance(syntax, ast.Compare) and len(syntax.ops) > 1:
            chained = "Write (a <= b) & (b <= c); comparisons next to & or | need parentheses."
            self._refuse(syntax, "comparisons cannot be chained", chained)
        kinds = [type(syntax), *(type(part) for part in ast.iter_child_nodes(syntax))]
        advice = next((_INSTEAD[kind] for kind in kinds if kind in _INSTEAD), _allowed(self._builder.functions))
        source = ast.get_source_segment(self._line, syntax) or self._line
        self._refuse(syntax, f"`{source}` is not part of the grammar", advice)

    def _refuse(self, syntax: ast.expr, problem: str, advice: str) -> NoReturn:
        before = self._line.encode()[: syntax.col_offset].decode(errors="replace")
        message = f"`{self._line}` cannot be used: at character {len(before) + 1}, {problem}. {advice}".rstrip()
        raise ExpressionError(message)
