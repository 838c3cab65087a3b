"""Sets of classes are judged as scikit-learn does, in numpy, in SQL and through the evaluator."""

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
from otel_ml_metrics.engines.value_statements import set_sql
from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.measures.adapted import weighted
from otel_ml_metrics.measures.measure import Undefined, totals_of
from tests.evaluation.material import DAY, HOUR, INSTANT, START

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from otel_ml_metrics.expressions import Kind

CLASSES: Final = ("cat", "dog", "it's an owl")
KINDS: Final[dict[str, Kind]] = {"label": "number", "prediction": "number", "weight": "number", "id%64": "number"}
SETS: Final = st.integers(0, 7)
ROW: Final = st.fixed_dictionaries(
    {"label": SETS, "prediction": SETS, "weight": st.integers(0, 3), "id%64": st.integers(0, 63)}
)
AVERAGES: Final = [f"{name}_{how}" for name in ("precision", "recall", "f1") for how in ("micro", "macro", "weighted")]
DECLARED: Final[list[Any]] = [
    "subset_accuracy",
    "hamming_loss",
    *AVERAGES,
    *({"measure": name, "of": "it's an owl", "name": f"{name}_owl"} for name in ("precision", "recall", "f1")),
]
MEASURES: Final = {measure.name: measure for measure in measures(DECLARED, "multilabel", classes=CLASSES)[0]}
EVERY: Final = [*MEASURES.values(), *map(weighted, MEASURES.values())]
SCORES: Final = {
    "precision": metrics.precision_score,
    "recall": metrics.recall_score,
    "f1": metrics.f1_score,
}


def _bits(numbers: Any) -> NDArray[np.bool_]:
    return np.asarray((np.asarray(numbers, dtype=int)[:, None] >> np.arange(3)) % 2 == 1)


def _average(name: str) -> Callable[[Any, Any], float | None]:
    score, how = name.split("_")

    def reference(truth: Any, decided: Any) -> float | None:
        occurs = np.flatnonzero(truth.any(axis=0) | decided.any(axis=0))
        counted = {"precision": decided, "recall": truth, "f1": truth | decided}[score]
        if not len(occurs) or (how == "weighted" and not truth.any()) or (how == "micro" and not counted.any()):
            return None
        return float(SCORES[score](truth, decided, labels=occurs, average=how, zero_division=0))

    return reference


def _of_owls(name: str) -> Callable[[Any, Any], float | None]:
    def reference(truth: Any, decided: Any) -> float | None:
        y, d = truth[:, 2], decided[:, 2]
        counted = {"precision": d, "recall": y, "f1": y | d}[name]
        return float(SCORES[name](y, d)) if counted.any() else None

    return reference


REFERENCES: Final[dict[str, Callable[[Any, Any], float | None]]] = {
    "subset_accuracy": lambda y, d: float(metrics.accuracy_score(y, d)),
    "hamming_loss": lambda y, d: float(metrics.hamming_loss(y, d)),
    **{name: _average(name) for name in AVERAGES},
    **{f"{name}_owl": _of_owls(name) for name in SCORES},
}


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: np.array([row[name] for row in rows], dtype=float) for name in KINDS}


def test_every_measure_has_a_reference() -> None:
    """A new one cannot forget it."""
    assert MEASURES.keys() == REFERENCES.keys()


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=25))
def test_values_are_those_of_scikit_learn(rows: list[dict[str, Any]]) -> None:
    """Empty sets and classes that never occur among them; an interval contains its value."""
    columns = _columns(rows)
    totals = totals_of(MEASURES.values(), columns, KINDS)
    truth, decided = _bits(columns["label"]), _bits(columns["prediction"])

    for name, measure in MEASURES.items():
        found, expected, interval = measure.value(totals), REFERENCES[name](truth, decided), measure.interval(totals)
        if expected is None:
            assert isinstance(found, Undefined), name
        else:
            assert found == pytest.approx(expected), name
            assert interval is None or interval[0] <= found <= interval[1]  # type: ignore[operator]  # it is defined


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(ROW, max_size=15), cut=st.integers(0, 15))
def test_rows_add_up_and_weigh(rows: list[dict[str, Any]], cut: int) -> None:
    """Merged batches equal the whole, what is taken back leaves nothing, and a weight of 2 is a row twice."""
    whole = totals_of(EVERY, _columns(rows), KINDS)
    first, second = (totals_of(EVERY, _columns(part), KINDS) for part in (rows[:cut], rows[cut:]))
    twice = totals_of(MEASURES.values(), _columns([row for row in rows for _ in range(row["weight"])]), KINDS)

    assert first + second == whole
    assert whole - second == first
    for measure in MEASURES.values():
        found, expected = weighted(measure).value(whole), measure.value(twice)
        same = isinstance(found, Undefined) if isinstance(expected, Undefined) else found == pytest.approx(expected)
        assert same, measure


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(ROW, max_size=12))
def test_the_engine_adds_up_the_same_integers(rows: list[dict[str, Any]]) -> None:
    """Halving whole numbers is exact in SQL as in numpy."""
    columns = _columns(rows)
    ours = totals_of(EVERY, columns, KINDS)
    with duckdb.connect(config={"threads": 1}) as engine:
        engine.register("joined", pa.table({name: pa.array(each, pa.float64()) for name, each in columns.items()}))
        for state in {state for measure in EVERY for state in measure.states}:
            query = f"SELECT coalesce(sum({state.to_sql(KINDS)}), 0) FROM joined"  # type: ignore[union-attr]  # plain sums
            assert engine.execute(query).fetchone() == (ours.whole[state.key],), state.key


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["cat"], 1.0),
        (["it's an owl", "cat", "cat"], 5.0),
        ([], 0.0),
        (["cat", "cow"], None),
        (None, None),
        ("cat", 1.0),
        ("cat | dog", 3.0),
        ("|cat|it's an owl|", 5.0),
        ("|", 0.0),
        ("", None),
        ("caterpillar", None),
        ("cat|cow", None),
    ],
)
def test_sets_are_read_from_lists_and_texts(given: Any, expected: float | None) -> None:
    """A name that is no class spoils the set; a lone bar is the empty set, an empty text is none."""
    form = "VARCHAR" if isinstance(given, str) else "VARCHAR[]"
    with duckdb.connect() as engine:
        query = f"SELECT {set_sql('said', form, CLASSES)} FROM (SELECT CAST($said AS {form}) AS said) AS read"
        found = engine.execute(query, {"said": given}).fetchone()

    assert found == (expected,)


