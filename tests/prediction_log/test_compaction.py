"""Compaction changes where rows lie, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from otel_ml_metrics.errors import ConfigurationError, LogBusyError, LogError
from otel_ml_metrics.prediction_log import merging
from otel_ml_metrics.prediction_log.compaction import batches, compact
from otel_ml_metrics.prediction_log.folder import ModelFolder
from otel_ml_metrics.prediction_log.layout import model_folder
from otel_ml_metrics.prediction_log.reader import log_files, portions, segments
from otel_ml_metrics.prediction_log.removal import clean, retire
from tests.prediction_log.material import MODEL, compact_all, log_segment, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR = 3_600.0
"""A grace; tests set the clock."""


class Clock:
    """Unix seconds that a test moves; far in the future, so that files are old."""

    def __init__(self) -> None:
        self.now = 4e9

    def __call__(self) -> float:
        """The instant that was set."""
        return self.now


@pytest.fixture
def log(tmp_path: Path) -> str:
    """Where a log goes."""
    return str(tmp_path / "log")


@pytest.fixture
def clock() -> Clock:
    """What says when it is."""
    return Clock()


def folder_of(log: str, clock: Clock, grace: float = HOUR) -> ModelFolder:
    """The model's folder as maintenance sees it."""
    return ModelFolder(log, MODEL, grace=grace, clock=clock)


def files_in(log: str) -> list[str]:
    """Names of the Parquet files on disk."""
    return sorted(path.name for path in Path(log).rglob("*.parquet"))


def test_segments_become_one_sorted_file(log: str, clock: Clock) -> None:
    """With the same rows, each with its segment and its place in it."""
    log_segment(log, ["d", "a", "f"], name="s-1-b.parquet")
    log_segment(log, ["e", "b"], name="s-1-a.parquet")
    before = rows_of(log)

    [merged] = compact_all(folder_of(log, clock))

    [path] = log_files(log, MODEL)
    table = parquet.read_table(path, partitioning=None)
    assert (merged.files, merged.rows) == (2, 5)
    assert rows_of(log) == before
    assert table.column("prediction_id").to_pylist() == ["a", "b", "d", "e", "f"]
    assert table.select(["_segment", "_row"]).to_pylist()[0] == {"_segment": "s-1-b.parquet", "_row": 1}


def test_types_and_metadata_stay(log: str, clock: Clock) -> None:
    """Whoever reads the log finds the same columns, and two more."""
    log_segment(log, ["a"])
    log_segment(log, ["b"])
    [before, _] = log_files(log, MODEL)
    schema = parquet.read_schema(before)

    compact_all(folder_of(log, clock))

    [after] = log_files(log, MODEL)
    found = parquet.read_schema(after)
    assert list(found)[:-2] == list(schema)
    assert (found.metadata or {}) == (schema.metadata or {})
    assert [(field.name, str(field.type), field.nullable) for field in list(found)[-2:]] == [
        ("_segment", "string", False),
        ("_row", "int64", False),
    ]


def test_files_of_other_columns_are_merged_apart(log: str, clock: Clock) -> None:
    """A field that came later changes no type of older rows."""
    for extra in (False, True, False, True, False):
        log_segment(log, ["a", "b"], extra=extra)
    before = rows_of(log)

    done = compact_all(folder_of(log, clock))

    assert sorted(merged.files for merged in done) == [2, 3]
    assert rows_of(log) == before


def test_dates_stay_apart(log: str, clock: Clock) -> None:
    """The folder of a file says the date of its rows."""
    for date in ("2013-04-08", "2013-04-09"):
        for _ in range(2):
            log_segment(log, ["a", "b"], date=date)

    done = compact_all(folder_of(log, clock))

    assert [merged.date for merged in done] == ["2013-04-08", "2013-04-09"]
    assert [Path(path).parent.name for path in log_files(log, MODEL)] == ["dt=2013-04-08", "dt=2013-04-09"]
    assert {segment.date for segment in segments(log, MODEL).values()} == {"2013-04-08", "2013-04-09"}


def test_a_second_run_finds_nothing_to_do(log: str, clock: Clock) -> None:
    """Also where one segment is left alone."""
    log_segment(log, ["a"])
    log_segment(log, ["b"])
    log_segment(log, ["c"], date="2013-04-09")
    folder = folder_of(log, clock)
    compact_all(folder)
    names = files_in(log)

    assert compact_all(folder) == []
    assert files_in(log) == names


