"""The bootstrap is a function of sums that are kept apart by groups of ids."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from otel_ml_metrics.measures.bootstrap import GROUP_SQL, bootstrapped, id_groups
from otel_ml_metrics.measures.measure import totals_of
from otel_ml_metrics.measures.table import MEASURES
from tests.measures.material import KINDS


def test_the_engine_puts_ids_into_the_same_groups() -> None:
    """md5 of the id, in SQL as in Python; every group has its share."""
    ids = [f"prediction-{number}" for number in range(2_000)]
    with duckdb.connect() as engine:
        rows = engine.execute(
            f"SELECT {GROUP_SQL} FROM (SELECT unnest(?) AS prediction_id, unnest(range({len(ids)})) AS place)"
            " ORDER BY place",
            [ids],
        ).fetchall()

    assert [row[0] for row in rows] == id_groups(ids).tolist()
    assert np.bincount(id_groups(ids).astype(int), minlength=64).min() > 10


@pytest.mark.parametrize("name", ["mean_error", "accuracy"])
def test_it_agrees_with_the_formula_where_there_is_one(name: str) -> None:
    """On 4,000 rows, both intervals are as wide as each other, give or take what 64 groups can tell."""
    chance = np.random.default_rng(5)
    size = 4_000
    task = "binary" if name == "accuracy" else "regression"
    columns = {
        "label": chance.random(size) < 0.3 if task == "binary" else chance.normal(size=size),
        "prediction": chance.random(size) < 0.4 if task == "binary" else chance.normal(size=size),
        "id%64": id_groups(map(str, range(size))),
    }
    measure = bootstrapped(MEASURES[name])
    totals = totals_of([measure], columns, KINDS[task])

    drawn, told = measure.interval(totals), MEASURES[name].interval(totals)

    assert drawn is not None
    assert told is not None
    assert drawn[1] - drawn[0] == pytest.approx(told[1] - told[0], rel=0.35)
    assert measure.value(totals) == pytest.approx(np.mean(drawn), abs=(told[1] - told[0]) / 2)
