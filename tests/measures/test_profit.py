"""What decisions are worth, and would have been at the best threshold."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ml_metrics.declared_measures import measures
from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.measures.measure import Undefined
from otel_ml_metrics.measures.profit import Matrix, Profit
from tests.measures.material import FARES, totals

FACTS: Final = {"name": "mine", "unit": "USD", "description": "Text"}
CELLS: Final[dict[str, str | float]] = {"true_positive": "fare", "false_positive": -40}
ROWS: Final[list[dict[str, Any]]] = [
    {"label": True, "prediction": False, "score": 0.9, "fare": 100.0},
    {"label": False, "prediction": True, "score": 0.7, "fare": 10.0},
    {"label": True, "prediction": True, "score": 0.4, "fare": 70.0},
    {"label": False, "prediction": False, "score": 0.1, "fare": 30.0},
]


def _value(declared: dict[str, Any], rows: list[dict[str, Any]] = ROWS) -> float | Undefined:
    (measure,), _ = measures([FACTS | declared], "binary")
    return measure.value(totals([measure], rows, "binary"))


def _by_hand(rows: list[dict[str, Any]], threshold: float) -> float:
    return float(sum(row["fare"] if row["label"] else -40.0 for row in rows if row["score"] >= threshold))


def test_the_value_at_an_operating_threshold() -> None:
    """By another threshold than that of the decisions that were made."""
    assert _value({"value": CELLS}) == 30.0
    assert _value({"value": CELLS, "threshold": 0.3}) == 130.0
    assert _value({"value": CELLS, "threshold": 0.8}) == 100.0


def test_the_best_value_and_its_threshold() -> None:
    """Deciding the three highest scores positive earns most: 100 - 40 + 70."""
    edges = [0.2, 0.5, 0.8]

    assert _value({"best_value": CELLS, "bins": edges}) == 130.0
    assert _value({"best_threshold": CELLS, "bins": edges}) == 0.2


def test_costs_are_written_as_positive_numbers() -> None:
    """With direction: lower, the best is the least."""
    cost = {"false_positive": 40, "false_negative": "fare"}

    assert _value({"best_value": cost, "direction": "lower", "bins": [0.2, 0.5, 0.8]}) == 40.0


def test_where_every_decision_costs_there_is_no_threshold() -> None:
    """The best value is then that of deciding nobody, and no score is a threshold for that."""
    costly = {"true_positive": -1, "false_positive": -1}

    assert _value({"best_value": costly}) == 0.0
    assert _value({"best_threshold": costly}) == Undefined("nobody_is_best")


@pytest.mark.parametrize(("bins", "expected"), [("logit1024", 0.0), ([0.05], Undefined("everybody_is_best"))])
def test_where_every_decision_earns_everybody_is_positive(bins: Any, expected: Any) -> None:
    """0 is a threshold that every probability reaches; other scores have no lowest one."""
    earning = {"true_positive": 1, "false_positive": 1}
    rows = [row | {"score": 0.0} for row in ROWS]

    assert _value({"best_threshold": earning, "bins": bins}, rows) == expected


def test_rows_without_an_amount_are_left_out() -> None:
    """Of the value, of the curve and of the support alike."""
    (measure,), _ = measures([FACTS | {"best_value": CELLS, "bins": [0.2]}], "binary")

    added = totals([measure], [*ROWS, ROWS[0] | {"fare": np.nan}], "binary")

    assert (measure.value(added), added[measure.support]) == (130.0, 4)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"label": st.booleans(), "prediction": st.just(True), "score": st.floats(0, 1), "fare": st.floats(-9, 99)}
        ),
        min_size=1,
    )
)
def test_the_curve_is_the_value_at_each_edge(rows: list[dict[str, Any]]) -> None:
    """Every point of it is what deciding by that threshold is worth, and the best value is within its certificate."""
    profit = Profit(Matrix.of(**CELLS), "higher")
    (best,), _ = measures([FACTS | {"best_value": CELLS}], "binary")

    added = totals([best], rows, "binary")
    curve, bound = profit.curve(added), best.certificate(added)

    at = [0, 300, 512, 700, 1_024]
    assert curve.values[at] == pytest.approx([_by_hand(rows, cut) for cut in curve.thresholds[at]], abs=1e-6)
    exact = max(_by_hand(rows, cut) for cut in (*(row["score"] for row in rows), np.inf))
    assert bound is not None
    assert 0 <= exact - float(best.value(added)) + 1e-6 <= bound + 2e-6  # type: ignore[arg-type]  # there are rows


@settings(max_examples=30)
@given(fares=st.lists(FARES, max_size=20))
def test_amounts_of_every_size_are_taken_back(fares: list[float]) -> None:
    """The sums per bin are whole numbers, however large the amounts are."""
    (best,), _ = measures([FACTS | {"best_value": CELLS}], "binary")
    rows = [ROWS[0] | {"fare": fare} for fare in fares]

    assert totals([best], rows + ROWS, "binary") - totals([best], rows, "binary") == totals([best], ROWS, "binary")


@pytest.mark.parametrize(
    ("declared", "where", "told"),
    [
        ({"best_value": {"hit": 3}}, "best_value", "true_negative"),
        ({"best_value": 3}, "best_value", "a mapping"),
        ({"best_value": CELLS, "threshold": 0.3}, "threshold", "not known"),
        ({"value": CELLS, "threshold": "high"}, "threshold", "a number"),
        ({"best_value": CELLS, "bins": [1, 0]}, "bins", "rising numbers"),
        ({"value": CELLS, "bins": [0, 1]}, "bins", "does not bin scores"),
    ],
)
def test_what_does_not_fit_is_refused(declared: Any, where: str, told: str) -> None:
    """With what would have worked."""
    with pytest.raises(ConfigurationError, match=told) as refused:
        measures([FACTS | declared], "binary")

    assert refused.value.where == f"measures[0].{where}"


def test_only_yes_or_no_decisions_have_a_value() -> None:
    """The error says which task it is for."""
    with pytest.raises(ConfigurationError, match="it is for binary"):
        measures([FACTS | {"best_value": CELLS}], "regression")
