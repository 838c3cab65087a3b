"""Predictions and labels to try a starting project with: made up, recorded by a monitor, labelled hours later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from opentelemetry.metrics import NoOpMeterProvider
from pyarrow import parquet

from otel_ml_metrics.monitor import ModelMonitor
from otel_ml_metrics.scaffold.tasks import CLASSES, QUERY
from otel_ml_metrics.scaffold.writing import DATA

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from otel_ml_metrics.batch import Task

DAYS: Final = 5
"""Days of predictions up to now: with windows of a day and a day for labels, three or four of them are final."""

PER_DAY: Final = 200
QUERIES_OF: Final = 5
"""Rows of one search in a ranking."""

LABELLED: Final = 0.9
SLOWEST: Final = timedelta(hours=20)
COUNTRIES: Final = ("DE", "FR", "NL")

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Example:
    """What was written.

    Args:
        predictions: How many were recorded.
        labels: How many of them have a label by now.
    """

    predictions: int
    labels: int


def write_example(folder: Path, *, model: str, task: Task, now: datetime, seed: int = 0) -> Example:
    """Record some days of predictions into `data/predictions`, and write their labels into `data/labels`.

    Args:
        folder: Of the project.
        model: Name of the model.
        task: Of the model.
        now: The last predictions are of this instant; labels that would come later are not there yet.
        seed: The same one gives the same predictions and labels.

    Returns:
        How many there are.
    """
    rng = np.random.default_rng(seed)
    rows = DAYS * PER_DAY
    shares = rng.uniform(size=rows)
    predicted_at = [now - timedelta(days=DAYS) * (1 - row / rows) for row in range(rows)]
    answers, truth = _MADE_UP[task](rng, shares)
    ids = _record(folder, model=model, task=task, predicted_at=predicted_at, answers=answers, rng=rng)
    delays = rng.uniform(0.01, 1.0, rows)
    received_at = [at + SLOWEST * delay for at, delay in zip(predicted_at, delays, strict=True)]
    known = [row for row in range(rows) if received_at[row] <= now and rng.uniform() < LABELLED]
    table: dict[str, Any] = {
        "prediction_id": [ids[row] for row in known],
        "label": [truth[row] for row in known],
        "received_at": pa.array([received_at[row] for row in known], pa.timestamp("us", "UTC")),
    }
    labels = folder / DATA / "labels"
    labels.mkdir(parents=True)
    parquet.write_table(pa.table(table), labels / "example.parquet")
    return Example(predictions=rows, labels=len(known))


def _record(
    folder: Path,
    *,
    model: str,
    task: Task,
    predicted_at: list[datetime],
    answers: dict[str, Any],
    rng: np.random.Generator,
) -> list[str]:
    """Record as serving.py does, only with instants of the past, and tell nobody: live metrics are of now."""
    with ModelMonitor(
        model,
        version="1",
        task=task,
        slices=["country"],
        fields={QUERY: "string"} if task == "ranking" else {},
        log=folder / DATA / "predictions",
        meter_provider=NoOpMeterProvider(),
    ) as monitor:
        countries = rng.choice(COUNTRIES, size=len(predicted_at)).tolist()
        return list(monitor.record_batch(predicted_at=predicted_at, country=countries, **answers))


def _binary(rng: np.random.Generator, shares: Shares) -> tuple[dict[str, Any], list[Any]]:
    return {"score": shares, "prediction": shares >= 0.5}, (rng.uniform(size=len(shares)) < shares).tolist()  # noqa: PLR2004 - even odds


def _multiclass(rng: np.random.Generator, shares: Shares) -> tuple[dict[str, Any], list[Any]]:
    scores = np.column_stack([1 - shares, shares * 0.6, shares * 0.4])
    chosen = [CLASSES[place] for place in scores.argmax(axis=1)]
    return {"score": list(scores), "prediction": chosen}, [rng.choice(CLASSES, p=score).item() for score in scores]


def _multilabel(rng: np.random.Generator, shares: Shares) -> tuple[dict[str, Any], list[Any]]:
    scores = np.column_stack([1 - shares, shares, np.full(len(shares), 0.5)])
    sets = [
        [[name for name, holds in zip(CLASSES, row, strict=True) if holds] for row in rows]
        for rows in (scores >= 0.5, rng.uniform(size=scores.shape) < scores)  # noqa: PLR2004 - even odds
    ]
    return {"score": list(scores), "prediction": sets[0]}, sets[1]


def _quantile(rng: np.random.Generator, shares: Shares) -> tuple[dict[str, Any], list[Any]]:
    scores = np.column_stack([80 * shares, 100 * shares, 120 * shares])
    return {"score": list(scores), "prediction": scores[:, 1]}, (
        scores[:, 1] * rng.normal(1, 0.15, len(shares))
    ).tolist()


def _ranking(rng: np.random.Generator, shares: Shares) -> tuple[dict[str, Any], list[Any]]:
    searches = [f"s{row // QUERIES_OF}" for row in range(len(shares))]
    return {"score": shares, QUERY: searches}, rng.binomial(3, shares).astype(float).tolist()


def _regression(rng: np.random.Generator, shares: Shares) -> tuple[dict[str, Any], list[Any]]:
    return {"prediction": 100 * shares}, (100 * shares + rng.normal(0, 10, len(shares))).tolist()


_MADE_UP: Final[dict[str, Callable[[np.random.Generator, Shares], tuple[dict[str, Any], list[Any]]]]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "multilabel": _multilabel,
    "quantile": _quantile,
    "ranking": _ranking,
    "regression": _regression,
}
"""What the model answers, and what came true, by task; as the made-up model of serving.py answers a share."""
