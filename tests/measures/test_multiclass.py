"""Measures of several classes are those of scikit-learn, in numpy, in SQL and through the evaluator."""

from __future__ import annotations

import math
import warnings
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

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.declared_measures import measures
from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.measures.adapted import weighted
from otel_ml_metrics.measures.measure import Measure, Undefined, states_of, totals_of
from otel_ml_metrics.measures.multiclass import multiclass_measures, of_class, score_column
from otel_ml_metrics.measures.sums import Binned
from otel_ml_metrics.presence import present_sql
from tests.evaluation.material import DAY, HOUR, INSTANT, START

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otel_ml_metrics.expressions import Kind

CLASSES: Final = ("cat", "dog", "it's an owl")
KINDS: Final[dict[str, Kind]] = {
    "label": "string", "prediction": "string", "weight": "number", "score[0]": "number", "score[1]": "number",
    "score[2]": "number",
}  # fmt: skip
ROW: Final = st.fixed_dictionaries(
    {
        "label": st.sampled_from(CLASSES),
        "prediction": st.sampled_from(CLASSES),
        "scores": st.lists(st.integers(0, 50), min_size=3, max_size=3).filter(any),
        "weight": st.integers(0, 3),
    }
)
GAPS: Final = st.fixed_dictionaries(
    {
        "label": st.sampled_from([*CLASSES, "cow", None]),
        "prediction": st.sampled_from([*CLASSES, "cow", None]),
        "scores": st.lists(st.floats(-1, 3), min_size=3, max_size=3),
        "weight": st.sampled_from([1.0, -1.0, np.nan, 2.5]),
    }
)


def _columns(rows: list[dict[str, Any]], *, scaled: bool = True) -> dict[str, Any]:
    columns = {name: np.array([row[name] for row in rows], dtype=object) for name in ("label", "prediction")}
    scores = np.array([row["scores"] for row in rows], dtype=float).reshape(-1, 3)
    scores = scores / scores.sum(axis=1, keepdims=True) if scaled else scores
    named = {score_column(at): scores[:, at] for at in range(3)}
    return columns | named | {"weight": np.array([row["weight"] for row in rows], dtype=float)}


def _average(name: str, how: str) -> Any:
    score = {"precision": metrics.precision_score, "recall": metrics.recall_score, "f1": metrics.f1_score}[name]
    return lambda y, d, _: score(y, d, average=how, zero_division=0)


def _brier(y: Any, _: Any, scores: Any) -> float:
    return float(((scores - (y[:, None] == np.array(CLASSES, dtype=object))) ** 2).sum(axis=1).mean())


def _log_loss(y: Any, _: Any, scores: Any) -> float:
    places = [CLASSES.index(each) for each in y]
    return float(-np.log(np.maximum(scores[np.arange(len(y)), places], 1e-15)).mean())


def _top(y: Any, _: Any, scores: Any) -> float:
    own = [row[CLASSES.index(each)] for each, row in zip(y, scores, strict=True)]
    return float(np.mean([(row > mine).sum() < 2 for mine, row in zip(own, scores, strict=True)]))


REFERENCES: Final[dict[str, Callable[..., float]]] = {
    "accuracy": lambda y, d, _: metrics.accuracy_score(y, d),
    **{
        f"{name}_{how}": _average(name, how)
        for name in ("precision", "recall", "f1")
        for how in ("macro", "micro", "weighted")
    },
    "balanced_accuracy": lambda y, d, _: metrics.balanced_accuracy_score(y, d),
    "matthews_corrcoef": lambda y, d, _: metrics.matthews_corrcoef(y, d),
    "cohen_kappa": lambda y, d, _: metrics.cohen_kappa_score(y, d),
    "log_loss": _log_loss,
    "brier_score": _brier,
    "top_k_accuracy": _top,
}
MEASURES: Final = multiclass_measures(CLASSES)
OF_CLASS: Final = [of_class(name, "it's an owl", CLASSES) for name in ("precision", "recall", "f1")]


def test_every_measure_has_a_reference() -> None:
    """A new one cannot forget it."""
    assert {each.name for each in MEASURES} == REFERENCES.keys()


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=30))
def test_values_are_those_of_scikit_learn(rows: list[dict[str, Any]]) -> None:
    """Of labels, decisions and scores."""
    columns = _columns(rows)
    totals = totals_of([*MEASURES, *OF_CLASS], columns, KINDS)
    scores = np.stack([columns[score_column(at)] for at in range(3)], axis=1)
    truth, decided = columns["label"].astype(str), columns["prediction"].astype(str)

    for measure in MEASURES:
        found, interval = measure.value(totals), measure.interval(totals)
        if isinstance(found, Undefined):
            assert len(set(truth)) == 1 or len(set(decided)) == 1
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert found == pytest.approx(
                REFERENCES[measure.name](truth.astype(object), decided.astype(object), scores), abs=1e-8
            )
        assert measure.lowest <= found <= measure.highest
        assert interval is None or interval[0] <= found <= interval[1]
    for name, measure in zip(("precision", "recall", "f1"), OF_CLASS, strict=True):
        found = measure.value(totals)
        if not isinstance(found, Undefined):
            score = {"precision": metrics.precision_score, "recall": metrics.recall_score, "f1": metrics.f1_score}[name]
            expected = score(truth, decided, labels=["it's an owl"], average="macro", zero_division=0)
            assert found == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=15))
