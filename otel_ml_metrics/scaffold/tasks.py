"""What a starting project says for each task: settings, measures, and the lines of its model server. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CLASSES: Final = ("standard", "express", "freight")
QUANTILES: Final = (0.1, 0.5, 0.9)
QUERY: Final = "search_id"


@dataclass(frozen=True, kw_only=True)
class TaskLines:
    """The lines of the templates in which tasks differ.

    Args:
        label: What a label says, in words.
        measures: Entries of `measures:`.
        answer: Lines of `predict` in serving.py, between `share` and the call of `record`.
        recorded: Arguments of `record` that are the model's answer.
        told: Name of what the caller gets beside the id.
        settings: Further lines of monitoring.yaml.
        constants: Further lines of serving.py, at its top.
        fields: Further arguments of the monitor.
        asked: Further fields of a request, which are texts.
    """

    label: str
    measures: tuple[str, ...]
    answer: tuple[str, ...]
    recorded: str = "score=score, prediction=prediction"
    told: str = "prediction"
    settings: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()


_CLASSES_SETTING: Final = f"classes: [{', '.join(CLASSES)}]   # in the order of the scores"
_CLASSES_CONSTANT: Final = f"CLASSES = {list(CLASSES)!r}".replace("'", '"')

LINES: Final[Mapping[str, TaskLines]] = {
    "binary": TaskLines(
        label="true or false",
        measures=(
            "accuracy",
            "precision",
            "recall",
            "roc_auc",
            "log_loss",
            '{name: missed, unit: "{prediction}", sum: "label & ~prediction", description: "Positives not foreseen"}',
        ),
        answer=("score = share", "prediction = score >= 0.5"),
    ),
    "multiclass": TaskLines(
        label="one of the classes",
        measures=("accuracy", "f1_macro", "balanced_accuracy", "log_loss"),
        answer=("score = [1 - share, share * 0.6, share * 0.4]", "prediction = CLASSES[score.index(max(score))]"),
        settings=(_CLASSES_SETTING,),
        constants=(_CLASSES_CONSTANT,),
    ),
    "multilabel": TaskLines(
        label="the set of classes that hold: a list in Parquet, cat|dog in CSV",
        measures=("subset_accuracy", "hamming_loss", "f1_micro", "f1_macro"),
        answer=(
            "score = [1 - share, share, 0.5]",
            "prediction = [name for name, chance in zip(CLASSES, score, strict=True) if chance >= 0.5]",
        ),
        settings=(_CLASSES_SETTING,),
        constants=(_CLASSES_CONSTANT,),
    ),
    "quantile": TaskLines(
        label="the number that came true",
        measures=("pinball_loss", "interval_coverage", "interval_width"),
        answer=("score = [80 * share, 100 * share, 120 * share]", "prediction = score[1]"),
        settings=(f"quantiles: {list(QUANTILES)!r}   # the levels, in the order of the scores",),
    ),
    "ranking": TaskLines(
        label="the relevance, from 0",
        measures=("ndcg", "mean_average_precision", "mean_reciprocal_rank", "hit_rate"),
        answer=("score = share",),
        recorded=f"score=score, {QUERY}=features.{QUERY}",
        told="score",
        settings=(f"query: {QUERY}   # the field that says which list a row belongs to",),
        fields=(f'fields={{"{QUERY}": "string"}},',),
        asked=(QUERY,),
    ),
    "regression": TaskLines(
        label="the number that came true",
        measures=("mean_error", "mean_absolute_error", "root_mean_squared_error", "r2"),
        answer=("prediction = 100 * share",),
        recorded="prediction=prediction",
    ),
}
