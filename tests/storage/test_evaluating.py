"""An evaluation whose log and labels are in an object store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otel_ml_metrics.checks.looking import check
from otel_ml_metrics.declared_labels import LabelFiles
from otel_ml_metrics.errors import LabelSourceError, LogError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.labels.files import label_files
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World
from tests.storage.material import put, upload

if TYPE_CHECKING:
    from pathlib import Path

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.evaluation_report import Report
    from tests.storage.server import ObjectServer

LATER = START + 4 * DAY


def in_bucket(world: World, bucket: str, **given: Any) -> Evaluation:
    """The world's evaluation, read from a bucket, with a ledger of its own."""
    places: dict[str, Any] = {
        "predictions": f"{bucket}/predictions",
        "labels": {"path": f"{bucket}/labels", "revision": "revision"},
        "ledger": f"sqlite:///{world.folder}/bucket.db",
        "slices": ["carrier"],
    }
    return world.evaluation(**places | given)


def run(evaluation: Evaluation) -> Report:
    """One run with nowhere to send to."""
    with Evaluator(evaluation, environ={}) as evaluator:
        return evaluator.run(as_of=LATER)


def days(world: World, count: int = 2) -> World:
    """A world with predictions of some days, and a label for each."""
    for day in range(count):
        rows = [
            Prediction(id=f"p-{day}-{at}", predicted_at=START + day * DAY + at * HOUR, score=at / 10, carrier="UA")
            for at in range(8)
        ]
        world.log(rows)
        world.label(
            [Fact(id=row.id, label=at % 3 == 0, received_at=row.predicted_at + HOUR) for at, row in enumerate(rows)]
        )
    return world


def test_the_report_is_that_of_local_files(world: World, bucket: str) -> None:
    """Wherever log and labels lie, and again when more comes."""
    upload(days(world), bucket)
    with (
        Evaluator(world.evaluation(slices=["carrier"]), environ={}) as local,
        Evaluator(in_bucket(world, bucket), environ={}) as remote,
    ):
        first = (local.run(as_of=LATER), remote.run(as_of=LATER))
        world.label([Fact(id="p-0-1", label=True, received_at=START + 3 * HOUR)])
        world.log([Prediction(id="p-late", predicted_at=START + 2 * HOUR)])
        upload(world, bucket)
        second = (local.run(as_of=LATER), remote.run(as_of=LATER))

    for expected, found in (first, second):
        assert found.values == expected.values
        assert found.labels == expected.labels
        assert found.values


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("labels", {"a.csv", "b.parquet", "x/c.parquet"}),
        ("labels/", {"a.csv", "b.parquet", "x/c.parquet"}),
        ("labels/*", {"a.csv", "b.parquet", "d.txt"}),
        ("labels/*.csv", {"a.csv"}),
        ("labels/**/*.parquet", {"b.parquet", "x/c.parquet"}),
        ("labels/x/c.parquet", {"c.parquet"}),
        ("labels/nothing", set()),
    ],
)
def test_patterns_mean_the_same_files_as_in_a_folder(tmp_path: Path, bucket: str, path: str, names: set[str]) -> None:
    """And their names are the same, so that a ledger may move along."""
    for place in (str(tmp_path), bucket):
        for name in ("a.csv", "b.parquet", "d.txt", "x/c.parquet", "_hidden.csv", ".hidden.csv"):
            put(f"{place}/labels/{name}", b"content")
        source = LabelFiles(path=f"{place}/{path}")

        found = label_files(source)

        assert set(found) == names
        assert all(file.path.startswith(f"{place}/labels/") for file in found.values())


def test_a_label_file_that_changes_after_it_was_read_is_told(world: World, bucket: str) -> None:
    """Its tag says so, without a download."""
    upload(days(world), bucket)
    run(in_bucket(world, bucket))
    [name, *_] = label_files(LabelFiles(path=f"{bucket}/labels"))
    put(f"{bucket}/labels/{name}", b"something else")

    report = run(in_bucket(world, bucket))

    assert f"{bucket}/labels/{name} changed after it was read" in report.warnings[0]


def test_a_broken_label_file_is_read_again_once_it_is_mended(world: World, bucket: str) -> None:
    """By the same evaluator, which had made a copy of it."""
    upload(days(world), bucket)
    url = f"{bucket}/labels/z.parquet"
    whole = (world.label([Fact(id="p-0-1", received_at=START + 5 * HOUR)], name="z")).read_bytes()
    put(url, whole[:100])
    with Evaluator(in_bucket(world, bucket), environ={}) as evaluator:
        with pytest.raises(LabelSourceError, match=r"z\.parquet cannot be read as parquet"):
            evaluator.run(as_of=LATER)
        put(url, whole)

        report = evaluator.run(as_of=LATER)

    assert sum(report.labels.values()) == 17


def test_naive_instants_name_the_object(world: World, bucket: str) -> None:
    """Not the copy that was read."""
    upload(days(world), bucket)
    text = b"prediction_id,label,received_at,revision\np-0-1,true,2013-04-08 01:00:00,0\n"
    put(f"{bucket}/labels/z.csv", text)

    with pytest.raises(LabelSourceError, match=rf"{bucket}/labels/z\.csv have no time zone"):
        run(in_bucket(world, bucket))


def test_another_model_in_the_bucket_is_offered(world: World, bucket: str) -> None:
    """As in a folder."""
    upload(days(world), bucket)

    with pytest.raises(LogError, match="Did you mean 'flight-delay'"):
        run(in_bucket(world, bucket, model="flight-delays"))


def test_a_store_that_fails_leaves_everything_to_do(world: World, bucket: str, server: ObjectServer) -> None:
    """The run says what it could not read, and the next one does it all."""
    upload(days(world), bucket)
    server.failing = lambda request: "/dt=" in request.path
    with pytest.raises(LogError, match="cannot be read"):
        run(in_bucket(world, bucket))
    server.failing = lambda request: "/labels" in request.query or "/labels" in request.path
    with pytest.raises(LabelSourceError, match="cannot be"):
        run(in_bucket(world, bucket))
    server.failing = lambda _request: False

    assert run(in_bucket(world, bucket)).labels["matched"] == 16


def test_a_second_run_fetches_only_what_is_new(world: World, bucket: str, server: ObjectServer) -> None:
    """An evaluator keeps its copies for a while."""
    upload(days(world), bucket)
    with Evaluator(in_bucket(world, bucket), environ={}) as evaluator:
        evaluator.run(as_of=LATER)
        server.requests.clear()
        world.label([Fact(id="p-0-1", received_at=START + 5 * HOUR)])
        upload(world, bucket)
        server.requests.clear()
        evaluator.run(as_of=LATER)

    fetched = {request.path for request in server.requests if request.method == "GET" and not request.query}
    assert len(fetched) == 1


def test_check_looks_into_the_bucket(world: World, bucket: str, tmp_path: Path) -> None:
    """The settings name URLs, the environment says how to reach them."""
    upload(days(world), bucket)
    monitoring = tmp_path / "monitoring.yaml"
    monitoring.write_text(
        f"model: flight-delay\npredictions: {bucket}/predictions\nlabels: {{path: '{bucket}/labels/*.parquet'}}\n"
        "ledger: sqlite:///ledger.db\nattribution_window: 1d\nmeasures: [accuracy]\nslices: [carrier]\n"
    )

    told = {finding.subject: finding for finding in check(monitoring, environ={})}

    assert told["prediction log"].verdict == "ok"
    assert "2 segments from 2013-04-08 to 2013-04-09" in told["prediction log"].told
    assert (told["labels"].verdict, "all usable" in told["labels"].told) == ("ok", True)
