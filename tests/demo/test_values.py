"""What the demo's evaluation says is what scikit-learn says about the same rows, joined by hand."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import product
from typing import TYPE_CHECKING, Final

import pyarrow.dataset
import pytest
from sklearn import metrics

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.demo.replay import replay, serve
from otel_ml_metrics.demo.server import create_app
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.instants import Duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from otel_ml_metrics.demo.flights import Flights
    from otel_ml_metrics.demo.model import Model
    from otel_ml_metrics.evaluation_report import Value

MATURITIES: Final = ["6h", "1d"]
DAYS: Final = 3

MEASURES: Final[dict[str, Callable[[pd.DataFrame], float]]] = {
    "accuracy": lambda rows: metrics.accuracy_score(rows["late"], rows["prediction"]),
    "precision": lambda rows: metrics.precision_score(rows["late"], rows["prediction"]),
    "recall": lambda rows: metrics.recall_score(rows["late"], rows["prediction"]),
    "f1": lambda rows: metrics.f1_score(rows["late"], rows["prediction"]),
    "log_loss": lambda rows: metrics.log_loss(rows["late"], rows["score"], labels=[False, True]),
    "brier_score": lambda rows: metrics.brier_score_loss(rows["late"], rows["score"]),
    "roc_auc": lambda rows: metrics.roc_auc_score(rows["late"], rows["score"]),
    "missed_refunds": lambda rows: rows["fare"][rows["late"] & ~rows["prediction"]].sum(),
}


@pytest.fixture(scope="module")
def joined_and_values(
    flights: Flights, models: tuple[Model, Model], tmp_path_factory: pytest.TempPathFactory
) -> tuple[pd.DataFrame, tuple[Value, ...]]:
    """Three days replayed and evaluated day by day, and the same rows joined without any of our code."""
    folder = tmp_path_factory.mktemp("values")
    log, labels = folder / "predictions", folder / "labels"
    evaluation = Evaluation(
        model="flight-delay",
        predictions=log,
        labels={"path": f"{labels}/*.parquet", "label": "late", "received_at": "landed_at"},
        ledger=f"sqlite:///{folder}/ledger.db",
        attribution_window="1d",
        maturities=MATURITIES,
        slices=["origin"],
        by=["variant"],
        measures=[
            *(name for name in MEASURES if name != "missed_refunds"),
            {
                "name": "missed_refunds",
                "unit": "USD",
                "sum": "fare * (label & ~prediction)",
                "description": "Fares of late flights that were not flagged",
            },
        ],
    )
    with serve(create_app(models, log=log, replay=True)) as server, Evaluator(evaluation) as evaluator:
        for day in replay(flights, server, labels, since=date(2013, 4, 1), days=DAYS + 1):
            evaluator.run(as_of=day.as_of)
        values = evaluator.as_of(day.as_of).values
    return _frame(log).merge(_frame(labels), on="prediction_id", how="left"), values


def _frame(folder: Path) -> pd.DataFrame:
    frame: pd.DataFrame = pyarrow.dataset.dataset(folder, format="parquet").to_table().to_pandas()
    return frame


def _rows(joined: pd.DataFrame, value: Value) -> pd.DataFrame:
    """Labelled rows behind a value, by the rules of the design."""
    inside = (joined["predicted_at"] >= value.window_start) & (joined["predicted_at"] < value.window_end)
    served = inside & (joined["variant"] == value.variant)
    for field, wanted in value.slice.items():
        served &= joined[field] == wanted
    in_time = joined["landed_at"] - joined["predicted_at"] <= Duration(value.maturity)
    rows = joined[served & in_time]
    return rows.assign(late=rows["late"].astype(bool), prediction=rows["prediction"].astype(bool))


def test_values_agree_with_scikit_learn(joined_and_values: tuple[pd.DataFrame, tuple[Value, ...]]) -> None:
    """Every value of every window, maturity, variant and slice: exact to rounding, the AUC within its certificate."""
    joined, values = joined_and_values

    for value in values:
        rows = _rows(joined, value)
        tolerance = value.certificate if value.certificate is not None else 0.0
        assert value.support == len(rows)
        assert value.value == pytest.approx(MEASURES[value.measure](rows), abs=tolerance + 1e-8, rel=1e-9), value


def test_every_cell_has_its_value(joined_and_values: tuple[pd.DataFrame, tuple[Value, ...]]) -> None:
    """Nothing is missing: each day, maturity, variant, and all rows as well as each origin."""
    _, values = joined_and_values

    told = {_cell(value) for value in values if value.measure == "accuracy"}
    days = [date(2013, 4, 1) + timedelta(days=number) for number in range(DAYS)]
    places: list[tuple[str, ...]] = [(), ("EWR",), ("JFK",), ("LGA",)]
    assert told >= set(product(days, MATURITIES, ["champion", "challenger"], places))


def _cell(value: Value) -> tuple[date, str, str | None, tuple[str, ...]]:
    return value.window_start.date(), value.maturity, value.variant, tuple(value.slice.values())


def test_coverage_counts_what_never_landed(joined_and_values: tuple[pd.DataFrame, tuple[Value, ...]]) -> None:
    """Cancelled flights stay in the denominator for good, and at six hours some planes are still in the air."""
    joined, values = joined_and_values

    for value in (value for value in values if value.measure == "accuracy" and not value.slice):
        day = joined["predicted_at"].dt.date == value.window_start.date()
        mature = joined[day & (joined["variant"] == value.variant)]
        assert value.coverage == pytest.approx(len(_rows(joined, value)) / len(mature))
        assert value.coverage < 1
