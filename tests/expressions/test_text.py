"""Expressions as text: what is read, what is refused, and that nothing gets past the grammar."""

from __future__ import annotations

import operator
import pickle
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_ml_metrics.errors import ExpressionError
from otel_ml_metrics.expressions import Expression, Kind, clip, col, lit, maximum, minimum, parse, present, where
from otel_ml_metrics.grammar import MAXIMUM_DEPTH, MAXIMUM_TEXT
from tests.expressions.material import KINDS, TREES, shape

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKENS = [
    "score",
    "label",
    "1",
    "0.5",
    "'UA'",
    "True",
    "(",
    ")",
    "+",
    "-",
    "*",
    "/",
    "**",
    "<",
    ">=",
    "==",
    "&",
    "|",
    "~",
]
_ODD_TOKENS = [
    "and",
    "not",
    "if",
    "else",
    "lambda",
    ":",
    "[",
    "]",
    ".",
    ",",
    "where",
    "ln",
    "col",
    "__import__",
    "#",
    "\n",
    "9e999",
]


@given(tree=TREES)
def test_text_reads_back_as_the_same_tree(tree: Expression) -> None:
    """Writing and reading are inverse, whatever the nesting."""
    assert shape(parse(str(tree))) == shape(tree)


@given(name=st.text(min_size=1).filter(str.isprintable))
@example("fare usd")
@example("class")
@example("ﬁ")
@example('say "hi"')
def test_every_column_name_reads_back(name: str) -> None:
    """A name that Python would not take as one is written col('...')."""
    read = parse(str(col(name)))

    assert read.columns() == {name}


@settings(max_examples=500)
@given(text=st.one_of(st.text(), st.lists(st.sampled_from(_TOKENS + _ODD_TOKENS)).map(" ".join)))
@example("-" * MAXIMUM_TEXT)
@example("(" * 500)
@example("~" * 200 + "label")
@example("1" * MAXIMUM_TEXT)
@example("1" * (MAXIMUM_TEXT + 1))
@example("\x00")
@example("'\\ud800'")
@example("1if 1else 2")
@example("'\\d'")
@example("{**a}")
@example("(yield)")
@example("f'{score}'")
@example("__import__('os').system('true')")
@example("x" + " + x" * 1_000)
def test_a_text_is_read_or_refused(text: str) -> None:
    """No text raises anything but ExpressionError, and what is read can be written and read again."""
    try:
        read = parse(text)
    except ExpressionError:
        return
    assert parse(str(read)).same_as(read)


def test_python_and_text_build_the_same_tree() -> None:
    """What serving code writes with operators is what YAML says in text."""
    written = where(
        clip(col("score"), 0, 1) > 0.8, col("fare") * (col("label") & ~col("prediction")), -(col("fare") ** 2)
    )

    read = parse("where(clip(score, 0, 1) > 0.8, fare * (label & ~prediction), -fare ** 2)")

    assert read.same_as(written)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("score > 0.5 and label", "Write & for and"),
        ("score > 0.5 or label", "Write | for or"),
        ("not label", "Write ~ for not"),
        ("0 <= score <= 1", "(a <= b) & (b <= c)"),
        ("1 if label else 0", "where(condition, then, otherwise)"),
        ("a // b", "floor(a / b)"),
        ("a % b", "a - b * floor(a / b)"),
        ("a ^ 2", "**"),
        ("carrier in ('UA', 'AA')", '(a == "x") | (a == "y")'),
        ("label is None", "present(a)"),
        ("log(score)", "there is no function 'log'"),
        ("minimun(a, b)", "Did you mean 'minimum'"),
        ("where(label, 1)", "where takes 3 arguments and was given 2"),
        ("score.mean()", "`score.mean()` is not part of the grammar"),
        ("fare = 3", "cannot be read"),
        ("fare # USD", "holds a comment"),
        ("", "cannot be read"),
        ("1e999", "inf"),
        ("None", "is not part of the grammar"),
    ],
)
def test_a_refusal_says_what_would_have_worked(text: str, told: str) -> None:
    """The message names the problem and the way out."""
    with pytest.raises(ExpressionError) as refused:
        parse(text)

    assert told in str(refused.value)


def test_a_refusal_says_where() -> None:
    """The position counts characters, not bytes."""
    with pytest.raises(ExpressionError, match="at character 8, "):
        parse("'é' == x[0]")


