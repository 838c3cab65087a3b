"""Files behave the same in a folder and in an object store."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.storage.copies import LocalCopies
from otel_ml_metrics.storage.files import ASIDE, storage_of
from otel_ml_metrics.storage.locations import as_regex, checked_location
from tests.storage.material import fill, put

if TYPE_CHECKING:
    from tests.storage.server import ObjectServer


def test_what_is_written_can_be_read_listed_and_deleted(place: str) -> None:
    """At any depth, by its whole path, with its size."""
    storage = storage_of(place)
    for name in ("b.txt", "one/a.txt", "one/two/c.txt"):
        put(f"{place}/{name}", name.encode())

    listed, paths = storage.files(place), storage.paths(place)
    storage.delete(f"{place}/b.txt")
    storage.delete(f"{place}/b.txt")

    assert [(file.path, file.size) for file in listed] == [
        (f"{place}/b.txt", 5),
        (f"{place}/one/a.txt", 9),
        (f"{place}/one/two/c.txt", 13),
    ]
    assert paths == [file.path for file in listed]
    assert storage.read(f"{place}/one/a.txt") == b"one/a.txt"
    assert storage.folders(place) == ["one"]
    assert [file.path for file in storage.files(f"{place}/one")] == [f"{place}/one/a.txt", f"{place}/one/two/c.txt"]
    assert storage.stat(f"{place}/b.txt") is None


def test_a_file_is_replaced_as_a_whole(place: str) -> None:
    """Its fingerprint tells, and its old content is gone."""
    put(f"{place}/a", b"old content, and longer")
    storage = storage_of(place)
    before = storage.fingerprint(f"{place}/a")

    put(f"{place}/a", b"new")

    assert storage.read(f"{place}/a") == b"new"
    assert storage.fingerprint(f"{place}/a") != before
    assert storage.fingerprint(f"{place}/a") == storage.fingerprint(f"{place}/a")


def test_a_folder_that_is_not_there_is_empty(place: str) -> None:
    """Nothing has been written yet, which is no error."""
    storage = storage_of(place)

    assert storage.files(place) == []
    assert storage.folders(place) == []
    with pytest.raises(FileNotFoundError):
        storage.read(f"{place}/nothing")


def test_a_file_that_cannot_be_made_is_not_there(place: str) -> None:
    """Half of a file never has its name."""

    def half(file: IO[bytes]) -> None:
        file.write(b"half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        storage_of(place).write(f"{place}/a", half)

    assert storage_of(place).files(place) == []


def test_a_try_leaves_no_file_that_readers_look_for(place: str) -> None:
    """Set-up sees whether it can write, and changes nothing."""
    storage_of(place).try_out(place, partial(fill, b"content"))

    left = [file.path.rpartition("/")[2] for file in storage_of(place).files(place)]
    assert [name for name in left if not name.startswith(ASIDE)] == []


def test_a_small_object_is_one_request(bucket: str, server: ObjectServer) -> None:
    """A segment costs one PUT."""
    server.requests.clear()

    put(f"{bucket}/a", b"x" * 4_000_000)

    assert server.methods() == ["PUT"]


def test_a_fingerprint_downloads_nothing(bucket: str, server: ObjectServer) -> None:
    """The store knows a tag of the content."""
    put(f"{bucket}/a", b"x" * 4_000_000)
    server.requests.clear()

    told = storage_of(bucket).fingerprint(f"{bucket}/a")

    assert told.startswith("4000000:")
    assert server.methods() == ["HEAD"]


def test_a_bucket_that_is_not_there_is_an_error(server: ObjectServer) -> None:
    """A typo must not look like an empty folder."""
    with pytest.raises(OSError, match="There is no s3://nowhere"):
        storage_of("s3://nowhere/log").files("s3://nowhere/log")
    assert server.requests


def test_large_objects_arrive_whole(bucket: str, tmp_path: Path) -> None:
    """Beyond the size of one request and of one read."""
    content = bytes(range(256)) * 100_000
    put(f"{bucket}/a", content)

    storage_of(bucket).copy(f"{bucket}/a", tmp_path / "copy")

    assert (tmp_path / "copy").read_bytes() == content


def test_copies_are_fetched_once(bucket: str, server: ObjectServer) -> None:
    """An engine that asks again reads the file that it has; paths are given back as they are."""
    put(f"{bucket}/x/a.parquet")
    put(f"{bucket}/y/a.parquet", b"other")
    server.requests.clear()
    copies = LocalCopies()

    first = copies.local([f"{bucket}/x/a.parquet", f"{bucket}/y/a.parquet", "local.parquet"])
    again = copies.local([f"{bucket}/y/a.parquet"])

    assert first[1:] == [again[0], "local.parquet"]
    assert [Path(path).read_bytes() for path in first[:2]] == [b"content", b"other"]
    assert [Path(path).name for path in first[:2]] == ["a.parquet", "a.parquet"]
    assert server.methods("/x/a.parquet") == ["HEAD", "GET"]
    copies.close()
    assert not Path(first[0]).exists()


def test_no_object_is_copied_out_of_its_folder(bucket: str) -> None:
    """A name with dots names no place of this machine."""
    copies = LocalCopies()

    with pytest.raises(OSError, match="Rename the object"):
        copies.local([f"{bucket}/../../../a.parquet"])
    copies.close()


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("ftp://host/folder", "expected a path, or a URL such as s3://bucket/folder"),
        ("s3:///folder", "expected a path, or a URL"),
        ("s3://key:secret@bucket/folder", "seems to carry a key"),
        ("s3://key@bucket/folder", "seems to carry a key"),
        ("abfs://account:key@container/folder", "seems to carry a key"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(location: str, told: str) -> None:
    """And what a URL must not carry is not repeated."""
    with pytest.raises(ConfigurationError, match=told) as raised:
        checked_location("predictions", location)

    assert "secret" not in str(raised.value).replace("A secret", "")


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("a/*.csv", "a/b.csv", True),
        ("a/*.csv", "a/b/c.csv", False),
        ("a/**/*.csv", "a/b/c/d.csv", True),
        ("a/**", "a/b/c.csv", True),
        ("a/part-?.csv", "a/part-1.csv", True),
        ("a/part-?.csv", "a/part-12.csv", False),
        ("a/[xy].csv", "a/y.csv", True),
        ("a/[!xy].csv", "a/y.csv", False),
        ("a/[!xy].csv", "a/z.csv", True),
        ("a/[.csv", "a/[.csv", True),
        ("a/b.csv", "a/bxcsv", False),
    ],
)
def test_patterns_match_as_in_a_folder(pattern: str, path: str, matches: bool) -> None:
    """The same words mean the same files, wherever they lie."""
    assert bool(as_regex(pattern).fullmatch(path)) is matches
