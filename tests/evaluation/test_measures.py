"""Every measure through the evaluator: log, labels, revisions and ledger give what numpy gives over the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from otel_ml_metrics.declared_measures import measures
from otel_ml_metrics.measures.bootstrap import id_groups
from otel_ml_metrics.measures.measure import Undefined
from otel_ml_metrics.measures.table import measures_for
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World
from tests.evaluation.oracle_measures import bin_of
from tests.measures.material import totals

if TYPE_CHECKING:
    from pathlib import Path

FACTS: Final = {"unit": "USD", "description": "Text"}
DECLARED: Final[list[Any]] = [
    *measures_for("binary"),
    {"measure": "precision", "threshold": 0.25},
    {"measure": "matthews_corrcoef", "interval": "bootstrap", "name": "drawn"},
    FACTS | {"name": "median_fare", "quantile": {"expression": "fare", "q": 0.5}},
    FACTS | {"name": "profit", "value": {"true_positive": "fare", "false_positive": -40}},
    FACTS | {"name": "best_profit", "best_value": {"true_positive": "fare", "false_positive": -40}},
    FACTS | {"name": "best_cut", "best_threshold": {"true_positive": "fare", "false_positive": -40}},
    {"measure": "average_precision", "bins": "logit4096", "name": "fine_average_precision"},
    {"measure": "ks", "bins": [0.2, 0.4, 0.8], "name": "ks_of_edges"},
]


@pytest.mark.parametrize("weighted", [False, True])
def test_every_measure_through_the_evaluator(tmp_path: Path, weighted: bool) -> None:
    """Labels that arrive, are revised and leave again: value, interval, certificate and support are those of numpy."""
    chance = np.random.default_rng(3)
    world = World(tmp_path)
    predictions = [
        Prediction(
            id=f"p-{number}",
            predicted_at=START + number * HOUR / 20,
            score=round(float(chance.random()), 6),
            prediction=bool(chance.random() < 0.4),
            fare=float(chance.integers(10, 500)),
            weight=float(chance.integers(0, 4)),
        )
        for number in range(300)
    ]
    world.log(predictions)
    first = [Fact(id=each.id, label=bool(chance.random() < 0.5), received_at=START + 15 * HOUR) for each in predictions]
    last = [
        Fact(id=each.id, label=bool(chance.random() < (each.score or 0.0)), received_at=START + 16 * HOUR)
        for each in predictions[:250]
    ]
    world.label(first)
    world.run(START + 15.5 * HOUR, measures=DECLARED, weighted=weighted)
    world.label(last)

    report = world.run(START + 3 * DAY, measures=DECLARED, weighted=weighted)

    known = {each.id: each.label for each in (*first, *last)}
    rows = [
        {
            "label": known[each.id], "prediction": each.prediction, "score": each.score, "fare": each.fare,
            "weight": each.weight, "score_bin": bin_of(each.score), "id%64": id_groups([each.id])[0],
        }
        for each in predictions
    ]  # fmt: skip
    expected, _ = measures(DECLARED, "binary", weighted=weighted)
    added = totals(expected, rows, "binary")
    found = {each.measure: each for each in report.values}
    for measure in expected:
        value = measure.value(added)
        assert not isinstance(value, Undefined)
        got = found[measure.name]
        assert got.value == pytest.approx(value, abs=1e-8), measure
        assert got.support == added[measure.support], measure
        assert (got.lower, got.upper) == pytest.approx(measure.interval(added) or (None, None), abs=1e-6), measure
        assert got.certificate == pytest.approx(measure.certificate(added)), measure
