"""Laws that every measure obeys, applied to the whole table and to custom measures by introspection."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ml_metrics.measures.custom import mean_measure, ratio_measure, sum_measure
from otel_ml_metrics.measures.measure import Measure, Undefined
from otel_ml_metrics.measures.sums import Binned
from otel_ml_metrics.measures.table import MEASURES
from tests.measures.material import KINDS, ROWS_OF, sql_totals, task_of, totals

if TYPE_CHECKING:
    from collections.abc import Iterator

CUSTOM: Final = (
    sum_measure("missed", unit="USD", expression="fare * (label & ~prediction)", description="Refunds not foreseen"),
    sum_measure("handed_out", unit="{voucher}", expression="prediction", description="Vouchers", rows="predictions"),
    mean_measure("vouchers", unit="USD", expression="where(prediction, 40, 0)", description="Vouchers per flight"),
    ratio_measure("yield", unit="1", numerator="fare * label", denominator="fare", description="Share of late fares"),
    ratio_measure("odds", unit="1", numerator="label", denominator="ln(fare)", description="Undefined for many rows"),
)
BY_NAME: Final = {measure.name: measure for measure in (*MEASURES.values(), *CUSTOM)}


EVERY: Final = pytest.mark.parametrize("measure", BY_NAME.values(), ids=BY_NAME)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """One database for all examples."""
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


@EVERY
@settings(max_examples=12)
@given(data=st.data())
def test_merged_batches_equal_the_whole(measure: Measure, data: st.DataObject) -> None:
    """However rows are cut into batches and ordered, the totals are the same integers."""
    task = task_of(measure)
    rows = data.draw(ROWS_OF[task])
    cut = data.draw(st.integers(0, len(rows)))
    shuffled = data.draw(st.permutations(rows))

    merged = totals([measure], shuffled[cut:], task) + totals([measure], shuffled[:cut], task)

    assert merged == totals([measure], rows, task)


@EVERY
@settings(max_examples=12)
@given(data=st.data())
def test_rows_that_are_taken_back_leave_nothing(measure: Measure, data: st.DataObject) -> None:
    """A revision subtracts what was added, to the last unit."""
    task = task_of(measure)
    kept, revised = data.draw(ROWS_OF[task]), data.draw(ROWS_OF[task])

    both = totals([measure], kept + revised, task)

    assert both - totals([measure], revised, task) == totals([measure], kept, task)


@EVERY
@settings(max_examples=10)
@given(data=st.data())
def test_the_engine_adds_up_the_same_integers(
    engine: duckdb.DuckDBPyConnection, measure: Measure, data: st.DataObject
) -> None:
    """SQL and numpy agree: exactly, or within one unit per row where a logarithm is involved."""
    task = task_of(measure)
    rows = data.draw(ROWS_OF[task])
    if any(state.rows == "predictions" for state in measure.states if not isinstance(state, Binned)):
        rows = [row for row in rows if row["label"] is not None]  # the engine was only asked for labelled ones

    ours, theirs = totals([measure], rows, task), sql_totals(engine, measure, rows, task)

    if any("ln(" in state.key for state in measure.states):
        unit = len(rows) * 2.0**-30
        assert all(
            abs(ours[state] - theirs[state]) <= unit for state in measure.states if not isinstance(state, Binned)
        )
    else:
        assert ours == theirs


@EVERY
@settings(max_examples=20)
@given(data=st.data())
def test_a_value_is_in_range_and_in_its_interval(measure: Measure, data: st.DataObject) -> None:
    """Defined values are finite and within the declared range, and an interval contains its value."""
    task = task_of(measure)
    added = totals([measure], data.draw(ROWS_OF[task]), task)

    value, interval = measure.value(added), measure.interval(added)

    if isinstance(value, Undefined):
        assert interval is None
        assert measure.certificate(added) is None
    else:
        assert math.isfinite(value)
        assert measure.lowest <= value <= measure.highest
        if interval is not None:
            assert measure.lowest <= interval[0] <= value <= interval[1] <= measure.highest


@EVERY
def test_without_rows_there_is_no_value(measure: Measure) -> None:
    """No rows is neither 0 nor NaN."""
    task = task_of(measure)

    assert measure.value(totals([measure], [], task)) == Undefined("no_rows")


@EVERY
def test_a_measure_says_what_it_is(measure: Measure) -> None:
    """The catalogue and the backends get something to show, and the sums fit the columns of the task."""
    assert all((measure.unit, measure.description, measure.formula, measure.source, measure.undefined, measure.tasks))
    assert measure.columns() <= KINDS[task_of(measure)].keys()


def test_names_are_api() -> None:
    """The built-in measures, their units and directions: changing one breaks dashboards."""
    assert {name: (measure.unit, measure.direction) for name, measure in MEASURES.items()} == {
        "accuracy": ("1", "higher"),
        "balanced_accuracy": ("1", "higher"),
        "brier_score": ("{score}", "lower"),
        "f1": ("1", "higher"),
        "log_loss": ("{nat}", "lower"),
        "mean_absolute_error": ("{label_unit}", "lower"),
        "mean_error": ("{label_unit}", "none"),
        "mean_squared_error": ("{squared_label_unit}", "lower"),
        "precision": ("1", "higher"),
        "recall": ("1", "higher"),
        "roc_auc": ("{score}", "higher"),
        "root_mean_squared_error": ("{label_unit}", "lower"),
        "specificity": ("1", "higher"),
    }
