"""What the demo's evaluation says is what scikit-learn says about the same rows, joined by hand: each single value."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pyarrow.dataset
import pytest
from sklearn import metrics

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.demo.replay import replay, serve
from otel_ml_metrics.demo.run import MONITORING, SETTLING
from otel_ml_metrics.demo.server import create_app
from otel_ml_metrics.evaluator import Evaluator

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from otel_ml_metrics.demo.flights import Flights
    from otel_ml_metrics.demo.model import Model
    from otel_ml_metrics.evaluation_report import Value

DAYS: Final = (date(2013, 4, 1), date(2013, 4, 2))
MATURITIES: Final = {"6h": timedelta(hours=6), "1d": timedelta(days=1), "3d": timedelta(days=3)}
SLICES: Final = ("carrier", "origin")

END: Final = datetime(2013, 4, 3, tzinfo=UTC) + timedelta(days=SETTLING)

Group = tuple["Hashable", ...]
Rows = dict[str, "NDArray[Any]"]

MEASURES: Final[dict[str, Callable[[Rows], float]]] = {
    "accuracy": lambda rows: metrics.accuracy_score(rows["late"], rows["prediction"]),
    "precision": lambda rows: metrics.precision_score(rows["late"], rows["prediction"]),
    "recall": lambda rows: metrics.recall_score(rows["late"], rows["prediction"]),
    "f1": lambda rows: metrics.f1_score(rows["late"], rows["prediction"]),
    "log_loss": lambda rows: metrics.log_loss(rows["late"], rows["score"], labels=[False, True]),
    "brier_score": lambda rows: metrics.brier_score_loss(rows["late"], rows["score"]),
    "roc_auc": lambda rows: metrics.roc_auc_score(rows["late"], rows["score"]),
    "missed_refunds": lambda rows: rows["fare"][rows["late"] & ~rows["prediction"]].sum(),
    "vouchers_per_flight": lambda rows: 40 * rows["prediction"].mean(),
}

# Where scikit-learn would warn and give a number that means nothing, there is no value.
IS_DEFINED: Final[dict[str, Callable[[Rows], bool]]] = {
    "precision": lambda rows: bool(rows["prediction"].any()),
    "recall": lambda rows: bool(rows["late"].any()),
    "f1": lambda rows: bool(rows["late"].any() or rows["prediction"].any()),
    "roc_auc": lambda rows: len(set(rows["late"])) == 2,
}


@pytest.fixture(scope="module")
def folder(flights: Flights, models: tuple[Model, Model], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days, played and evaluated as the demo does, but without Prefect and with more measures than it shows."""
    folder = tmp_path_factory.mktemp("agreement")
    more = "".join(f"\n  - {name}" for name in ("precision", "f1", "brier_score") if f"- {name}\n" not in MONITORING)
    (folder / "monitoring.yaml").write_text(MONITORING.replace("\nmeasures:", f"\nmeasures:{more}"), encoding="utf-8")
    played = flights.between(DAYS[0], DAYS[-1] + timedelta(days=1))
    with (
        serve(create_app(models, log=folder / "predictions", replay=True)) as server,
        Evaluator(Evaluation.from_file(folder / "monitoring.yaml"), environ={}) as evaluator,
    ):
        for day in replay(played, server, folder / "labels", since=DAYS[0], days=len(DAYS) + SETTLING):
            if day.day in DAYS or day.as_of == END:
                evaluator.run(as_of=day.as_of)
    return folder


@pytest.fixture(scope="module")
def values(folder: Path) -> tuple[Value, ...]:
    """Everything that is final in the end."""
    with Evaluator(Evaluation.from_file(folder / "monitoring.yaml"), environ={}) as evaluator:
        return evaluator.as_of(END).values


@pytest.fixture(scope="module")
def groups(folder: Path) -> dict[Group, tuple[Rows, int]]:
    """The labelled rows of each day, maturity, version, variant and slice, and how many predictions it has."""
    joined = frame(folder / "predictions").merge(
        frame(folder / "labels"), on="prediction_id", how="left", validate="one_to_one"
    )
    found = {}
    for maturity, age in MATURITIES.items():
        for group, rows in grouped(joined):
            known = rows[rows["landed_at"] - rows["predicted_at"] <= age].astype({"late": bool, "prediction": bool})
            if len(known):
                columns = {name: known[name].to_numpy() for name in ("late", "prediction", "score", "fare")}
                found[maturity, *group] = (columns, len(rows))
    return found


def frame(folder: Path) -> pd.DataFrame:
    """All Parquet files of a folder."""
    read: pd.DataFrame = pyarrow.dataset.dataset(folder, format="parquet").to_table().to_pandas()
    return read


def grouped(joined: pd.DataFrame) -> Iterator[tuple[Group, pd.DataFrame]]:
    """The rows of each day, version and variant: all of them, and those of each slice."""
    split = ["day", "version", "variant"]
    joined = joined.assign(day=joined["predicted_at"].dt.date)
    for key, rows in joined.groupby(split):
        yield (*key, None, None), rows
    for field in SLICES:
        for key, rows in joined.groupby([*split, field]):
            yield (*key[:-1], field, key[-1]), rows


def group_of(value: Value) -> Group:
    """The group that a value is about."""
    ((field, text),) = value.slice.items() or [(None, None)]
    return value.maturity, value.window_start.date(), value.version, value.variant, field, text


@pytest.mark.parametrize("measure", MEASURES)
def test_values_agree_with_scikit_learn(
    values: tuple[Value, ...], groups: dict[Group, tuple[Rows, int]], measure: str
) -> None:
    """Each group where the measure is defined has its value, right to rounding; the AUC within its certificate."""
    is_defined: Callable[[Rows], bool] = IS_DEFINED.get(measure, bool)

    told = {group_of(value): value for value in values if value.measure == measure}

    assert set(told) == {group for group, (rows, _) in groups.items() if is_defined(rows)}
    for group, value in told.items():
        expected = MEASURES[measure](groups[group][0])
        assert value.value == pytest.approx(expected, abs=1e-8 + (value.certificate or 0), rel=1e-9), group


def test_support_and_coverage_are_counts(values: tuple[Value, ...], groups: dict[Group, tuple[Rows, int]]) -> None:
    """Support counts the planes that had landed at that age; coverage is their share, cancelled flights and all."""
    for value in values:
        rows, predictions = groups[group_of(value)]
        assert (value.support, value.coverage) == (len(rows["late"]), len(rows["late"]) / predictions)


def test_the_certificate_is_worth_having(values: tuple[Value, ...]) -> None:
    """Over all flights of a day the AUC from bins is certain to one hundredth."""
    areas = [value for value in values if value.measure == "roc_auc"]

    assert all(value.certificate is not None for value in areas)
    assert max(value.certificate or 0 for value in areas if not value.slice) < 0.01


def test_every_day_is_there(values: tuple[Value, ...]) -> None:
    """Both days are complete at every maturity, for both variants."""
    told = {(value.window_start.date(), value.maturity, value.variant) for value in values if not value.slice}

    assert told == {
        (day, maturity, arm) for day in DAYS for maturity in MATURITIES for arm in ("champion", "challenger")
    }
