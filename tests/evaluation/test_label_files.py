"""What happens to label files that are not as they should be, and to rows of them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pytest
from pyarrow import parquet

from otel_ml_metrics.errors import ConfigurationError, LabelSourceError
from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation.material import DAY, HOUR, INSTANT, SEGMENT, START, Fact, Prediction, World
from tests.evaluation.oracle import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

LATER: Final = START + 3 * DAY
HEADER: Final = "prediction_id,label,received_at,revision\n"


def logged(world: World, ids: Sequence[str] = ("p-1", "p-2", "p-3")) -> World:
    """A world whose log has these predictions."""
    world.log([Prediction(id=each) for each in ids])
    return world


def write(world: World, content: str, name: str = "a.csv") -> None:
    """Write a label file by hand."""
    folder = world.folder / "labels"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content)


def test_csv_says_the_same_as_parquet(tmp_path: Path) -> None:
    """The form of a file is no part of what it says."""
    facts = [Fact(id="p-1"), Fact(id="p-2", label=False), Fact(id="p-1", label=False, received_at=START + 2 * HOUR)]
    reports = []
    for form in ("csv", "parquet"):
        world = logged(World(tmp_path / form))
        world.label(facts, form=form)
        reports.append(world.run(LATER))

    assert reports[0].values == reports[1].values
    assert reports[0].labels == reports[1].labels


def test_a_file_without_a_column_is_refused_and_named(world: World) -> None:
    """A whole column that is missing is a wrong file or a wrong setting, whatever other files have."""
    logged(world).label([Fact()], name="good")
    wrong = pa.table({"prediction_id": ["p-2"], "late": [True], "received_at": pa.array([START], INSTANT)})
    parquet.write_table(wrong.append_column("revision", pa.array([0])), world.folder / "labels" / "wrong.parquet")

    with pytest.raises(LabelSourceError, match=r"wrong\.parquet has no column 'label'.*late"):
        world.run(LATER)


def test_half_a_parquet_file_is_refused_and_nothing_is_done(world: World) -> None:
    """The error names the file and says how to write it; once it is whole, the run works."""
    path = logged(world).label([Fact()])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(LabelSourceError, match=rf"{path.name} cannot be read as parquet.*rename it when it is whole"):
        world.run(LATER)
    path.write_bytes(whole)

    assert world.run(LATER).labels["matched"] == 1


def test_a_csv_file_that_ends_within_a_quote_is_refused(world: World) -> None:
    """Read on as if nothing were, its ids would keep their quotes and never find their predictions."""
    write(logged(world), f'{HEADER}"p-1",true,"2013-04-08T01:00:00Z",0\n"p-2')

    with pytest.raises(LabelSourceError, match=r"a\.csv cannot be read"):
        world.run(LATER)


def test_naive_instants_are_refused(world: World) -> None:
    """An instant without a zone names no moment, even if another file has zones."""
    logged(world).label([Fact()], name="zoned")
    naive = pa.table(
        {
            "prediction_id": ["p-2"],
            "label": [True],
            "received_at": pa.array([datetime(2013, 4, 8, 1)], pa.timestamp("us")),  # noqa: DTZ001  # that is the point
            "revision": [0],
        }
    )
    parquet.write_table(naive, world.folder / "labels" / "naive.parquet")

    with pytest.raises(LabelSourceError, match=r"naive\.parquet have no time zone.*zone: UTC"):
        world.run(LATER)


def test_a_declared_zone_is_that_of_naive_instants(world: World) -> None:
    """02:30 in Berlin in April is half past midnight UTC."""
    write(logged(world), f"{HEADER}p-1,true,2013-04-08 02:30:00,0\n")
    labels = {"path": str(world.folder / "labels"), "zone": "Europe/Berlin"}

    before = world.run(datetime(2013, 4, 8, 0, 29, tzinfo=UTC), labels=labels)
    then = world.run(datetime(2013, 4, 8, 0, 30, tzinfo=UTC), labels=labels)

    assert (before.labels["matched"], then.labels["matched"]) == (0, 1)


def test_an_unknown_zone_is_refused_at_set_up(world: World) -> None:
    """Not in the middle of the first run."""
    with pytest.raises(ConfigurationError, match=r"labels\.zone: 'Mars/Olympus' is no time zone"):
        world.evaluation(labels={"path": "labels", "zone": "Mars/Olympus"})


def test_bad_rows_are_counted_and_kept_aside(world: World) -> None:
    """One bad row stops nobody: the rest goes on, and the report names the file where the bad ones are."""
    rows = ["p-1,true,2013-04-08T01:00:00Z,0", "p-2,maybe,2013-04-08T01:00:00Z,0", ",true,2013-04-08T01:00:00Z,0"]
    rows += ["p-3,true,yesterday,0", "p-3,true"]
    write(logged(world), HEADER + "\n".join(rows) + "\n")

    report = world.run(LATER)
    again = world.run(LATER)

    assert (report.labels["matched"], report.labels["invalid"]) == (1, 4)
    assert report.rejected_rows_file is not None
    kept = Path(report.rejected_rows_file).read_text()
    assert [kept.count(problem) for problem in ("label outside classes", "no prediction id", "no instant")] == [1, 1, 2]
    assert (again.labels["invalid"], again.rejected_rows_file) == (4, None)


def test_a_label_from_before_all_dates_stops_nobody(world: World) -> None:
    """The search for its prediction must not leave the calendar."""
    logged(world).label([Fact()])
    world.run(LATER)
    world.label([Fact(id="p-2", received_at=datetime(1, 1, 1, tzinfo=UTC))])

    assert world.run(LATER).labels["matched"] == 2


@pytest.mark.parametrize("pattern", ["labels", "labels/*.parquet", "labels/000000.parquet"])
def test_folders_may_have_names_that_look_like_patterns(tmp_path: Path, pattern: str) -> None:
    """`flights [2013]` is a folder, and no set of characters."""
    world = logged(World(tmp_path / "flights [2013]*"))
    world.label([Fact()])

    report = world.run(LATER, labels={"path": str(world.folder / pattern)})

    assert report.labels["matched"] == 1


def test_a_file_that_changes_after_it_was_read_is_told(world: World) -> None:
    """What changed is not used, and the report says so."""
    logged(world).label([Fact()], name="a")
    world.run(LATER)
    world.label([Fact(), Fact(id="p-2")], name="a")

    report = world.run(LATER)

    assert report.labels["matched"] == 1
    assert "changed after it was read" in report.warnings[0]


def test_facts_after_as_of_are_invisible_now_and_there_later(world: World) -> None:
    """The file is read again for them, and only for them."""
    logged(world).label([Fact(id="p-1"), Fact(id="p-2", received_at=START + 5 * HOUR)])

    counts = [world.run(START + hours * HOUR).labels["matched"] for hours in (1, 2, 5, 6)]

    assert counts == [1, 1, 2, 2]


def test_an_id_that_looks_like_ours_is_found_all_the_same(world: World) -> None:
    """Foreign ids may sort among those that carry an instant; they carry none."""
    logged(world, ["013de9z"])
    world.run(START + HOUR)
    world.label([Fact(id="013de9z")])

    assert world.run(LATER).labels["matched"] == 1


@pytest.mark.parametrize("field", ["segment", "row", "bucket", "sign", "explicit", "turn", "status", "s0", "day"])
def test_a_field_may_have_any_name(world: World, field: str) -> None:
    """Words that the engine's statements use are no names of fields that users must not have."""
    schema = pa.schema([*_without_carrier(), pa.field(field, pa.string())])
    rows = [Prediction(id=f"p-{number}") for number in range(3)]
    for number, row in enumerate(rows):
        object.__setattr__(row, field, "UA" if number else "B6")
    world.log(rows, schema=schema)
    world.label([Fact(id=row.id) for row in rows])
    with Evaluator(world.evaluation(slices=[field], measures=["accuracy", "roc_auc"]), environ={}) as evaluator:
        evaluator.run(as_of=START + 2 * HOUR)
        world.label([Fact(id=row.id, label=False, received_at=START + 2 * HOUR) for row in rows])

        report = evaluator.run(as_of=LATER)

    assert [(value.slice.get(field), value.value, value.support) for value in report.values] == [
        ("B6", 0.0, 1),
        ("UA", 0.0, 2),
        (None, 0.0, 3),
    ]