def test_late_segments_do_not_rewrite_a_large_file_each_time(log: str, clock: Clock) -> None:
    """A row is rewritten a logarithmic number of times, and a date has a logarithmic number of files."""
    random_ids = random.Random(7)  # ids that do not compress
    rewritten = 0
    for _ in range(64):
        log_segment(log, [f"{random_ids.getrandbits(128):032x}" for _ in range(500)])
        rewritten += sum(merged.rows for merged in compact_all(folder_of(log, clock)))

    assert len(rows_of(log)) == 64 * 500
    assert rewritten <= 8 * 64 * 500
    assert len(log_files(log, MODEL)) <= 8


def test_what_was_superseded_stays_for_the_grace(log: str, clock: Clock) -> None:
    """A reader that listed the log before finds its files; an hour later they go."""
    names = [log_segment(log, ["a"]), log_segment(log, ["b"])]
    held = [segment.path for segment in segments(log, MODEL).values()]
    folder = folder_of(log, clock)
    compact_all(folder)
    after = rows_of(log)

    clock.now += HOUR - 1
    clean(folder)
    still = [Path(path).exists() for path in held]
    clock.now += 1
    removed = clean(folder)

    assert still == [True, True]
    assert [Path(path).exists() for path in held] == [False, False]
    assert (removed.files, removed.size > 0) == (2, True)
    assert rows_of(log) == after
    assert sorted(segments(log, MODEL)) == sorted(names)


def test_the_manifest_forgets_what_is_gone(log: str, clock: Clock) -> None:
    """It names what is there, and would grow for ever otherwise."""
    for _ in range(2):
        log_segment(log, ["a"])
    folder = folder_of(log, clock)
    compact_all(folder)
    kept = len(folder.manifest.leaving)
    clock.now += 2 * HOUR
    clean(folder)

    assert (kept, len(folder.manifest.leaving)) == (2, 0)
    assert len(rows_of(log)) == 2


def test_a_part_of_a_compacted_file_can_be_read(log: str, clock: Clock) -> None:
    """A ledger that has not taken all of its segments yet reads those that it has."""
    names = sorted(log_segment(log, ["a", "b"]) for _ in range(3))
    log_segment(log, ["c"], date="2013-04-09", name="s-1-z.parquet")
    compact_all(folder_of(log, clock))
    listed = segments(log, MODEL)

    whole = portions(listed, listed)
    some = portions(listed, [names[2], names[0], "s-1-z.parquet"])

    assert [(portion.is_compacted, portion.only) for portion in whole] == [(True, None), (False, None)]
    assert [(portion.is_compacted, portion.only) for portion in some] == [(True, (names[0], names[2])), (False, None)]


def test_a_file_that_was_never_published_is_garbage(log: str, clock: Clock) -> None:
    """Readers do not see it, and a later run deletes it; so it goes with what a killed writer left."""
    log_segment(log, ["a"])
    before = rows_of(log)
    date = Path(model_folder(log, MODEL), "dt=2013-04-08")
    (date / "c-0123.parquet").write_bytes(b"half")
    (date / ".tmp-1-0123").write_bytes(b"half")

    found = rows_of(log)
    clean(folder_of(log, clock))

    assert found == before
    assert [path.name for path in date.iterdir() if not path.name.startswith("s-")] == []


def test_a_young_file_may_be_somebodys_work(log: str) -> None:
    """Nothing that is being written is deleted."""
    log_segment(log, ["a"])
    date = Path(model_folder(log, MODEL), "dt=2013-04-08")
    (date / "c-0123.parquet").write_bytes(b"half")
    (date / ".tmp-1-0123").write_bytes(b"half")

    removed = clean(ModelFolder(log, MODEL))

    assert removed.files == 0
    assert len(list(date.iterdir())) == 3


def test_one_process_at_a_time(log: str, clock: Clock) -> None:
    """The second is told, and nothing is done twice."""
    log_segment(log, ["a"])
    with (
        folder_of(log, clock).alone(),
        pytest.raises(LogBusyError, match="Another process"),
        folder_of(log, clock).alone(),
    ):
        pytest.fail("there are two")

    with folder_of(log, clock).alone():
        pass


