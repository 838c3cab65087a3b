"""Laws that every measure obeys, applied to the whole table and to what is made of it, by introspection."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ml_metrics.measures.adapted import at_threshold, weighted
from otel_ml_metrics.measures.bootstrap import bootstrapped
from otel_ml_metrics.measures.custom import mean_measure, ratio_measure, sum_measure
from otel_ml_metrics.measures.fairness import fairness_measures
from otel_ml_metrics.measures.measure import Measure, Undefined
from otel_ml_metrics.measures.probabilities import LEANING_VARIANCE
from otel_ml_metrics.measures.profit import best_threshold_measure, best_value_measure
from otel_ml_metrics.measures.score_bins import FINE, LOGGED, ScoreBins, bins_scores, rebinned, score_bins
from otel_ml_metrics.measures.sums import Binned, Sum
from otel_ml_metrics.measures.table import MEASURES
from tests.measures.material import BINARY_ROW, ERROR_ROW, KINDS, ROWS_OF, Row, as_columns, sql_totals, task_of, totals
from tests.measures.references import REFERENCES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CUSTOM: Final = (
    sum_measure("missed", unit="USD", expression="fare * (label & ~prediction)", description="Refunds not foreseen"),
    sum_measure("handed_out", unit="{voucher}", expression="prediction", description="Vouchers", rows="predictions"),
    mean_measure("vouchers", unit="USD", expression="where(prediction, 40, 0)", description="Vouchers per flight"),
    ratio_measure("yield", unit="1", numerator="fare * label", denominator="fare", description="Share of late fares"),
    ratio_measure("odds", unit="1", numerator="label", denominator="ln(fare)", description="Undefined for many rows"),
)
MATRIX: Final[dict[str, Any]] = {"true_positive": 60, "false_positive": "-40 + score", "false_negative": -5}
PROFITS: Final = {
    "best_value": best_value_measure("best_value", unit="USD", description="Best value", **MATRIX),
    "best_cost": best_value_measure("best_cost", unit="USD", description="Least cost", direction="lower", **MATRIX),
    "best_threshold": best_threshold_measure("best_threshold", unit="1", description="Best threshold", **MATRIX),
}
BUILT_IN: Final = {**MEASURES, **{measure.name: measure for measure in fairness_measures("airline")}}
PLAIN: Final = {measure.name: measure for measure in (*BUILT_IN.values(), *CUSTOM, *PROFITS.values())}
REBINNED: Final = {
    f"{name} over {bins.name}": rebinned(measure, bins)
    for bins in (FINE, score_bins([0.1, 0.25, 0.5, 0.9]))
    for name, measure in {**MEASURES, **PROFITS}.items()
    if bins_scores(measure) and (bins is FINE or measure.error_from)
}
WEIGHTED: Final = {f"weighted {name}": weighted(measure) for name, measure in PLAIN.items()}
AT_THRESHOLD: Final = {
    f"{name} at 0.25": at_threshold(measure, 0.25)
    for name, measure in BUILT_IN.items()
    if "prediction" in measure.columns() and "binary" in measure.tasks
}
BOOTSTRAPPED: Final = {
    f"bootstrapped {name}": bootstrapped(measure)
    for name, measure in PLAIN.items()
    if all(isinstance(state, Sum) and state.rows == "labelled" for state in measure.states)
}
ALL: Final = PLAIN | REBINNED | WEIGHTED | AT_THRESHOLD | BOOTSTRAPPED
OF_TASK: Final = {
    task: [measure for measure in ALL.values() if task_of(measure) == task] for task in ("binary", "regression")
}
COMPLETE: Final[dict[str, st.SearchStrategy[Row]]] = {"binary": BINARY_ROW, "regression": ERROR_ROW}

EVERY: Final = pytest.mark.parametrize("measure", ALL.values(), ids=ALL)
EVERY_BUILT_IN: Final = pytest.mark.parametrize("measure", BUILT_IN.values(), ids=BUILT_IN)
EVERY_TASK: Final = pytest.mark.parametrize("task", OF_TASK)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """One database for all examples."""
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


@EVERY_TASK
@settings(max_examples=25)
@given(data=st.data())
def test_merged_batches_equal_the_whole(task: str, data: st.DataObject) -> None:
    """However rows are cut into batches and ordered, the totals are the same integers."""
    rows = data.draw(ROWS_OF[task])
    cut = data.draw(st.integers(0, len(rows)))
    shuffled = data.draw(st.permutations(rows))

    merged = totals(OF_TASK[task], shuffled[cut:], task) + totals(OF_TASK[task], shuffled[:cut], task)

    assert merged == totals(OF_TASK[task], rows, task)


@EVERY_TASK
@settings(max_examples=25)
@given(data=st.data())
def test_rows_that_are_taken_back_leave_nothing(task: str, data: st.DataObject) -> None:
    """A revision subtracts what was added, to the last unit."""
    kept, revised = data.draw(ROWS_OF[task]), data.draw(ROWS_OF[task])

    both = totals(OF_TASK[task], kept + revised, task)

    assert both - totals(OF_TASK[task], revised, task) == totals(OF_TASK[task], kept, task)


@EVERY_TASK
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_the_engine_adds_up_the_same_integers(
    engine: duckdb.DuckDBPyConnection, task: str, data: st.DataObject
) -> None:
    """SQL and numpy agree: exactly, or within one unit per row where a logarithm is involved."""
    rows = [row for row in data.draw(ROWS_OF[task]) if row["label"] is not None]  # SQL is asked for labelled ones

    ours, theirs = totals(OF_TASK[task], rows, task), sql_totals(engine, OF_TASK[task], rows, task)

    for key, whole in ours.whole.items():
        unit = sum(_units(row) for row in rows) if "ln(" in key else 0
        assert np.max(np.abs(np.asarray(whole - theirs.whole[key], dtype=object)), initial=0) <= unit, key


def _units(row: Row) -> float:
    """How far off a row may be that takes a logarithm: a unit, times what the logarithm is multiplied by."""
    weight = float(np.nan_to_num(row["weight"]))
    return 1 + max(0.0, weight) ** 2


@EVERY_TASK
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_value_is_in_range_and_in_its_interval(task: str, data: st.DataObject) -> None:
    """Defined values are finite and within the declared range, and an interval contains its value."""
    added = totals(OF_TASK[task], data.draw(ROWS_OF[task]), task)

    for measure in OF_TASK[task]:
        value, interval = measure.value(added), measure.interval(added)

        if isinstance(value, Undefined):
            assert interval is None, measure
            assert measure.certificate(added) is None, measure
        else:
            assert math.isfinite(value), measure
            assert measure.lowest <= value <= measure.highest, measure
            if interval is not None:
                assert measure.lowest <= interval[0] <= value <= interval[1] <= measure.highest, measure


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
    for state in measure.states:
        state.check(KINDS[task_of(measure)])


def test_every_measure_has_a_reference() -> None:
    """A new measure cannot forget to say whose number it gives."""
    assert REFERENCES.keys() == BUILT_IN.keys()


@EVERY_TASK
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_value_is_that_of_its_reference(task: str, data: st.DataObject) -> None:
    """Exactly for counts, within fixed point for other sums, within the certificate where scores are binned."""
    rows = data.draw(st.lists(COMPLETE[task], max_size=40))
    built_in = [measure for measure in BUILT_IN.values() if task_of(measure) == task]
    added = totals(built_in, rows, task)

    for measure in built_in:
        expected, found = REFERENCES[measure.name](_plain(rows, task)), measure.value(added)

        if expected is None:
            assert isinstance(found, Undefined) or measure.name == "spiegelhalter_z", measure
        elif not isinstance(found, Undefined) or not _is_below_fixed_point(measure, rows):
            assert isinstance(found, float | int), (measure, found)
            certificate = measure.certificate(added) or 0.0
            assert abs(found - expected) <= certificate + _rounding(measure, rows, expected), (measure, found, expected)


def _plain(rows: list[Row], task: str) -> dict[str, Any]:
    columns = as_columns(rows, task)
    return {name: column.astype(bool) if KINDS[task][name] == "boolean" else column for name, column in columns.items()}


def _rounding(measure: Measure, rows: list[Row], expected: float) -> float:
    """What fixed point and floats may cost: half a unit per row, carried through the formula."""
    scale = max(1.0, abs(expected))
    if measure.name in {"r2", "explained_variance"}:
        labels = [row["label"] for row in rows]
        largest = max(abs(size) for row in rows for size in (row["label"], row["label"] - row["prediction"]))
        per_row = 2.0**-24 + largest * 2.0**-29
        return float(1e-9 * scale + 4 * scale * per_row / np.var(labels))
    if measure.name == "spiegelhalter_z":
        return 1e-3 * scale
    if measure.name == "calibration_slope":
        return 1e-3 * scale
    if measure.name in {"root_mean_squared_error", "rmsle"}:
        return 2.0**-12 + 1e-9 * scale
    return 1e-6 * scale


def _is_below_fixed_point(measure: Measure, rows: list[Row]) -> bool:
    """Whether the labels differ by less than fixed point can tell."""
    return measure.name in {"r2", "explained_variance"} and np.ptp([row["label"] for row in rows]) < 1


@EVERY_TASK
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_weight_of_two_is_a_row_twice(task: str, data: st.DataObject) -> None:
    """Weights count rows: of whole weights, the value is that of rows that are repeated."""
    rows = data.draw(st.lists(COMPLETE[task], max_size=20))
    repeats = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    with_weights = [row | {"weight": float(times)} for row, times in zip(rows, repeats, strict=True)]
    repeated = [row for row, times in zip(rows, repeats, strict=True) for _ in range(times)]
    plain = {name: measure for name, measure in BUILT_IN.items() if task_of(measure) == task}
    heavy = {name: weighted(measure) for name, measure in plain.items()}

    added, added_twice = totals(heavy.values(), with_weights, task), totals(plain.values(), repeated, task)

    for name, measure in plain.items():
        if name == "spiegelhalter_z" and added_twice[LEANING_VARIANCE] < 1e-4:
            continue  # of so small a variance, fixed point leaves few digits
        found, expected = heavy[name].value(added), measure.value(added_twice)
        if isinstance(expected, Undefined):
            assert isinstance(found, Undefined), measure
        else:
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-6), measure


@EVERY_BUILT_IN
def test_weights_do_not_sharpen(measure: Measure) -> None:
    """Rows that all weigh 2 are as uncertain as rows that all weigh 1: the number of rows is what it is."""
    task = task_of(measure)
    rows = _ordinary(task)
    heavy = weighted(measure)

    plain = measure.interval(totals([measure], rows, task))
    found = heavy.interval(totals([heavy], [row | {"weight": 2.0} for row in rows], task))

    assert found == (None if plain is None else pytest.approx(plain, rel=1e-6))


def _ordinary(task: str, size: int = 200) -> list[Row]:
    chance = np.random.default_rng(11)
    labels = chance.random(size) < 0.3
    scores = 1 / (1 + np.exp(-(chance.normal(size=size) - 1 + labels)))
    if task == "binary":
        return [
            {"label": bool(y), "prediction": bool(p > 0.4), "score": float(p)}
            for y, p in zip(labels, scores, strict=True)
        ]
    numbers = chance.normal(20, 5, size)
    return [
        {"label": float(y), "prediction": float(y + 3 * e), "lower": float(y - 1 + e), "upper": float(y + 1 + e)}
        for y, e in zip(numbers, chance.normal(size=size), strict=True)
    ]


def test_every_binned_measure_has_a_certificate() -> None:
    """Whoever ranks rows by bins says what that costs; what is defined on groups of bins is exact there."""
    on_groups = {"calibration_slope", "maximum_calibration_error", *(n for n in MEASURES if n.startswith("brier_"))} | {
        name for name in MEASURES if name.startswith("expected_calibration_error")
    }
    binned = {name for name, each in MEASURES.items() if any(isinstance(state, Binned) for state in each.states)}

    assert {name for name, each in MEASURES.items() if each.error_from} == binned - on_groups


@pytest.mark.parametrize(
    "measure",
    [each for each in (*MEASURES.values(), *PROFITS.values()) if each.error_from and "binary" in each.tasks],
    ids=lambda measure: measure.name,
)
@pytest.mark.parametrize("bins", [LOGGED, FINE, score_bins([0.25, 0.5, 0.75])], ids=lambda bins: bins.name)
@settings(max_examples=15, deadline=None)
@given(kind=st.sampled_from(["mass at 0 and 1", "ties", "ten rows", "constant", "tiny", "ordinary", "rare"]),
       seed=st.integers(0, 1_000))  # fmt: skip
def test_certificates_hold_for_nasty_scores(measure: Measure, bins: ScoreBins, kind: str, seed: int) -> None:
    """Measured error <= certificate, over many draws of scores that binning could hurt, whatever the bins."""
    binned = rebinned(measure, bins)
    rows = _nasty(kind, seed)

    added = totals([binned], rows, "binary")

    found, bound = binned.value(added), binned.certificate(added)
    expected = (REFERENCES | PROFIT_REFERENCES)[measure.name](_plain(rows, "binary"))
    if expected is not None:
        assert bound is not None
        assert abs(float(found) - expected) <= bound + 1e-6  # type: ignore[arg-type]  # defined, as the reference is


def _best_value(columns: dict[str, Any], best: Callable[..., Any]) -> float | None:
    """The worth of deciding by every score there is, and of deciding nobody."""
    label, score = columns["label"], columns["score"]
    worth = [
        np.where(score >= cut, np.where(label, 60, -40 + score), np.where(label, -5, 0)).sum()
        for cut in (*score, np.inf)
    ]
    return float(best(worth)) if len(label) else None


PROFIT_REFERENCES: Final[dict[str, Callable[[dict[str, Any]], float | None]]] = {
    "best_value": lambda columns: _best_value(columns, max),
    "best_cost": lambda columns: _best_value(columns, min),
}


@pytest.mark.parametrize(
    "name", [name for name, each in MEASURES.items() if each.error_from and "regression" in each.tasks]
)
@settings(max_examples=30, deadline=None)
@given(errors=st.lists(st.one_of(st.floats(-1e9, 1e9), st.sampled_from([0.0, 1.0, -1.0, 1e-9, 1e11])), min_size=1))
def test_certificates_hold_for_nasty_errors(name: str, errors: list[float]) -> None:
    """Quantiles of errors of every size, ties and zeros among them, are within the bound of their bin."""
    measure = MEASURES[name]
    rows = [{"label": 0.0, "prediction": error} for error in errors]

    added = totals([measure], rows, "regression")

    found, bound = measure.value(added), measure.certificate(added)
    expected = REFERENCES[name](_plain(rows, "regression"))
    assert expected is not None
    assert bound is not None
    assert abs(float(found) - expected) <= bound * (1 + 1e-9)  # type: ignore[arg-type]  # there are rows


def _nasty(kind: str, seed: int) -> list[Row]:
    chance = np.random.default_rng(seed)
    size = 10 if kind == "ten rows" else 300
    scores: dict[str, Callable[[], Any]] = {
        "mass at 0 and 1": lambda: np.where(
            chance.random(size) < 0.4, chance.integers(0, 2, size), chance.random(size)
        ),
        "ties": lambda: chance.integers(0, 5, size) / 4,
        "ten rows": lambda: chance.random(size),
        "constant": lambda: np.full(size, 0.37),
        "tiny": lambda: chance.random(size) * 1e-9,
        "ordinary": lambda: chance.beta(2, 5, size),
        "rare": lambda: 0.5 + chance.random(size) * 1e-3,
    }
    score = scores[kind]()
    label = chance.random(size) < (0.03 if kind == "rare" else np.clip(score + 0.2, 0, 1) * 0.7)
    return [{"label": bool(y), "prediction": False, "score": float(p)} for y, p in zip(label, score, strict=True)]


def test_names_are_api() -> None:
    """The built-in measures, their units and directions: changing one breaks dashboards."""
    assert {name: (measure.unit, measure.direction) for name, measure in BUILT_IN.items()} == NAMES


NAMES: Final = {
    **{
        f"{criterion}_{how}": ("1", direction)
        for criterion in ("demographic_parity", "equal_opportunity", "equalized_odds", "predictive_parity")
        for how, direction in (("difference", "lower"), ("ratio", "higher"))
    },
    "absolute_error_quantile": ("{label_unit}", "lower"),
    "accuracy": ("1", "higher"),
    "average_precision": ("{score}", "higher"),
    "balanced_accuracy": ("1", "higher"),
    "brier_reliability": ("{score}", "lower"),
    "brier_resolution": ("{score}", "higher"),
    "brier_score": ("{score}", "lower"),
    "brier_uncertainty": ("{score}", "none"),
    "calibration_in_the_large": ("{score}", "none"),
    "calibration_slope": ("{score}", "none"),
    "cohen_kappa": ("{score}", "higher"),
    "error_quantile": ("{label_unit}", "none"),
    "expected_calibration_error": ("{score}", "lower"),
    "expected_calibration_error_debiased": ("{score}", "lower"),
    "explained_variance": ("{score}", "higher"),
    "f1": ("1", "higher"),
    "fbeta": ("1", "higher"),
    "gini": ("{score}", "higher"),
    "interval_coverage": ("1", "none"),
    "ks": ("{score}", "higher"),
    "lift": ("{score}", "higher"),
    "log_loss": ("{nat}", "lower"),
    "matthews_corrcoef": ("{score}", "higher"),
    "maximum_calibration_error": ("{score}", "lower"),
    "mean_absolute_error": ("{label_unit}", "lower"),
    "mean_absolute_percentage_error": ("1", "lower"),
    "mean_error": ("{label_unit}", "none"),
    "mean_squared_error": ("{squared_label_unit}", "lower"),
    "pinball_loss": ("{label_unit}", "lower"),
    "precision": ("1", "higher"),
    "precision_at_top": ("1", "higher"),
    "predicted_prevalence": ("1", "none"),
    "prevalence": ("1", "none"),
    "r2": ("{score}", "higher"),
    "recall": ("1", "higher"),
    "rmsle": ("{nat}", "lower"),
    "roc_auc": ("{score}", "higher"),
    "root_mean_squared_error": ("{label_unit}", "lower"),
    "smape": ("1", "lower"),
    "specificity": ("1", "higher"),
    "spiegelhalter_z": ("{score}", "none"),
}
