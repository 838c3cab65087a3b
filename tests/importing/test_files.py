"""Predictions in files of somebody else: taken over once, whatever their columns look like, and never read again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from otel_ml_metrics.binning import logit_bins
from otel_ml_metrics.errors import ConfigurationError, LogError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.importing import segments
from otel_ml_metrics.prediction_log.reader import log_files
from tests.evaluation import oracle
from tests.evaluation.material import DAY, HOUR, MODEL, START, Fact, Prediction, us
from tests.evaluation.oracle import Settings
from tests.evaluation.test_laws import agree
from tests.importing.material import NAMES, ForeignWorld

if TYPE_CHECKING:
    from pathlib import Path

    from otel_ml_metrics.evaluation_report import Report

LATER: Final = START + 4 * DAY


def predictions(first: int, end: int) -> list[Prediction]:
    """A prediction each hour."""
    return [
        Prediction(id=f"p-{row}", predicted_at=START + row * HOUR, score=row / 40, prediction=row % 2 == 0)
        for row in range(first, end)
    ]


def labels(first: int, end: int) -> list[Fact]:
    """Their labels, two hours later."""
    return [Fact(id=f"p-{row}", label=row % 3 == 0, received_at=START + (row + 2) * HOUR) for row in range(first, end)]


def equals_brute_force(world: ForeignWorld, as_of: datetime = LATER, settings: Settings | None = None) -> None:
    """See that the ledger says what the oracle says."""
    settings = settings or Settings()
    with Evaluator(world.evaluation(settings), environ={}) as evaluator:
        found = evaluator.as_of(as_of).values
    agree(found, oracle.values(world.predictions, world.facts, settings, us(as_of)))


def taken(world: ForeignWorld) -> pa.Table:
    """The log that was made, by id."""
    paths = log_files(world.evaluation().predictions, MODEL)
    tables = [parquet.read_table(path, partitioning=None) for path in paths]
    return pa.concat_tables(tables, promote_options="default").sort_by("prediction_id")


def put(world: ForeignWorld, name: str = "000000", **columns: Any) -> None:
    """Write a file of theirs by hand, with the columns of three good rows where nothing else is said."""
    good: dict[str, Any] = {
        "order_id": ["p-0", "p-1", "p-2"],
        "scored_at": pa.array([START] * 3, pa.timestamp("us", "UTC")),
        "probability": [0.1, 0.5, 0.9],
        "decided": [False, True, True],
        "release": ["1", "1", "1"],
        "arm": ["a", "a", "b"],
        "fare": [1.0, 2.0, 3.0],
    }
    folder = world.folder / "scores"
    folder.mkdir(exist_ok=True)
    chosen = {name: column for name, column in (good | columns).items() if column is not None}
    parquet.write_table(pa.table(chosen), folder / f"{name}.parquet")


# What is carried over


def test_what_the_evaluation_needs_is_carried_over(files: ForeignWorld) -> None:
    """Under our names, with the bins of the scores; what nobody needs stays where it is."""
    files.log(predictions(0, 3))

    files.run(LATER, slices=["carrier"])

    found = taken(files)
    assert set(found.column_names) == {
        *("prediction_id", "predicted_at", "version", "variant", "score", "prediction", "score_bin"),
        *("carrier", "fare"),
    }
    scores = found.column("score").to_numpy()
    assert found.column("score_bin").to_pylist() == logit_bins(scores).tolist()
    assert found.column("predicted_at").to_pylist() == [START + row * HOUR for row in range(3)]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("decided", [0, 1, 1]),
        ("decided", ["no", "yes", "true"]),
        ("decided", pa.array([0.0, 1.0, 1.0])),
        ("probability", ["0.1", "0.5", "0.9"]),
        ("probability", pa.array([0.1, 0.5, 0.9], pa.float32())),
        ("scored_at", ["2013-04-08T00:00:00Z", "2013-04-08 02:00:00+02:00", "2013-04-07T23:00:00.000-01:00"]),
        ("scored_at", pa.array([START] * 3, pa.timestamp("ns", "America/New_York"))),
        ("release", [1, 1, 1]),
        ("arm", pa.array(["a", "a", "b"]).dictionary_encode()),
        ("order_id", pa.array(["p-0", "p-1", "p-2"], pa.large_string())),
    ],
)
def test_values_may_have_any_type_that_says_the_same(files: ForeignWorld, column: str, values: Any) -> None:
    """Nobody has to write their logs anew for this."""
    put(files, "plain")
    plain = files.run(LATER, ledger=f"sqlite:///{files.folder}/plain.db", predictions=into(files, "plain"))
    (files.folder / "scores" / "plain.parquet").unlink()
    put(files, "other", **{column: values})

    other = files.run(LATER, predictions=into(files, "other"))

    assert other.values == plain.values
    assert taken_into(files, "other").column("score").to_pylist() == pytest.approx([0.1, 0.5, 0.9])


def into(world: ForeignWorld, name: str) -> dict[str, Any]:
    """The same predictions, taken over into another folder."""
    return world.foreign | {"into": str(world.folder / name)}


def taken_into(world: ForeignWorld, name: str) -> pa.Table:
    """The log in that folder."""
    tables = [parquet.read_table(path, partitioning=None) for path in log_files(world.folder / name, MODEL)]
    return pa.concat_tables(tables, promote_options="default").sort_by("prediction_id")


def test_ids_may_be_numbers(files: ForeignWorld) -> None:
    """As they are in labels."""
    put(files, order_id=[17, 18, 19])
    folder = files.folder / "labels"
    folder.mkdir()
    (folder / "a.csv").write_text("prediction_id,label,received_at\n17,true,2013-04-08T01:00:00Z\n")

    report = files.run(LATER, labels={"path": str(folder)})

    assert report.labels["matched"] == 1


def test_naive_instants_have_the_declared_zone(files: ForeignWorld) -> None:
    """Half past two in Berlin in April is half past midnight UTC; without a zone they are refused."""
    naive = pa.array([datetime(2013, 4, 8, 2, 30)] * 3, pa.timestamp("us"))  # noqa: DTZ001  # that is the point
    put(files, scored_at=naive)

    with pytest.raises(LogError, match=r"column 'scored_at' of .*scores have no time zone.*zone: UTC"):
        files.run(LATER)
    files.run(LATER, predictions=files.foreign | {"zone": "Europe/Berlin"})

    assert taken(files).column("predicted_at").to_pylist() == [START + timedelta(minutes=30)] * 3


def test_texts_without_a_zone_are_refused(files: ForeignWorld) -> None:
    """They name no moment either."""
    put(files, scored_at=["2013-04-08 02:30:00"] * 3)

    with pytest.raises(LogError, match="have no time zone"):
        files.run(LATER)


def test_rows_that_name_no_prediction_are_left_out(files: ForeignWorld) -> None:
    """And told once, with the run that met them."""
    put(files, order_id=["p-0", None, ""], scored_at=["2013-04-08T00:00:00Z", "2013-04-08T00:00:00Z", "yesterday"])
    put(files, "b", scored_at=["2013-04-08T00:00:00Z", "soon", None], order_id=["p-3", "p-4", "p-5"])

    reports = [files.run(LATER), files.run(LATER)]

    assert len(taken(files)) == 2
    assert [len(report.warnings) for report in reports] == [2, 0]
    assert "2 rows of " in reports[0].warnings[0]
    assert "have no id and were left out" in reports[0].warnings[0]
    assert "have no instant" in reports[0].warnings[1]


def test_a_column_of_the_same_name_needs_no_mapping(files: ForeignWorld) -> None:
    """Only what is called otherwise has to be said."""
    put(files, probability=None, score=[0.1, 0.5, 0.9], release=None, version=["1", "1", "2"])
    named = {name: files.foreign[name] for name in ("path", "id", "predicted_at", "prediction")}

    files.run(LATER, predictions=named)

    assert taken(files).column("version").to_pylist() == ["1", "1", "2"]
    assert taken(files).column("score").to_pylist() == [0.1, 0.5, 0.9]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"score": "probabilty"}, r"has no column 'probabilty' for predictions\.score\. Did you mean 'probability'"),
        ({"id": "oder_id"}, r"for predictions\.id\. Did you mean 'order_id'"),
        ({"predicted_at": "fare"}, r"The column 'fare' of .* has the type DOUBLE; expected an instant"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(files: ForeignWorld, given: dict[str, str], told: str) -> None:
    """With what would have; nothing is done."""
    put(files)

    with pytest.raises(LogError, match=told):
        files.run(LATER, predictions=files.foreign | given)

    assert files.run(LATER).ledger_version == 1


def test_one_score_per_class_is_carried_over(files: ForeignWorld) -> None:
    """Of a model that chooses among several."""
    put(files, decided=["cat", "dog", "dog"], probability=[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    folder = files.folder / "labels"
    folder.mkdir()
    rows = "".join(f"p-{row},{label},2013-04-08T01:00:00Z\n" for row, label in enumerate(("cat", "dog", "cat")))
    (folder / "a.csv").write_text(f"prediction_id,label,received_at\n{rows}")
    asked = {"task": "multiclass", "classes": ["cat", "dog"], "measures": ["accuracy", "log_loss"], "by": []}

    report = files.run(LATER, labels={"path": str(folder)}, **asked)

    found = {value.measure: value.value for value in report.values}
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.6]).mean(), abs=1e-9)


@pytest.mark.parametrize("decided", [[["cat", "dog"], [], ["dog"]], ["cat|dog", "|", "dog"]], ids=["lists", "texts"])
def test_sets_of_classes_are_carried_over(files: ForeignWorld, decided: Any) -> None:
    """Of a model that chooses any number of them, however their log writes that."""
    put(files, decided=decided, probability=[[0.5, 0.5]] * 3)
    folder = files.folder / "labels"
    folder.mkdir()
    rows = "".join(f"p-{row},{label},2013-04-08T01:00:00Z\n" for row, label in enumerate(("dog|cat", "dog", "dog")))
    (folder / "a.csv").write_text(f"prediction_id,label,received_at\n{rows}")
    asked = {"task": "multilabel", "classes": ["cat", "dog"], "measures": ["subset_accuracy", "hamming_loss"], "by": []}

    report = files.run(LATER, labels={"path": str(folder)}, **asked)

    assert {value.measure: value.value for value in report.values} == pytest.approx(
        {"subset_accuracy": 2 / 3, "hamming_loss": 1 / 6}
    )
    assert {value.support for value in report.values} == {3}


def test_a_column_of_lists_is_no_score(files: ForeignWorld) -> None:
    """One number per class is more than a binary task can judge."""
    put(files, probability=[[0.1, 0.9]] * 3)

    with pytest.raises(LogError, match=r"column 'probability' of .* has the type DOUBLE\[\]; expected a number"):
        files.run(LATER)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"slices": ["fares"]}, r"slices: .* has no column 'fares'\. Did you mean 'fare'"),
        ({"predictions": {"score": None}, "measures": ["log_loss"]}, r"measures: .* Name it, as in .*\{score: "),
    ],
)
def test_a_field_that_they_lack_is_refused(files: ForeignWorld, given: dict[str, Any], told: str) -> None:
    """Before anything is taken over."""
    put(files)
    predictions = files.foreign | given.get("predictions", {})

    with pytest.raises(ConfigurationError, match=told):
        files.run(LATER, **given | {"predictions": predictions})

    assert not list(files.folder.glob("*-predictions/*/dt=*"))


def test_a_field_that_only_some_files_have_is_missing_in_the_others(files: ForeignWorld) -> None:
    """Logs grow columns."""
    put(files, "a")
    put(files, "b", order_id=["q-0", "q-1", "q-2"], carrier=["UA", "UA", "B6"])
    files.label([Fact(id=each) for each in ("p-0", "p-1", "q-0", "q-2")])

    report = files.run(LATER, slices=["carrier"], measures=["accuracy"], by=[])

    assert {value.slice.get("carrier"): value.support for value in report.values} == {
        None: 4,
        "(missing)": 2,
        "UA": 1,
        "B6": 1,
    }


def test_many_rows_become_few_segments(files: ForeignWorld) -> None:
    """More than are kept in memory at a time; each row once."""
    rows = segments.MOST_ROWS + 200_000
    put(
        files,
        order_id=pa.array([f"p-{row}" for row in range(rows)]),
        scored_at=pa.array(np.full(rows, us(START)), pa.timestamp("us", "UTC")),
        probability=pa.array(np.linspace(0, 1, rows)),
        decided=pa.array(np.arange(rows) % 2 == 0),
        release=["1"] * rows,
        arm=["a"] * rows,
        fare=pa.array(np.ones(rows)),
    )

    report = files.run(
        LATER, measures=[{"name": "n", "unit": "USD", "sum": "fare", "rows": "predictions", "description": "All"}]
    )

    assert [value.value for value in report.values] == [rows]
    assert len(log_files(files.evaluation().predictions, MODEL)) == 2


# Only what is new


def test_a_file_is_read_once(files: ForeignWorld) -> None:
    """What was taken over may be deleted at its source."""
    files.log(predictions(0, 20))
    files.label(labels(0, 40))
    files.run(START + DAY)
    for path in (files.folder / "scores").iterdir():
        path.unlink()
    files.log(predictions(20, 40))

    files.run(LATER)

    assert len(taken(files)) == 40
    equals_brute_force(files)


def test_predictions_that_come_late_change_coverage(files: ForeignWorld) -> None:
    """As they do in our own log."""
    files.log(predictions(0, 10))
    files.label(labels(0, 20))
    files.run(LATER)

    files.log(predictions(10, 20))
    files.run(LATER)

    equals_brute_force(files)


def test_a_file_that_changes_after_it_was_taken_is_told(files: ForeignWorld) -> None:
    """What changed is not used; the warning says how to begin anew. A new stamp alone is no change."""
    files.log(predictions(0, 10))
    files.run(LATER)
    path = next((files.folder / "scores").iterdir())
    content = path.read_bytes()
    path.write_bytes(content)
    touched = files.run(LATER).warnings
    path.write_bytes(files.write(predictions(0, 9), name="aside").read_bytes())
    (files.folder / "scores" / "aside.parquet").unlink()

    report = files.run(LATER)

    assert touched == ()
    assert "000000.parquet changed after its predictions were taken over" in report.warnings[0]
    assert "another ledger" in report.warnings[0]
    assert len(taken(files)) == 10


def test_half_a_file_is_refused_and_taken_when_it_is_whole(files: ForeignWorld) -> None:
    """What came before it is kept."""
    files.log(predictions(0, 10))
    files.label(labels(0, 20))
    files.run(START + 12 * HOUR)
    files.log(predictions(10, 20))
    path = max((files.folder / "scores").iterdir())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(LogError, match=rf"{path.name} cannot be read: .*rename it when it is whole"):
        files.run(LATER)
    path.write_bytes(whole)
    files.run(LATER)

    equals_brute_force(files)


def test_nothing_yet_is_no_error(files: ForeignWorld) -> None:
    """A service may start tomorrow."""
    report = files.run(LATER)

    assert (report.values, report.warnings) == ((), ())


def test_a_query_about_the_past_takes_nothing_over(files: ForeignWorld) -> None:
    """Nor does looking at what was final."""
    files.log(predictions(0, 10))
    files.run(LATER)
    files.log(predictions(10, 20))

    report = files.run(START + DAY)

    assert report.read_only
    assert len(taken(files)) == 10


# What must stay the same


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"score": "fare"}, r"columns was .*'score': 'probability'.* and is .*'score': 'fare'"),
        ({"zone": "UTC"}, "zone was None and is 'UTC'"),
        ({"sample": 0.5}, "sample was 1.0 and is 0.5"),
    ],
)
def test_another_mapping_needs_another_folder(files: ForeignWorld, given: dict[str, Any], told: str) -> None:
    """Half a log under one mapping and half under another would be none."""
    files.log(predictions(0, 10))
    files.run(LATER, ledger=f"sqlite:///{files.folder}/one.db")

    with pytest.raises(LogError, match=f"{told}.*another ledger"):
        files.run(LATER, ledger=f"sqlite:///{files.folder}/two.db", predictions=files.foreign | given)


def test_a_field_that_was_not_carried_over_needs_another_folder(files: ForeignWorld) -> None:
    """In the rows that were taken it would be missing for ever."""
    files.log(predictions(0, 10))
    files.run(LATER)

    with pytest.raises(LogError, match="the field 'origin' was not carried over"):
        files.run(LATER, slices=["origin"])

    assert files.run(LATER).warnings == ()


def test_a_field_that_is_no_longer_needed_goes_on(files: ForeignWorld) -> None:
    """One day it may be needed again."""
    files.log(predictions(0, 10))
    files.run(START + DAY, slices=["carrier"])
    files.log(predictions(10, 20))
    files.run(START + 2 * DAY)

    files.run(LATER, slices=["carrier"])

    assert taken(files).column("carrier").null_count == 0
    assert len(taken(files)) == 20


def test_the_folder_may_move(files: ForeignWorld, tmp_path: Path) -> None:
    """Files are known by their names in it."""
    files.log(predictions(0, 10))
    files.run(LATER)
    (files.folder / "scores").rename(tmp_path / "moved")

    report = files.run(LATER, predictions=files.foreign | {"path": str(tmp_path / "moved" / "*.parquet")})

    assert report.warnings == ()
    assert len(taken(files)) == 10


# Settings


def test_the_log_lies_beside_the_ledger(files: ForeignWorld) -> None:
    """Unless another folder is named."""
    beside = files.evaluation(name="shop/delays").predictions
    named = files.evaluation(predictions=files.foreign | {"into": "elsewhere"}).predictions

    assert beside == f"{files.folder}/shop%2Fdelays-predictions"
    assert named == "elsewhere"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"id": None}, r"predictions: .*expected id: as well"),
        ({"path": None}, r"predictions: .*expected path: as well"),
        ({"scores": "x"}, r"predictions\.scores: 'scores' is not known here. Did you mean 'score'"),
        ({"sample": 0}, r"predictions\.sample: found 0, expected a share above 0"),
        ({"sample": 1.5}, r"predictions\.sample: found 1.5"),
        ({"zone": "Mars"}, r"predictions\.zone"),
        ({"table": "scores"}, r"predictions\.table: 'table' is not known here"),
        ({"url": "postgresql://h/x"}, r"predictions\.path: 'path' is not known here"),
    ],
)
def test_settings_that_cannot_work_are_refused(files: ForeignWorld, given: dict[str, Any], told: str) -> None:
    """At set-up, with what was expected."""
    settings = {name: value for name, value in (files.foreign | given).items() if value is not None}

    with pytest.raises(ConfigurationError, match=told):
        files.evaluation(predictions=settings)


def test_a_ledger_on_a_server_needs_a_folder_for_the_log(files: ForeignWorld) -> None:
    """There is nothing to put it beside."""
    with pytest.raises(ConfigurationError, match=r"predictions\.into: .*such as into: data/predictions"):
        files.evaluation(ledger="postgresql+psycopg://reader@host/ledger")


def test_a_file_says_what_code_says(files: ForeignWorld) -> None:
    """Relative paths start at its folder."""
    files.log(predictions(0, 10))
    files.label(labels(0, 10))
    mapping = ", ".join(f"{ours}: {name}" for ours, name in NAMES.items())
    path = files.folder / "monitoring.yaml"
    path.write_text(
        f"model: {MODEL}\npredictions: {{path: scores, {mapping}, into: log}}\nlabels: {{path: labels}}\n"
        "ledger: sqlite:///other.db\nattribution_window: 1d\nmeasures: [accuracy]\n"
    )

    by_code = files.run(LATER, measures=["accuracy"])
    with Evaluator(files.evaluation().from_file(path), environ={}) as evaluator:
        by_file: Report = evaluator.run(as_of=LATER)

    assert by_file.values == by_code.values
    assert list((files.folder / "log").glob("*/dt=*/s-import-*.parquet"))