def test_a_weight_of_two_is_a_row_twice(rows: list[dict[str, Any]]) -> None:
    """Tables of counts are weighted like every other sum."""
    repeated = [row for row in rows for _ in range(row["weight"])]
    heavy = [weighted(each) for each in MEASURES]

    totals, totals_twice = totals_of(heavy, _columns(rows), KINDS), totals_of(MEASURES, _columns(repeated), KINDS)

    for measure, plain in zip(heavy, MEASURES, strict=True):
        found, expected = measure.value(totals), plain.value(totals_twice)
        same = isinstance(found, Undefined) if isinstance(expected, Undefined) else found == pytest.approx(expected)
        assert same, measure


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(GAPS, max_size=12))
def test_the_engine_adds_up_the_same_integers(rows: list[dict[str, Any]]) -> None:
    """Unknown classes, gaps and scores that are no distribution take no part, in SQL as in numpy."""
    rows = [row for row in rows if row["label"] is not None]
    columns = _columns(rows, scaled=False)
    every: list[Measure] = [*MEASURES, *(weighted(each) for each in MEASURES)]
    ours = totals_of(every, columns, KINDS)
    types = {"string": pa.string(), "number": pa.float64()}
    with duckdb.connect(config={"threads": 1}) as engine:
        engine.register(
            "joined", pa.table({name: pa.array(columns[name].tolist(), types[kind]) for name, kind in KINDS.items()})
        )
        for state in states_of(every):
            summed = state.summed if isinstance(state, Binned) else state
            place, within = ("0", "TRUE")
            if isinstance(state, Binned):
                place, within = (
                    f"CAST({state.grid.place.to_sql(KINDS)} AS INTEGER)",
                    present_sql(state.grid.place, KINDS),
                )
            query = f"SELECT {place}, sum({summed.to_sql(KINDS)}) FROM joined WHERE {within} GROUP BY 1"
            theirs = {cell: int(total) for cell, total in engine.execute(query).fetchall() if total and cell >= 0}
            whole = ours.whole[state.key]
            listed = dict(enumerate(whole.tolist() if isinstance(whole, np.ndarray) else [whole]))
            unit = 20 * len(rows) if "ln(" in state.key else 0
            assert all(abs(total - theirs.get(cell, 0)) <= unit for cell, total in listed.items()), state.key


def test_through_the_evaluator(tmp_path: Path) -> None:
    """Classes as texts, scores as vectors in the log, a label that is no class counted invalid."""
    chance = np.random.default_rng(1)
    size = 200
    truth = chance.integers(0, 3, size)
    scores = chance.dirichlet([1, 1, 1], size) + 0.5 * np.eye(3)[truth]
    scores /= scores.sum(axis=1, keepdims=True)
    decided = scores.argmax(axis=1)
    folder = tmp_path / "log" / "model=pets" / f"dt={START.date()}"
    folder.mkdir(parents=True)
    ids = [f"p-{number}" for number in range(size)]
    columns: dict[str, pa.Array[Any]] = {
        "prediction_id": pa.array(ids),
        "predicted_at": pa.array([START + timedelta(minutes=number) for number in range(size)], INSTANT),
        "version": pa.array(["1"] * size),
        "prediction": pa.array([CLASSES[each] for each in decided]),
        "score": pa.array(scores.tolist(), pa.list_(pa.float64())),
    }
    parquet.write_table(pa.table(columns), folder / "s-1-0.parquet")
    labels: dict[str, pa.Array[Any]] = {
        "prediction_id": pa.array([*ids, "p-0"]),
        "label": pa.array([*(CLASSES[each] for each in truth), "cow"]),
        "received_at": pa.array([START + 5 * HOUR] * (size + 1), INSTANT),
    }
    parquet.write_table(pa.table(labels), tmp_path / "labels.parquet")
    evaluation = Evaluation(
        model="pets", task="multiclass", classes=CLASSES, predictions=tmp_path / "log",
        labels={"path": str(tmp_path / "labels.parquet")}, ledger=f"sqlite:///{tmp_path}/ledger.db",
        attribution_window="1d", measures=[*REFERENCES, {"measure": "recall", "of": "dog"}],
    )  # fmt: skip

    with Evaluator(evaluation, environ={}) as evaluator:
        report = evaluator.run(as_of=START + 3 * DAY)

    named = np.array(CLASSES, dtype=object)
    found = {each.measure: each.value for each in report.values}
    for name, reference in REFERENCES.items():
        assert math.isclose(found[name], reference(named[truth], named[decided], scores), abs_tol=1e-8), name
    assert found["recall_dog"] == pytest.approx((decided[truth == 1] == 1).mean())
    assert report.labels["invalid"] == 1


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("roc_auc", "no measure of a multiclass task"),
        ({"measure": "precision"}, "needs 'of'"),
        ({"measure": "precision", "of": "cow"}, "is no class"),
        ({"measure": "top_k_accuracy", "k": 3}, "a whole number from 1 to 2"),
        ({"measure": "accuracy", "threshold": 0.5}, "no threshold"),
    ],
)
def test_what_does_not_fit_is_refused(declared: Any, told: str) -> None:
    """With what would have worked."""
    with pytest.raises(ConfigurationError, match=told):
        measures([declared], "multiclass", classes=CLASSES)


@pytest.mark.parametrize(
    ("task", "classes", "told"),
    [
        ("multiclass", None, "the list of the classes"),
        ("multiclass", ["cat"], "2 to 150"),
        ("multiclass", ["cat", "cat"], "2 to 150"),
        ("binary", ["cat", "dog"], "no list of classes"),
    ],
)
def test_classes_are_declared(task: str, classes: Any, told: str) -> None:
    """A multiclass task has them, no other does."""
    with pytest.raises(ConfigurationError, match=told):
        Evaluation(
            model="pets", task=task, classes=classes, predictions="log", labels={"path": "labels"},
            ledger="sqlite:///ledger.db", attribution_window="1d", measures=["accuracy"],
        )  # fmt: skip