def _without_carrier() -> list[pa.Field[Any]]:
    return [each for each in SEGMENT if each.name not in {"carrier", "origin"}]


@pytest.mark.parametrize(("task", "label"), [("binary", 1.0), ("regression", 0.25)])
def test_a_label_that_is_no_number_is_invalid(tmp_path: Path, task: str, label: float) -> None:
    """Beside equal labels, too, where the bounds that a file keeps of its column say nothing of it."""
    world = World(tmp_path, task=task)
    world.log([Prediction(id=each, prediction=1.0 if task == "regression" else True) for each in ("p-1", "p-2")])
    columns: dict[str, list[Any]] = {
        "prediction_id": ["p-1", "p-2"], "label": [label, math.nan], "received_at": [START, START], "revision": [0, 0],
    }  # fmt: skip
    (world.folder / "labels").mkdir()
    parquet.write_table(pa.table(columns), world.folder / "labels" / "a.parquet")

    with Evaluator(world.evaluation(Settings(task=task)), environ={}) as evaluator:
        report = evaluator.run(as_of=LATER)

    assert (report.labels["matched"], report.labels["invalid"]) == (1, 1)
    assert {value.support for value in report.values if value.measure != "fares_at_stake"} == {1}


def test_a_field_that_is_no_number_is_missing(world: World) -> None:
    """A log that something else wrote may have NaN; such a row is left out of what needs the field."""
    world.log([Prediction(id="p-1"), Prediction(id="p-2", score=math.nan, fare=math.nan)])
    world.label([Fact(id="p-1"), Fact(id="p-2")])

    report = world.run(LATER)

    supports = {value.measure: value.support for value in report.values}
    assert (supports["accuracy"], supports["log_loss"], supports["fares_at_stake"]) == (2, 1, 1)
    assert all(math.isfinite(value.value) for value in report.values)


def test_an_entity_that_is_no_number_is_nobody(world: World) -> None:
    """Its label is invalid, and its prediction never gets one."""
    world.log([Prediction(id="p-1", customer=7), Prediction(id="p-2", customer=None)])
    columns: dict[str, list[Any]] = {
        "customer": [7.0, math.nan], "label": [True, True], "received_at": [START, START], "revision": [0, 0],
        "occurred_at": [START, START],
    }  # fmt: skip
    (world.folder / "labels").mkdir()
    parquet.write_table(pa.table(columns), world.folder / "labels" / "a.parquet")

    with Evaluator(world.evaluation(Settings(key=("customer",))), environ={}) as evaluator:
        report = evaluator.run(as_of=LATER)

    assert (report.labels["matched"], report.labels["invalid"]) == (1, 1)
