"""Exact measures through the evaluator: which rows they are given, when they are computed, and what is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from sklearn import metrics

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.errors import ConfigurationError, LedgerMismatchError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.measures.exact import exact_measure
from otel_ml_metrics.semconv import REASON
from otel_ml_metrics.telemetry.receiver import Receiver
from tests.evaluation.callables import middle_gap
from tests.evaluation.material import DAY, HOUR, INSTANT, SEGMENT, START, Fact, Prediction, World
from tests.maintenance.material import final, keep, live
from tests.maintenance.material import run as run_retaining

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from otel_ml_metrics.evaluation_report import Value
    from otel_ml_metrics.measures.exact import Exact

END: Final = START + 30 * DAY
FACTS: Final = {"unit": "1", "description": "Text"}


def exact(given: Any, name: str = "mine", **facts: Any) -> Exact:
    """An exact measure declared in code."""
    return exact_measure(name, exact=given, **FACTS | facts)


def by_measure(values: Iterable[Value]) -> dict[str, dict[tuple[Any, ...], Value]]:
    """The values of each measure, by what they are of."""
    found: dict[str, dict[tuple[Any, ...], Value]] = {}
    for value in values:
        place = (value.window_start, value.maturity, value.version, tuple(value.slice.items()))
        found.setdefault(value.measure, {})[place] = value
    return found


class Counting:
    """A measure that notes how many rows it was given, and may die."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.is_deadly = False

    def __call__(self, label: NDArray[Any], score: NDArray[np.float64]) -> float:
        """The mean of the scores."""
        if self.is_deadly:
            raise KeyboardInterrupt
        self.calls.append(len(label))
        return float(score.mean())


@pytest.fixture
def days(world: World) -> World:
    """Three days of predictions and labels, some of them revised."""
    live([world], range(3))
    return world


def test_the_log_loss_of_scikit_learn_is_ours(days: World) -> None:
    """By name, by place, as a function and as a scorer: at every maturity and slice what the sums say."""
    forms = {"name": "log_loss", "place": "sklearn.metrics:log_loss", "code": metrics.log_loss, "score": "neg_log_loss"}
    declared = ["log_loss", *(FACTS | {"name": name, "exact": form} for name, form in forms.items())]

    report = days.run(END, measures=declared, maturities=["6h"], slices=["carrier"])

    found = by_measure(report.values)
    ours = found.pop("log_loss")
    assert {place[1] for place in ours} == {"6h", "1d"}
    assert found.keys() == forms.keys()
    for name, values in found.items():
        assert values.keys() == ours.keys()
        for place, value in values.items():
            sign = -1 if name == "score" else 1
            assert sign * value.value == pytest.approx(ours[place].value, abs=1e-9)
            assert (value.support, value.coverage) == (ours[place].support, ours[place].coverage)


def test_a_keras_metric_class_gives_our_root_mean_squared_error(tmp_path: Path) -> None:
    """Written as the pattern writes it, with `squared_sum` and `total_count`; in regression it is given predictions."""
    world = World(tmp_path, task="regression")
    for day in range(2):
        rows = [Prediction(id=f"p-{day}-{at}", predicted_at=START + day * DAY, prediction=at * 1.5) for at in range(9)]
        world.log(rows)
        world.label([Fact(id=row.id, label=7.0 - at, received_at=START + 3 * DAY) for at, row in enumerate(rows)])
    place = "tests.measures.test_exact:RootMeanSquaredError"

    report = world.run(
        END,
        task="regression",
        measures=["root_mean_squared_error", FACTS | {"name": "mine", "exact": place}],
        attribution_window="5d",
    )

    found = by_measure(report.values)
    assert len(found["mine"]) == 2
    assert [value.value for value in found["mine"].values()] == pytest.approx(
        [value.value for value in found["root_mean_squared_error"].values()]
    )


