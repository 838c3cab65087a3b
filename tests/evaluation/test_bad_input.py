"""Values that a measure cannot use are left out of it and counted by reason; so are labels that nobody can use."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pytest

from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.measures.table import measures_for
from otel_ml_metrics.telemetry.receiver import Receiver
from tests.evaluation.material import DAY, SEGMENT, START, Fact, Prediction, World

if TYPE_CHECKING:
    from pathlib import Path

LATER: Final = START + 3 * DAY
HEADER: Final = "prediction_id,label,received_at,revision\n"
CLASSES: Final = ["cat", "dog"]


def mean(expression: str, **given: Any) -> dict[str, Any]:
    """A measure of the user's own."""
    return {"name": "own", "unit": "USD", "mean": expression, "description": "Of a test"} | given


def segment(task: str) -> pa.Schema:
    """The schema of a log whose decisions are those of a task."""
    kinds: dict[str, pa.DataType] = {"multiclass": pa.string(), "regression": pa.float64(), "binary": pa.bool_()}
    return SEGMENT.set(SEGMENT.get_field_index("prediction"), pa.field("prediction", kinds[task]))


@pytest.mark.parametrize(
    ("task", "measure", "bad", "reason"),
    [
        ("binary", "log_loss", {"score": 1.5}, "score_outside_0_1"),
        ("binary", "log_loss", {"score": -0.1}, "score_outside_0_1"),
        ("binary", "log_loss", {"score": None}, "score_missing"),
        ("binary", "log_loss", {"score": math.nan}, "score_missing"),
        ("binary", "log_loss", {"score": math.inf}, "score_missing"),
        ("binary", "prevalence", {"weight": -1.0}, "weight_negative"),
        ("binary", "prevalence", {"weight": None}, "weight_missing"),
        ("binary", "prevalence", {"weight": math.inf}, "weight_missing"),
        ("binary", "log_loss", {"score": 1.5, "weight": 1.0}, "score_outside_0_1"),
        ("binary", "accuracy", {"prediction": None}, "prediction_missing"),
        ("binary", mean("fare"), {"fare": math.nan}, "fare_missing"),
        ("binary", mean("ln(fare)"), {"fare": 0.0}, "own_out_of_domain"),
        ("regression", "mean_absolute_percentage_error", {}, "mean_absolute_percentage_error_out_of_domain"),
        ("regression", "mean_error", {"prediction": math.inf}, "prediction_missing"),
        ("multiclass", "accuracy", {"prediction": "owl"}, "prediction_outside_classes"),
    ],
)
def test_a_row_that_a_measure_cannot_use_is_counted(
    tmp_path: Path, task: str, measure: Any, bad: dict[str, Any], reason: str
) -> None:
    """The value is that of the other rows, and the report says why one is missing."""
    decided: Any = {"binary": True, "regression": 3.0, "multiclass": "cat"}[task]
    label: Any = {"binary": "true", "regression": "2.0", "multiclass": "cat"}[task]
    world = World(tmp_path)
    good: dict[str, Any] = {"prediction": decided, "weight": 1.0}
    rows = [Prediction(id="good", **good), Prediction(id="bad", **(good | bad))]
    world.log(rows, schema=segment(task))
    write(world, f"good,{label},2013-04-08T01:00:00Z,0\nbad,{label if bad else '0.0'},2013-04-08T01:00:00Z,0\n")
    classes = {"classes": CLASSES} if task == "multiclass" else {}

    report = world.run(LATER, task=task, measures=[measure], weighted="weight" in bad, **classes)

    assert report.left_out == {reason: 1}
    assert [value.support for value in report.values] == [1]


def write(world: World, rows: str, name: str = "a.csv") -> None:
    """Write a label file by hand."""
    folder = world.folder / "labels"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(HEADER + rows)


BAD_LABELS: Final = (
    ("p-1,maybe,2013-04-08T01:00:00Z,0", "label_outside_classes"),
    ("p-1,2,2013-04-08T01:00:00Z,0", "label_outside_classes"),
    ("p-1,NaN,2013-04-08T01:00:00Z,0", "label_outside_classes"),
    ("p-1,,2013-04-08T01:00:00Z,0", "no_label"),
    ("p-1,true,yesterday,0", "no_instant"),
    ("p-1,true,,0", "no_instant"),
    (",true,2013-04-08T01:00:00Z,0", "no_prediction_id"),
)


@pytest.mark.parametrize("runs", [1, len(BAD_LABELS)])
def test_labels_that_cannot_be_used_are_counted_by_reason(world: World, runs: int) -> None:
    """However they are cut into files and runs."""
    world.log([Prediction()])
    counts: dict[str, int] = {}
    for row, reason in BAD_LABELS:
        counts[reason] = counts.get(reason, 0) + 1
        write(world, f"{row}\n", f"{row.replace(',', '-').replace(':', '-')}.csv")
        if runs > 1:
            world.run(START + DAY)

    report = world.run(LATER)

    assert report.invalid == counts
    assert report.labels["invalid"] == len(BAD_LABELS)