def test_text_that_is_no_text_is_refused() -> None:
    """YAML reads `sum: 1` as a number; the message shows it."""
    with pytest.raises(ExpressionError, match="this is int: 1"):
        parse(1)  # type: ignore[arg-type]


def test_text_of_several_lines_is_one_expression() -> None:
    """Folded and literal YAML blocks mean the same."""
    assert parse("\n  fare *\n  label\n").same_as(parse("fare * label"))


@pytest.mark.parametrize("build", [lambda tree: tree + tree, abs, lambda tree: tree / tree])
def test_trees_are_bounded(build: Callable[[Expression], Expression]) -> None:
    """A tree built in a loop is refused before it exhausts the stack or the engine."""

    def grow(tree: Expression) -> None:
        for _ in range(MAXIMUM_DEPTH + 1):
            tree = build(tree)

    with pytest.raises(ExpressionError, match="at most"):
        grow(col("x"))


@pytest.mark.parametrize("use", [bool, lambda tree: tree and True, lambda tree: 0 <= tree <= 1, [col("b")].index])
def test_a_condition_has_no_single_truth(use: Callable[[Expression], object]) -> None:
    """`and`, chained comparisons and `if` would silently drop half of the condition, so they raise."""
    with pytest.raises(ExpressionError, match=r"Write & for and, \| for or, ~ for not"):
        use(col("a") > 1)


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        (~col("amount"), "`amount` is a number, where a boolean is needed"),
        (col("amount") & col("label"), "`amount` is a number, where a boolean is needed"),
        (parse("score > 0.8 & label"), "put comparisons into parentheses"),
        (col("carrier") + 1, "`carrier` is a string, where a number is needed"),
        (col("carrier") < "UA", "only be compared by == and !="),
        (col("carrier") == 1, "`1` is a number, where a string is needed"),
        (where(col("amount"), 1, 0), "`amount` is a number, where a boolean is needed"),
        (where(col("label"), "yes", 0), "`0` is a number, where a string is needed"),
        (col("amuont") + 1, "Did you mean 'amount'"),
    ],
)
def test_a_misfit_is_named(tree: Expression, told: str) -> None:
    """Kinds are checked at set-up, and the message shows the part that does not fit."""
    with pytest.raises(ExpressionError) as refused:
        tree.kind(KINDS)

    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("amount + label", "number"),
        ("label == prediction", "boolean"),
        ("label == 1", "boolean"),
        ("where(label, prediction, True)", "boolean"),
        ("where(label, prediction, 0.5)", "number"),
        ("where(label, carrier, 'none')", "string"),
        ("present(carrier)", "boolean"),
        ("-label", "number"),
    ],
)
def test_kinds_follow_from_the_columns(text: str, kind: Kind) -> None:
    """Booleans count as 0 and 1 where numbers are taken, and stay booleans elsewhere."""
    assert parse(text).kind(KINDS) == kind


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, b"x", 10**400, 1j, "\ud800", "\0", [1]])
def test_only_plain_values_are_literals(value: object) -> None:
    """What no row of both back ends can hold is refused where it is written."""
    with pytest.raises(ExpressionError):
        operator.add(col("x"), value)


@pytest.mark.parametrize("name", ["", "a\nb", "\ud800", 3])
def test_a_column_needs_a_printable_name(name: str) -> None:
    """Names travel through SQL, YAML and messages."""
    with pytest.raises(ExpressionError):
        col(name)


def test_expressions_live_in_sets_and_processes() -> None:
    """They hash by identity, pickle, and never compare by accident."""
    tree = parse("minimum(score, 1) * maximum(fare, 0) + present(fare)")

    assert len({tree, parse(str(tree))}) == 2
    assert pickle.loads(pickle.dumps(tree)).same_as(tree)  # noqa: S301  our own bytes


def test_reflected_operators_keep_their_order() -> None:
    """A number on the left stays on the left."""
    x = col("x")

    found = [str(tree) for tree in (1 - x, 2 / x, 2**x, 1 + x, 3 * x, True & (x > 1), False | (x > 1), 1 < x)]  # noqa: SIM300

    assert found == ["1 - x", "2 / x", "2 ** x", "1 + x", "3 * x", "True & (x > 1)", "False | (x > 1)", "x > 1"]


def test_functions_and_text_have_the_same_names() -> None:
    """What the grammar calls is what Python imports."""
    assert parse("minimum(a, maximum(b, 1))").same_as(minimum(col("a"), maximum(col("b"), lit(1))))
    assert parse("present(pow(a, 2))").same_as(present(col("a") ** 2))