def test_scores_of_several_classes_come_as_a_table(tmp_path: Path) -> None:
    """Beside them the label is the place of its class; beside decisions it is the name."""
    classes = ["dog", "cat", "ant"]
    chance = np.random.default_rng(5)
    scores, truth = chance.dirichlet([1.0, 1.0, 1.0], 40), chance.integers(0, 2, 40)
    schema = SEGMENT.set(SEGMENT.get_field_index("prediction"), pa.field("prediction", pa.string()))
    schema = schema.set(schema.get_field_index("score"), pa.field("score", pa.list_(pa.float64())))
    names = [classes[at] for at in scores.argmax(axis=1)]
    columns: dict[str, list[Any]] = dict.fromkeys(schema.names, [None] * 40) | {
        "prediction_id": [f"p-{at:02}" for at in range(40)],
        "predicted_at": [START] * 40,
        "score": scores.tolist(),
        "prediction": names,
    }
    labels = {
        "prediction_id": columns["prediction_id"],
        "label": [classes[at] for at in truth],
        "received_at": [START + HOUR] * 40,
    }
    _write(tmp_path / "predictions/model=flight-delay/dt=2013-04-08/s-1-1.parquet", pa.table(columns, schema))
    _write(tmp_path / "labels/1.parquet", pa.table(labels).cast(_texts(labels)))
    declared: list[Any] = [
        "accuracy",
        "log_loss",
        FACTS | {"name": "loss", "exact": "log_loss"},
        FACTS | {"name": "right", "exact": "accuracy_score"},
    ]

    report = Evaluator(
        Evaluation(
            model="flight-delay",
            task="multiclass",
            classes=classes,
            predictions=tmp_path / "predictions",
            labels={"path": str(tmp_path / "labels")},
            ledger=f"sqlite:///{tmp_path}/ledger.db",
            attribution_window="1d",
            measures=declared,
        ),
        environ={},
    ).run(as_of=END)

    found = {value.measure: (value.value, value.support) for value in report.values}
    assert found["loss"] == pytest.approx(found["log_loss"])
    assert found["right"] == pytest.approx(found["accuracy"])


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True)
    parquet.write_table(table, path)


def _texts(columns: dict[str, Any]) -> pa.Schema:
    return pa.schema([pa.field(name, INSTANT if name == "received_at" else pa.string()) for name in columns])


def test_only_windows_that_new_input_touched_are_computed_anew(days: World) -> None:
    """A run reads the rows of no other; what it does not compute, it remembers and goes on sending."""
    counting = Counting()
    days.run(END, measures=[exact(counting)])
    first, counting.calls = counting.calls, []
    days.label([Fact(id="p-late", received_at=START)])
    late = Prediction(id="p-late", predicted_at=START + 2 * DAY, score=0.25)
    days.log([late])

    with Receiver() as receiver:
        evaluation = days.evaluation(measures=[exact(counting)], attribution_window="1d")
        with Evaluator(evaluation, environ=receiver.environment) as evaluator:
            evaluator.run(as_of=END)
            again = evaluator.as_of(END)

    assert len(first) == 3
    assert counting.calls == [first[2] + 1]
    assert len(again.values) == 3


def test_labels_that_change_no_sum_change_what_is_no_sum(world: World) -> None:
    """Two labels that swap leave every count as it was."""
    for number, score in enumerate((0.9, 0.4)):
        world.log([Prediction(id=f"p-{number}", score=score)])
        world.label([Fact(id=f"p-{number}", label=number == 0)])
    measures = [exact("roc_auc")]
    first = world.run(END, measures=measures)
    world.label([Fact(id=f"p-{number}", label=number == 1, received_at=START + 2 * HOUR) for number in range(2)])

    second = world.run(END, measures=measures)

    assert [value.value for value in (*first.values, *second.values)] == [1.0, 0.0]


def test_rows_come_by_id_and_without_gaps(world: World) -> None:
    """Whatever order they were logged in; a row without a score is left out, and support says so."""
    seen: list[list[float]] = []
    scores = {"p-3": 0.3, "p-1": 0.1, "p-4": None, "p-2": 0.2}
    for name, score in scores.items():
        world.log([Prediction(id=name, score=score)])
    world.label([Fact(id=name) for name in scores])

    def noting(label: NDArray[Any], score: NDArray[Any]) -> float:
        seen.append(score.tolist())
        return float(label.sum())

    report = world.run(END, measures=[exact(noting)])

    assert seen == [[0.1, 0.2, 0.3]]
    assert [(value.value, value.support, value.coverage) for value in report.values] == [(3.0, 3, 1.0)]


def test_what_raises_is_undefined_and_stops_nothing(days: World) -> None:
    """It is counted by what it raised, no point is made, and the other measures are told."""
    with Receiver() as receiver:
        evaluation = days.evaluation(measures=["accuracy", exact(lambda _label, _score: 1 / 0)], timestamps="event")
        with Evaluator(evaluation, environ=receiver.environment) as evaluator:
            report = evaluator.run(as_of=END)

        assert report.undefined == {"raised_ZeroDivisionError": 3}
        assert by_measure(report.values).keys() == {"accuracy"}
        names = {point.metric for point in receiver.points}
        assert "ml.evaluation.mine" not in names
        [counted] = [point for point in receiver.points if point.metric == "ml.evaluation.undefined"]
        assert (counted.attributes[REASON], counted.value) == ("raised_ZeroDivisionError", 3)