def _names(bits: NDArray[np.bool_]) -> list[list[str]]:
    return [[name for name, has in zip(CLASSES, row, strict=True) if has] for row in bits]


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_from_the_monitor_through_the_evaluator(tmp_path: Path, form: str) -> None:
    """Decisions as lists in the monitor, labels as lists or texts, revised once: every measure is that of the rows."""
    chance = np.random.default_rng(5)
    truth, decided = chance.random((100, 3)) < 0.4, chance.random((100, 3)) < 0.5
    instants = [START + timedelta(minutes=at) for at in range(100)]
    with ModelMonitor("pets", version="1", task="multilabel", log=tmp_path / "log") as monitor:
        ids = list(monitor.record_batch(prediction=_names(decided), predicted_at=instants))
        ids.append(monitor.record(prediction={"cat"}, predicted_at=instants[0]) or "")
    labels, received = [*_names(truth), ["cow"]], [START + 5 * HOUR] * 101
    if form == "parquet":
        said: dict[str, Any] = {"prediction_id": ids, "label": labels, "received_at": pa.array(received, INSTANT)}
        parquet.write_table(pa.table(said), tmp_path / "labels.parquet")
    else:
        rows = [f"{name},|{'|'.join(each)},2013-04-08T05:00:00Z" for name, each in zip(ids, labels, strict=True)]
        (tmp_path / "labels.csv").write_text("\n".join(["prediction_id,label,received_at", *rows]))
    evaluation = Evaluation(
        model="pets", task="multilabel", classes=CLASSES, predictions=tmp_path / "log",
        labels={"path": str(tmp_path / f"labels.{form}")}, ledger=f"sqlite:///{tmp_path}/ledger.db",
        attribution_window="1d", measures=DECLARED,
    )  # fmt: skip

    with Evaluator(evaluation, environ={}) as evaluator:
        report = evaluator.run(as_of=START + 3 * DAY)

    found = {each.measure: each for each in report.values}
    for name, reference in REFERENCES.items():
        value = found[name]
        assert value.value == pytest.approx(reference(truth, decided)), name
        assert value.support == 100
    assert report.labels["invalid"] == 1


def test_what_is_no_set_is_a_fault(tmp_path: Path) -> None:
    """The row is kept without its decision."""
    with ModelMonitor("pets", task="multilabel", log=tmp_path, on_fault="count") as monitor:
        monitor.record_batch(prediction=[["cat"], 3, ["a|b"], None])
        assert monitor.force_flush()

    (path,) = tmp_path.rglob("*.parquet")
    assert parquet.read_table(path)["prediction"].to_pylist() == ["|cat|", None, None, None]


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("accuracy", "no measure of a multilabel task"),
        ("precision", "needs 'of' here"),
        ({"measure": "f1", "of": "cow"}, "is no class"),
        ({"measure": "f1_micro", "threshold": 0.5}, "no threshold"),
    ],
)
def test_what_does_not_fit_is_refused(declared: Any, told: str) -> None:
    """With what would have worked."""
    with pytest.raises(ConfigurationError, match=told):
        measures([declared], "multilabel", classes=CLASSES)


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (None, "the list of the classes"),
        (["cat"], "2 to 50"),
        ([str(at) for at in range(51)], "2 to 50"),
        (["cat", "a|b"], r"a name without \|"),
        (["cat", " dog"], "no blank ends"),
    ],
)
def test_classes_are_declared(classes: Any, told: str) -> None:
    """As many as a number can hold, with names that can stand in a text."""
    with pytest.raises(ConfigurationError, match=told):
        Evaluation(
            model="pets", task="multilabel", classes=classes, predictions="log", labels={"path": "labels"},
            ledger="sqlite:///ledger.db", attribution_window="1d", measures=["subset_accuracy"],
        )  # fmt: skip