@pytest.mark.parametrize(
    ("task", "label", "reason"),
    [
        ("multiclass", "owl", "label_outside_classes"),
        ("regression", "NaN", "label_no_finite_number"),
        ("regression", "inf", "label_no_finite_number"),
        ("regression", "much", "label_no_finite_number"),
    ],
)
def test_what_a_label_may_say_depends_on_the_task(world: World, task: str, label: str, reason: str) -> None:
    """One of the classes, or a finite number."""
    world.log([Prediction()])
    write(world, f"p-1,{label},2013-04-08T01:00:00Z,0\n")
    classes = {"classes": CLASSES} if task == "multiclass" else {}
    measure = "accuracy" if task == "multiclass" else "mean_error"

    report = world.run(LATER, task=task, measures=[measure], **classes)

    assert report.invalid == {reason: 1}


def test_counts_by_reason_are_metrics(world: World) -> None:
    """Whoever sees a value fall sees beside it what it no longer rests on."""
    world.log([Prediction(), Prediction(id="p-2", score=1.5)])
    world.label([Fact(), Fact(id="p-2"), Fact(label=None)])
    with Receiver() as receiver:
        with Evaluator(world.evaluation(measures=["log_loss"]), environ=receiver.environment) as evaluator:
            evaluator.run(as_of=LATER)
        found = {(point.metric, point.attributes.get("reason")): point.value for point in receiver.points}

    assert found["ml.labels.invalid", "no_label"] == 1
    assert found["ml.evaluation.left_out", "score_outside_0_1"] == 1


def test_a_backfill_counts_nothing_twice(world: World) -> None:
    """Windows that are computed again are counted again, and what they had counted is taken back."""
    world.log([Prediction(), Prediction(id="p-2", score=1.5)])
    world.label([Fact(), Fact(id="p-2")])
    before = world.run(LATER, measures=["log_loss"])

    with Evaluator(world.evaluation(measures=["log_loss"]), environ={}) as evaluator:
        after = evaluator.backfill(START, START + DAY)

    assert before.left_out == after.left_out == {"score_outside_0_1": 1}


def test_a_measure_that_is_added_counts_what_it_leaves_out(world: World) -> None:
    """From the first window on, and nothing that was counted before twice."""
    world.log([Prediction(), Prediction(id="p-2", score=1.5, prediction=None)])
    world.label([Fact(), Fact(id="p-2")])
    before = world.run(LATER, measures=["accuracy", "prevalence"])

    after = world.run(LATER, measures=["accuracy", "prevalence", "log_loss"])
    without = world.run(LATER, measures=["log_loss"])

    assert before.left_out == {"prediction_missing": 1}
    assert after.left_out == {"prediction_missing": 1, "score_outside_0_1": 1}
    assert without.left_out == {"score_outside_0_1": 1}


@pytest.mark.parametrize(
    ("task", "labels", "reasons"),
    [
        ("binary", [], {"no_rows"}),
        ("binary", ["true", "true"], {"one_class", "no_negatives", "zero_denominator"}),
        ("binary", ["false", "false"], {"one_class", "no_positives", "zero_denominator"}),
        ("regression", [], {"no_rows"}),
        ("regression", ["0", "0"], {"no_rows", "constant_label", "zero_denominator"}),
        ("multiclass", [], {"no_rows"}),
        ("multiclass", ["cat", "cat"], {"no_rows", "zero_denominator"}),
    ],
)
def test_what_is_undefined_is_counted_and_not_given(
    tmp_path: Path, task: str, labels: list[str], reasons: set[str]
) -> None:
    """No label, one class, zero denominators: every measure has a finite value, or is counted by its reason."""
    decided: Any = {"binary": True, "regression": 0.0, "multiclass": "cat"}[task]
    world = World(tmp_path)
    ids = ["p-0", "p-1"]
    world.log([Prediction(id=each, prediction=decided) for each in ids], schema=segment(task))
    write(world, "".join(f"{each},{label},2013-04-08T01:00:00Z,0\n" for each, label in zip(ids, labels, strict=False)))
    classes = CLASSES if task == "multiclass" else []
    # quantile forecasts need fields of their own, and scores of classes a log that has them
    names = [
        name
        for name, measure in measures_for(task, classes).items()
        if all(column in SEGMENT.names or column == "label" for column in measure.columns())
    ]

    report = world.run(LATER, task=task, measures=names, **({"classes": classes} if classes else {}))

    assert all(math.isfinite(value.value) for value in report.values)
    assert len(report.values) + sum(report.undefined.values()) == len(names)
    assert set(report.undefined) <= reasons
    assert report.undefined