def test_what_another_process_published_is_not_overwritten(log: str, clock: Clock) -> None:
    """Where there are no locks, the manifest itself tells."""
    for _ in range(2):
        log_segment(log, ["a", "b"])
    slow, quick = folder_of(log, clock), folder_of(log, clock)
    [batch] = batches(slow)
    compact_all(quick)
    before = rows_of(log)

    with pytest.raises(LogBusyError, match="Another process"):
        compact(slow, batch)

    assert rows_of(log) == before


def test_retired_dates_leave_the_log_at_once_and_the_disk_later(log: str, clock: Clock) -> None:
    """Compacted or not; the others stay."""
    for date in ("2013-04-07", "2013-04-08", "2013-04-09"):
        for _ in range(2):
            log_segment(log, ["a", "b"], date=date)
    folder = folder_of(log, clock)
    [first, *_] = batches(folder)
    compact(folder, first)
    kept = [row for row in rows_of(log) if segments(log, MODEL)[row[2]].date == "2013-04-09"]

    planned = retire(folder, "2013-04-09", dry_run=True)
    done = retire(folder, "2013-04-09")
    left = rows_of(log)
    on_disk = len(files_in(log))
    clock.now += HOUR
    clean(folder)

    assert planned == done
    assert done.files == 3
    assert left == kept
    assert on_disk == 7
    assert len(files_in(log)) == 2
    assert rows_of(log) == kept


def test_a_segment_that_is_no_parquet_file_is_named(log: str, clock: Clock) -> None:
    """And nothing is published."""
    names = [log_segment(log, ["a"]), log_segment(log, ["b"])]
    Path(model_folder(log, MODEL), "dt=2013-04-08", names[1]).write_bytes(b"PAR1 half")

    with pytest.raises(LogError, match=names[1]):
        compact_all(folder_of(log, clock))

    assert not Path(model_folder(log, MODEL), "manifest.json").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"schema": 2, "files": [], "leaving": {}}', "has schema 2"),
        ("{", "is no manifest"),
        ('{"schema": 1, "files": [{"name": 1}], "leaving": {}}', "is no manifest"),
        ("[]", "is no manifest"),
    ],
)
def test_a_manifest_that_cannot_be_understood_is_refused(log: str, text: str, told: str) -> None:
    """Rather than read rows twice or not at all."""
    log_segment(log, ["a"])
    Path(model_folder(log, MODEL), "manifest.json").write_text(text)

    with pytest.raises(LogError, match=told):
        segments(log, MODEL)


def test_a_log_that_is_not_there_yet_has_nothing_to_do(log: str, clock: Clock) -> None:
    """Maintenance may be set up before the first prediction."""
    assert compact_all(folder_of(log, clock)) == []
    assert not Path(log).exists()


def test_the_grace_cannot_be_short_in_an_object_store() -> None:
    """It is what keeps two processes apart there."""
    with pytest.raises(ConfigurationError, match="600 s at least"):
        ModelFolder("s3://bucket/log", MODEL, grace=60)


def merged_ids(tmp_path: Path, parts: Sequence[Sequence[str]], sizes: merging.Sizes) -> list[tuple[Any, ...]]:
    """The rows of the file that some segments are merged into."""
    sources = []
    for at, ids in enumerate(parts):
        log_segment(str(tmp_path), ids, name=f"s-1-{at}.parquet")
        path = f"{model_folder(str(tmp_path), MODEL)}/dt=2013-04-08/s-1-{at}.parquet"
        sources.append(merging.look(path, f"s-1-{at}.parquet"))
    with (tmp_path / "merged").open("wb") as file:
        written = merging.merge(sources, [str(source.segment) for source in sources], file, sizes=sizes)
    table = parquet.read_table(tmp_path / "merged")
    assert written == len(table)
    return [tuple(row.values()) for row in table.select(["prediction_id", "_segment", "_row"]).to_pylist()]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.text(max_size=4) | st.sampled_from(["a", "b"]), min_size=1, max_size=30), min_size=1, max_size=6
    ),
    st.integers(1, 12),
)
def test_whatever_the_ids_are_rows_come_sorted_and_once(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[str]], size: int
) -> None:
    """In memory for a few rows only, so that runs are set aside and read again."""
    folder = tmp_path_factory.mktemp("merging")

    found = merged_ids(folder, parts, merging.Sizes(group=size, sorted=2 * size, held=3 * size))

    expected = [(id_, f"s-1-{part}.parquet", at) for part, ids in enumerate(parts) for at, id_ in enumerate(ids)]
    assert [row[0] for row in found] == sorted(row[0] for row in expected)
    assert sorted(found) == sorted(expected)
