"""Rankings of the rows of queries are judged as scikit-learn does, and through the evaluator as labels come in."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from sklearn import metrics

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.measures.measure import Undefined
from otel_ml_metrics.measures.ranking import RANKINGS
from tests.evaluation.material import DAY, HOUR, INSTANT, START

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otel_ml_metrics.evaluation_report import Value

Rows = list[tuple[float, float, str]]
ROW: Final = st.tuples(
    st.sampled_from([0.0, 0.0, 1.0, 2.0, 3.0]), st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.sampled_from(["a", "b", "c"])
)


def _value(name: str, rows: Rows, k: int | None = None) -> float | Undefined:
    label, score, query = (np.array(column, dtype=object) for column in zip(*rows, strict=True))
    exact = RANKINGS[name].exact("search", k=k)
    return exact.value(label.astype(float), np.column_stack([score, query]))


def _by_query(rows: Rows) -> list[list[float]]:
    """The relevance of each query's rows, in the order of their scores, ties to their disadvantage."""
    ordered = sorted(rows, key=lambda row: (-row[1], row[0]))
    found = [[row[0] for row in ordered if row[2] == query] for query in sorted({row[2] for row in rows})]
    return [each for each in found if any(each)]


def _naive_average_precision(relevance: list[float], k: int) -> float:
    hits, total = 0, 0.0
    for at, gain in enumerate(relevance[:k], start=1):
        if gain > 0:
            hits += 1
            total += hits / at
    return total / min(k, len(relevance), sum(gain > 0 for gain in relevance))


NAIVE: Final[dict[str, Callable[[list[float], int], float]]] = {
    "ndcg": lambda found, k: (
        metrics.ndcg_score([found], [list(range(len(found), 0, -1))], k=k) if len(found) > 1 else 1.0
    ),
    "mean_average_precision": _naive_average_precision,
    "mean_reciprocal_rank": lambda found, _: 1 / (next(at for at, gain in enumerate(found) if gain > 0) + 1),
    "hit_rate": lambda found, k: float(any(found[:k])),
}


def test_every_measure_has_a_reference() -> None:
    """A new one cannot forget it."""
    assert RANKINGS.keys() == NAIVE.keys()


@pytest.mark.parametrize("name", NAIVE)
@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=20), k=st.integers(1, 6), data=st.data())
def test_values_are_those_of_the_reference(name: str, rows: Rows, k: int, data: st.DataObject) -> None:
    """Means over queries with a relevant row, in whatever order the rows come."""
    shuffled = data.draw(st.permutations(rows))
    queries = _by_query(rows)

    found = _value(name, shuffled, k if RANKINGS[name].looks_at else None)

    if queries:
        assert found == pytest.approx(np.mean([NAIVE[name](each, k) for each in queries]))
    else:
        assert found == Undefined("no_positives")


def _world(folder: Path) -> tuple[Evaluation, list[tuple[str, float, str]]]:
    """Twenty searches of six rows each, logged by a monitor, and an evaluation of them."""
    chance = np.random.default_rng(9)
    rows = [(f"s{at // 6}", round(float(chance.random()), 6)) for at in range(120)]
    instants = [START + timedelta(minutes=at) for at in range(120)]
    with ModelMonitor("search", version="1", fields={"search": "string"}, log=folder / "log") as monitor:
        ids = monitor.record_batch(
            score=[score for _, score in rows], search=[search for search, _ in rows], predicted_at=instants
        )
    evaluation = Evaluation(
        model="search", task="ranking", query="search", predictions=folder / "log",
        labels={"path": str(folder / "labels")}, ledger=f"sqlite:///{folder}/ledger.db", attribution_window="1d",
        measures=[*RANKINGS, {"measure": "ndcg", "k": 3}],
    )  # fmt: skip
    return evaluation, [(name, *row[::-1]) for name, row in zip(ids, rows, strict=True)]


def _label(folder: Path, name: str, said: dict[str, float], received_at: Any) -> None:
    (folder / "labels").mkdir(exist_ok=True)
    table: dict[str, Any] = {
        "prediction_id": list(said), "label": list(said.values()),
        "received_at": pa.array([received_at] * len(said), INSTANT),
    }  # fmt: skip
    parquet.write_table(pa.table(table), folder / "labels" / f"{name}.parquet")


def test_through_the_evaluator_as_labels_are_revised(tmp_path: Path) -> None:
    """The query of a row is a field of the log; a revision counts like everywhere, and unlabelled rows are left out."""
    chance = np.random.default_rng(10)
    evaluation, rows = _world(tmp_path)
    first = {name: float(chance.integers(0, 4)) for name, _, _ in rows}
    last = {name: float(chance.integers(0, 4)) for name, _, _ in rows[:100]}
    _label(tmp_path, "a", {name: said for at, (name, said) in enumerate(first.items()) if at % 10}, START + 5 * HOUR)
    with Evaluator(evaluation, environ={}) as evaluator:
        evaluator.run(as_of=START + 6 * HOUR)
    _label(tmp_path, "b", last, START + 20 * HOUR)

    with Evaluator(evaluation, environ={}) as evaluator:
        report = evaluator.run(as_of=START + 3 * DAY)

    known = {name: said for at, (name, said) in enumerate(first.items()) if at % 10} | last
    judged = [(known[name], score, query) for name, score, query in rows if name in known]
    found: dict[str, Value] = {each.measure: each for each in report.values}
    for name in RANKINGS:
        assert found[name].value == pytest.approx(_value(name, judged)), name
        assert found[name].support == len(judged)
    assert found["ndcg_3"].value == pytest.approx(_value("ndcg", judged, 3))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"measures": ["ncdg"]}, "Did you mean 'ndcg'"),
        ({"measures": ["roc_auc"]}, "is no measure of a ranking task"),
        ({"measures": [{"measure": "ndcg", "k": 0}]}, "a whole number above 0"),
        ({"measures": [{"measure": "mean_reciprocal_rank", "k": 3}]}, "it looks at all rows"),
        ({"measures": [{"measure": "ndcg", "top": 3}]}, "'top' is not known here"),
        ({"measures": []}, "Fit for a ranking task: hit_rate, mean_average_precision"),
        ({"query": None}, "the declared field that says which query"),
        ({"query": "score"}, "the declared field that says which query"),
        ({"task": "binary", "measures": ["accuracy"]}, "a binary task has no queries"),
        ({"weighted": True}, "takes no weights|no parameter sample_weight"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], told: str) -> None:
    """At set-up, with what would have worked."""
    settled: dict[str, Any] = {"task": "ranking", "query": "search", "measures": ["ndcg"]}
    with pytest.raises(ConfigurationError, match=told):
        Evaluation(
            model="search", predictions="log", labels={"path": "labels"}, ledger="sqlite:///ledger.db",
            attribution_window="1d", **settled | given,
        )  # fmt: skip