@pytest.mark.parametrize("timestamps", ["emit", "event"])
def test_points_are_those_of_any_measure(days: World, timestamps: str) -> None:
    """Name, unit, description, attributes and time; with support and coverage beside them."""
    measures = ["log_loss", exact("log_loss", unit="{nat}", description="Mean surprise")]
    with Receiver() as receiver:
        evaluation = days.evaluation(measures=measures, timestamps=timestamps)
        with Evaluator(evaluation, environ=receiver.environment) as evaluator:
            evaluator.run(as_of=START + 4 * DAY)

        ours, mine = (
            sorted(
                (point.time_unix_nano, sorted(point.attributes.items()), pytest.approx(point.value))
                for point in receiver.points
                if point.metric == f"ml.evaluation.{name}"
            )
            for name in ("log_loss", "mine")
        )
        assert len(mine) == (3 if timestamps == "event" else 1)
        assert [each[1:] for each in mine] == [each[1:] for each in ours]
        told = {(each.unit, each.description) for each in receiver.points if each.metric == "ml.evaluation.mine"}
        assert told == {("{nat}", "Mean surprise")}


def test_a_run_that_died_is_repeated_with_the_same_values(days: World) -> None:
    """It dies in the middle of the measure; nothing was committed, and the next run says everything."""
    counting = Counting()
    with Evaluator(days.evaluation(measures=[exact(counting)]), environ={}) as evaluator:
        counting.is_deadly = True
        with pytest.raises(KeyboardInterrupt):
            evaluator.run(as_of=END)
        counting.is_deadly = False

        tried = evaluator.run(as_of=END, dry_run=True)
        report = evaluator.run(as_of=END)
        again = evaluator.run(as_of=END)

    assert len(report.values) == 3
    assert tried.values == report.values == evaluator_of(days, counting)
    assert (report.ledger_version, again.values) == (1, ())


def evaluator_of(world: World, counting: Counting) -> tuple[Value, ...]:
    """What is final."""
    with Evaluator(world.evaluation(measures=[exact(counting)]), environ={}) as evaluator:
        return evaluator.as_of(END).values


def test_a_measure_that_is_added_fills_the_windows_that_are_final(days: World) -> None:
    """As one made of sums does; from then on another callable of its name is refused."""
    days.run(END, measures=["accuracy"])

    report = days.run(END, measures=["accuracy", exact("log_loss")])

    assert len(by_measure(report.values)["mine"]) == 3
    with pytest.raises(LedgerMismatchError, match="'mine' has another expression"):
        days.run(END, measures=["accuracy", exact("roc_auc")])


def test_a_backfill_believes_what_labels_say_now(world: World) -> None:
    """And its history has both values."""
    world.log([Prediction(id="p-1", score=0.25), Prediction(id="p-2", score=0.25)])
    for is_late in (False, True):
        world.label([Fact(id="p-1", label=is_late), Fact(id="p-2", label=is_late)], name="rewritten")
        if not is_late:
            world.run(END, measures=[exact(middle_gap)])

    with Evaluator(world.evaluation(measures=[exact(middle_gap)]), environ={}) as evaluator:
        report = evaluator.backfill(START, START + DAY)
        moves = evaluator.history().moves

    assert [(move.event, move.before, move.value) for move in moves] == [("final", None, 0.25), ("revised", 0.25, 0.75)]
    assert [value.value for value in report.values] == [0.75]


def test_the_last_value_of_retired_rows_stands(tmp_path: Path) -> None:
    """Of a window that cannot be computed any more, it is what it was, and is marked; the others go on."""
    world = World(tmp_path)
    live([world], range(9))
    last, measures = START + 9 * DAY, ["log_loss", exact("log_loss")]
    run_retaining(world, last, measures=measures)
    before = by_measure(final(world, last, measures=measures).values)["mine"]
    keep(world, last, settings={"measures": measures})
    world.label([Fact(id="p-new", received_at=START + 8 * DAY)])
    world.log([Prediction(id="p-new", predicted_at=START + 7 * DAY, score=0.5)])
    run_retaining(world, last + DAY, measures=measures)

    after = by_measure(final(world, last, measures=measures).values)["mine"]

    kept = START + 5 * DAY
    assert {place: value.value for place, value in after.items() if place[0] < kept} == {
        place: value.value for place, value in before.items() if place[0] < kept
    }
    assert {value.retired for place, value in after.items() if place[0] < kept} == {True}
    assert {value.retired for place, value in after.items() if place[0] >= kept} == {False}
    assert {place[0] for place, value in after.items() if value.value != before[place].value} == {START + 7 * DAY}


