"""Which segments of a model's prediction log there are. What is in them, the engine reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_ml_metrics.errors import LogError, suggest
from otel_ml_metrics.prediction_log.layout import DATE_KEY, MODEL_KEY, SEGMENT_PATTERN, model_folder, model_of

if TYPE_CHECKING:
    import os
    from pathlib import Path


@dataclass(frozen=True)
class Segment:
    """One immutable file of the log.

    Args:
        name: Unique in the log.
        path: Where it is.
        date: UTC date of its predictions.
    """

    name: str
    path: str
    date: str


def segments(log: str | os.PathLike[str], model: str) -> dict[str, Segment]:
    """Every segment of a model's log, by name; none where the log has nothing of the model yet.

    Raises:
        LogError: The folder cannot be read, or it holds the predictions of other models only.
    """
    folder = model_folder(log, model)
    try:
        dates = sorted(folder.glob(f"{DATE_KEY}=*"))
        found = [(each, path) for each in dates for path in sorted(each.glob(SEGMENT_PATTERN))]
    except OSError as problem:
        message = f"The prediction log {log} cannot be read: {problem.strerror}. Give it to the user that evaluates."
        raise LogError(message) from problem
    if not dates:
        _check_other_models(folder)
    return {path.name: Segment(path.name, str(path), each.name.removeprefix(f"{DATE_KEY}=")) for each, path in found}


def _check_other_models(folder: Path) -> None:
    others = [model_of(other) for other in folder.parent.glob(f"{MODEL_KEY}=*") if other != folder]
    if others:
        model = model_of(folder)
        message = f"The prediction log {folder.parent} has nothing of the model {model!r}. {suggest(model, others)}"
        raise LogError(message)
