"""Forecasts of several quantiles are judged as scikit-learn does, in numpy, in SQL and through the evaluator."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from sklearn import metrics

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.declared_measures import measures
from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.measures.adapted import weighted
from otel_ml_metrics.measures.measure import Measure, Undefined, totals_of
from otel_ml_metrics.measures.quantile_forecasts import Forecasts
from tests.evaluation.material import DAY, HOUR, INSTANT, START

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otel_ml_metrics.expressions import Kind

LEVELS: Final = (0.1, 0.5, 0.9)
CLASSES: Final = tuple(map(repr, LEVELS))
KINDS: Final[dict[str, Kind]] = {
    "label": "number", "score[0]": "number", "score[1]": "number", "score[2]": "number", "weight": "number",
}  # fmt: skip
NUMBERS: Final = st.one_of(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), st.integers(-2, 2).map(float))
ROW: Final = st.fixed_dictionaries(dict.fromkeys(KINDS, NUMBERS) | {"weight": st.integers(0, 3)})
GAPS: Final = st.fixed_dictionaries(
    dict.fromkeys(KINDS, st.one_of(NUMBERS, st.sampled_from([np.nan, np.inf, 1e15, 1e300])))
)
DECLARED: Final[list[Any]] = [
    "pinball_loss",
    "interval_coverage",
    "interval_width",
    "quantile_crossing_rate",
    {"measure": "pinball_loss", "level": 0.9},
    {"measure": "quantile_coverage", "level": 0.5},
    {"measure": "interval_coverage", "lower": 0.1, "upper": 0.5},
    {"measure": "interval_width", "lower": 0.5, "upper": 0.9},
]
MEASURES: Final = {measure.name: measure for measure in measures(DECLARED, "quantile", classes=CLASSES)[0]}
EVERY: Final = [*MEASURES.values(), *map(weighted, MEASURES.values())]


def _pinball(y: Any, q: Any, level: float) -> float:
    return float(metrics.mean_pinball_loss(y, q, alpha=level))


REFERENCES: Final[dict[str, Callable[[Any, Any], float]]] = {
    "pinball_loss": lambda y, q: float(np.mean([_pinball(y, q[:, at], level) for at, level in enumerate(LEVELS)])),
    "interval_coverage": lambda y, q: float(((q[:, 0] <= y) & (y <= q[:, 2])).mean()),
    "interval_width": lambda _, q: float((q[:, 2] - q[:, 0]).mean()),
    "quantile_crossing_rate": lambda _, q: float((np.diff(q, axis=1) < 0).any(axis=1).mean()),
    "pinball_loss_0.9": lambda y, q: _pinball(y, q[:, 2], 0.9),
    "quantile_coverage_0.5": lambda y, q: float((y <= q[:, 1]).mean()),
    "interval_coverage_0.1_0.5": lambda y, q: float(((q[:, 0] <= y) & (y <= q[:, 1])).mean()),
    "interval_width_0.5_0.9": lambda _, q: float((q[:, 2] - q[:, 1]).mean()),
}


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: np.array([row[name] for row in rows], dtype=float) for name in KINDS}


def test_every_measure_has_a_reference() -> None:
    """A new one cannot forget it."""
    every = Forecasts(LEVELS)

    assert {measure.name for measure in every.measures} | set(every.factories) <= {
        name.partition("_0")[0] for name in REFERENCES
    }
    assert MEASURES.keys() == REFERENCES.keys()


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, max_size=30))
def test_values_are_those_of_scikit_learn(rows: list[dict[str, Any]]) -> None:
    """Of complete rows, crossing quantiles and ties among them; an interval contains its value."""
    columns = _columns(rows)
    totals = totals_of(MEASURES.values(), columns, KINDS)
    quantiles = np.stack([columns[f"score[{at}]"] for at in range(3)], axis=1)

    for name, measure in MEASURES.items():
        found, interval = measure.value(totals), measure.interval(totals)
        if not rows:
            assert found == Undefined("no_rows")
        else:
            assert found == pytest.approx(REFERENCES[name](columns["label"], quantiles), rel=1e-6, abs=1e-6), name
            assert interval is None or interval[0] <= found <= interval[1]  # type: ignore[operator]  # there are rows


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(ROW, max_size=15), cut=st.integers(0, 15))
def test_rows_add_up_and_weigh(rows: list[dict[str, Any]], cut: int) -> None:
    """Merged batches equal the whole, what is taken back leaves nothing, and a weight of 2 is a row twice."""
    whole = totals_of(EVERY, _columns(rows), KINDS)
    first, second = (totals_of(EVERY, _columns(part), KINDS) for part in (rows[:cut], rows[cut:]))
    repeated = [row for row in rows for _ in range(row["weight"])]
    twice = totals_of(MEASURES.values(), _columns(repeated), KINDS)

    assert first + second == whole
    assert whole - second == first
    for measure in MEASURES.values():
        found, expected = weighted(measure).value(whole), measure.value(twice)
        same = isinstance(found, Undefined) if isinstance(expected, Undefined) else found == pytest.approx(expected)
        assert same, measure


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(GAPS, max_size=12))
def test_the_engine_adds_up_the_same_integers(rows: list[dict[str, Any]]) -> None:
    """Rows that miss a quantile take no part in what needs it, in SQL as in numpy."""
    rows = [row for row in rows if np.isfinite(row["label"])]
    columns = _columns(rows)
    ours = totals_of(EVERY, columns, KINDS)
    with duckdb.connect(config={"threads": 1}) as engine:
        engine.register("joined", pa.table({name: pa.array(each, pa.float64()) for name, each in columns.items()}))
        for state in {state for measure in EVERY for state in measure.states}:
            query = f"SELECT coalesce(sum({state.to_sql(KINDS)}), 0) FROM joined"  # type: ignore[union-attr]  # plain sums
            assert engine.execute(query).fetchone() == (ours.whole[state.key],), state.key


def test_from_the_monitor_through_the_evaluator(tmp_path: Path) -> None:
    """A model logs its quantiles as the score, labels come later, and every measure is that of the rows."""
    chance = np.random.default_rng(2)
    truth = chance.normal(20, 5, 120)
    quantiles = np.sort(truth[:, None] + chance.normal(0, 3, (120, 3)), axis=1)
    instants = [START + timedelta(minutes=at) for at in range(120)]
    with ModelMonitor("demand", version="1", task="quantile", log=tmp_path / "log") as monitor:
        ids = list(monitor.record_batch(score=list(quantiles), prediction=quantiles[:, 1], predicted_at=instants))
    received = pa.array([START + 5 * HOUR] * 120, INSTANT)
    parquet.write_table(
        pa.table({"prediction_id": ids, "label": truth.tolist(), "received_at": received}), tmp_path / "labels.parquet"
    )
    evaluation = Evaluation(
        model="demand", task="quantile", quantiles=LEVELS, predictions=tmp_path / "log",
        labels={"path": str(tmp_path / "labels.parquet")}, ledger=f"sqlite:///{tmp_path}/ledger.db",
        attribution_window="1d", measures=DECLARED,
    )  # fmt: skip

    with Evaluator(evaluation, environ={}) as evaluator:
        report = evaluator.run(as_of=START + 3 * DAY)

    found = {each.measure: each for each in report.values}
    for name, reference in REFERENCES.items():
        assert found[name].value == pytest.approx(reference(truth, quantiles), abs=1e-6), name
        assert found[name].support == 120


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("mean_absolute_error", "no measure of a quantile task"),
        ({"measure": "pinball_loss", "level": 0.8}, r"none of the quantiles: 0\.1, 0\.5, 0\.9"),
        ({"measure": "interval_coverage", "lower": "low"}, "expected a number"),
        ({"measure": "pinball_loss", "alpha": 0.5}, "does not take 'alpha'"),
    ],
)
def test_what_does_not_fit_is_refused(declared: Any, told: str) -> None:
    """With what would have worked."""
    with pytest.raises(ConfigurationError, match=told):
        measures([declared], "quantile", classes=CLASSES)


@pytest.mark.parametrize(
    ("task", "levels", "told"),
    [
        ("quantile", None, "the list of the predicted levels"),
        ("quantile", [0.5], "2 to 30 rising numbers"),
        ("quantile", [0.9, 0.1], "2 to 30 rising numbers"),
        ("quantile", [0, 0.5], "2 to 30 rising numbers"),
        ("quantile", [0.1, "0.9"], "a number"),
        ("regression", [0.1, 0.9], "a regression task predicts no quantiles"),
    ],
)
def test_levels_are_declared(task: str, levels: Any, told: str) -> None:
    """A quantile task has them, no other does."""
    with pytest.raises(ConfigurationError, match=told):
        Evaluation(
            model="demand", task=task, quantiles=levels, predictions="log", labels={"path": "labels"},
            ledger="sqlite:///ledger.db", attribution_window="1d", measures=["pinball_loss"],
        )  # fmt: skip


def test_many_levels_fit() -> None:
    """Thirty levels make expressions that the engine takes."""
    every: tuple[Measure, ...] = Forecasts([at / 31 for at in range(1, 31)]).measures

    assert all(state.columns() for measure in every for state in measure.states)