def test_retired_windows_know_the_measures_of_their_time(tmp_path: Path) -> None:
    """What was left out when they were retired comes back for the others only."""
    world = World(tmp_path)
    live([world], range(9))
    last, with_it = START + 9 * DAY, {"measures": ["accuracy", exact("log_loss")]}
    run_retaining(world, last, **with_it)
    without = {"measures": ["accuracy"]}
    run_retaining(world, last, **without)
    keep(world, last, settings=without)

    run_retaining(world, last, **with_it)

    found = by_measure(final(world, last, **with_it).values)
    assert {place[0] for place in found["accuracy"]} > {place[0] for place in found["mine"]}
    assert min(place[0] for place in found["mine"]) == START + 5 * DAY


def test_where_rows_are_gone_values_stand_and_that_is_said(days: World) -> None:
    """Somebody deleted segments: sums go on, what needs the rows cannot, and the run does not fail for it."""
    measures = ["accuracy", exact("log_loss")]
    first = days.run(END, measures=measures)
    for segment in (days.folder / "predictions").rglob("dt=2013-04-09/*.parquet"):
        segment.unlink()
    days.log([Prediction(id="p-late", predicted_at=START + DAY)])
    days.label([Fact(id="p-late", received_at=START + DAY)])

    report = days.run(END, measures=measures)

    [told] = report.warnings
    assert "is gone, so the exact measures of the window from 2013-04-09T00:00:00Z" in told
    before = by_measure(first.values)["mine"]
    with Evaluator(days.evaluation(measures=measures), environ={}) as evaluator:
        after = by_measure(evaluator.as_of(END).values)["mine"]
    assert {place: value.value for place, value in after.items()} == {
        place: value.value for place, value in before.items()
    }


@pytest.mark.parametrize("by_code", [False, True])
def test_weights_reach_what_takes_them(world: World, by_code: bool) -> None:
    """Weights of 2 are rows twice; a row without a weight takes no part."""
    rows = [
        Prediction(id=f"p-{at}", score=(at + 1) / 7, weight=weight)
        for at, weight in enumerate((2.0, 1.0, None, 3.0, 2.0))
    ]
    world.log(rows)
    world.label([Fact(id=row.id, label=at % 2 == 0) for at, row in enumerate(rows)])
    declared = exact("log_loss") if by_code else FACTS | {"name": "mine", "exact": "log_loss"}

    report = world.run(END, measures=["log_loss", declared], weighted=True)

    ours, mine = report.values
    assert mine.value == pytest.approx(ours.value)
    assert mine.support == ours.support == 4


def test_what_takes_no_weights_is_refused_where_rows_are_weighted(world: World) -> None:
    """Nothing unweighted stands beside weighted values unless somebody said so."""
    declared = FACTS | {"name": "mine", "exact": "tests.evaluation.callables:middle_gap"}

    with pytest.raises(
        ConfigurationError, match=r"measures\[0\].weighted: 'mine' is to be weighted, but .*no parameter"
    ):
        world.evaluation(measures=[declared], weighted=True)
    assert not world.evaluation(measures=[declared | {"weighted": False}], weighted=True).exact[0].weighted


def test_slices_that_are_folded_are_one_to_an_exact_measure(world: World) -> None:
    """Their rows come together, by id, whichever slice they are of; the slices that are told apart have theirs."""
    seen: list[list[float]] = []
    for number, carrier in enumerate(["UA", "B6", "AA", "UA", "B6", "UA"]):
        world.log([Prediction(id=f"p-{number}", score=number / 8, carrier=carrier)])
        world.label([Fact(id=f"p-{number}")])

    def noting(label: NDArray[Any], score: NDArray[Any]) -> float:
        seen.append(score.tolist())
        return float(label.sum())

    report = world.run(END, measures=[exact(noting)], slices=[{"field": "carrier", "top": 1}])

    values = {tuple(value.slice.values()): value.value for value in report.values}
    assert values == {(): 6.0, ("UA",): 3.0, ("(other)",): 3.0}
    assert [0.125, 0.25, 0.5] in seen


def test_too_few_rows_have_no_exact_value(world: World) -> None:
    """Whatever the callable says of them."""
    world.log([Prediction()])
    world.label([Fact()])

    report = world.run(END, measures=[exact(middle_gap)], minimum_support=2)

    assert report.values == ()
    assert report.undefined == {"support_below_minimum": 1}


def test_any_field_can_stand_beside_the_label(world: World) -> None:
    """One that the log does not have is refused with those that it has."""
    world.log([Prediction(id="p-1", fare=40.0), Prediction(id="p-2", fare=60.0)])
    world.label([Fact(id="p-1"), Fact(id="p-2")])

    report = world.run(END, measures=[exact(lambda _label, fare: fare.sum(), of="fare")])

    assert [value.value for value in report.values] == [100.0]
    with pytest.raises(ConfigurationError, match=r"has the field 'fair'\. Did you mean 'fare'"):
        World(world.folder, ledger=f"sqlite:///{world.folder}/other.db").run(
            END, measures=[exact(middle_gap, of="fair")]
        )
