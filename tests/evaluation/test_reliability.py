"""Reliability tables of windows, from the sums that the ledger has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation.material import DAY, START, Fact, Prediction, World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.evaluation_report import ReliabilityTable

END: Final = START + 10 * DAY
ROWS: Final = 40


@pytest.fixture(autouse=True)
def scored(world: World) -> None:
    """Scores that promise too much, of two carriers."""
    random = np.random.default_rng(7)
    scores = random.uniform(size=ROWS).tolist()
    world.log(
        [Prediction(id=f"p-{at}", score=score, carrier="UA" if at % 2 else "B6") for at, score in enumerate(scores)]
    )
    world.label([Fact(id=f"p-{at}", label=bool(random.uniform() < score / 2)) for at, score in enumerate(scores)])


def tables(world: World, *measures: str) -> dict[str, tuple[ReliabilityTable, Mapping[str, float]]]:
    """The table of each slice, and the values beside it."""
    with Evaluator(world.evaluation(measures=measures, slices=["carrier"]), environ={}) as evaluator:
        report = evaluator.run(END)
        found = evaluator.reliability(END)
    return {
        str(each.slice.get("carrier")): (
            each,
            {one.measure: one.value for one in report.values if one.slice == each.slice},
        )
        for each in found
    }


def test_a_table_adds_up_to_the_values_beside_it(world: World) -> None:
    """Every row is in one group, and the calibration error is that of its lines."""
    found = tables(world, "expected_calibration_error", "prevalence")

    assert sorted(found) == ["B6", "None", "UA"]
    for table, values in found.values():
        rows, prevalence, score = (np.array(each) for each in (table.rows, table.prevalence, table.score))
        share = rows / rows.sum()
        assert rows.sum() == (ROWS if not table.slice else ROWS / 2)
        assert list(score) == sorted(score)
        assert (share * np.abs(score - prevalence)).sum() == pytest.approx(values["expected_calibration_error"])
        assert (share * prevalence).sum() == pytest.approx(values["prevalence"])


def test_a_table_is_plain_when_it_is_written_down(world: World) -> None:
    """Instants are texts, columns are lists."""
    table, _ = tables(world, "brier_reliability")["UA"]

    plain = table.to_dict()

    assert plain["window_start"] == "2013-04-08T00:00:00Z"
    assert plain["slice"] == {"carrier": "UA"}
    assert len(plain["rows"]) == len(plain["score"]) == len(plain["prevalence"])


def test_an_evaluation_without_the_sums_says_what_to_add(world: World) -> None:
    """Sums are kept for the measures that are declared."""
    with pytest.raises(ConfigurationError, match="Add expected_calibration_error"):
        tables(world, "accuracy")


def test_a_window_that_is_not_final_has_no_table(world: World) -> None:
    """As it has no value."""
    with Evaluator(world.evaluation(measures=["expected_calibration_error"]), environ={}) as evaluator:
        evaluator.run(START + DAY)
        assert evaluator.reliability(START + DAY) == ()
