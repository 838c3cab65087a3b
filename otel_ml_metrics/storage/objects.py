"""Object stores behind `s3://`, `gs://` and `abfs://` URLs, by the clients that pyarrow brings.

What a URL does not say comes from the environment, as other tools read it: for S3 `AWS_ENDPOINT_URL`, `AWS_REGION`,
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and AWS's own files and roles. A store that does not answer is given up
after about half a minute, one that refuses the connection after a second.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import lru_cache
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.errors import MissingExtraError
from otel_ml_metrics.storage.files import ASIDE, StoredFile
from otel_ml_metrics.storage.locations import split_url

try:
    import pyarrow as pa
    from pyarrow import fs
except ImportError as error:
    raise MissingExtraError("pyarrow", "log", "Object storage") from error  # noqa: EM101  # fields, no message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_ml_metrics.storage.files import Fill

CONNECT_SECONDS: Final = 3
SILENCE_SECONDS: Final = 5
ATTEMPTS: Final = 3
IN_MEMORY: Final = 32 * 1024 * 1024
"""Bytes of a file that is being made, above which they wait for their upload on disk."""

_CHUNK: Final = 8 * 1024 * 1024
_DELAYED_OPEN: Final = 21
"""The pyarrow version that can send a small object by one request instead of three."""


class ObjectStorage:
    """Objects below one bucket or container.

    Args:
        filesystem: Its client.
        root: The bucket, as the client names it.
        url: The same as a URL.
    """

    def __init__(self, filesystem: fs.FileSystem, *, root: str, url: str) -> None:
        self._filesystem = filesystem
        self._root = root
        self._url = url

    def files(self, folder: str) -> list[StoredFile]:
        """Every object below a folder, by URL; one request per thousand."""
        found = [self._stored(each) for each in self._listed(folder, recursive=True) if each.type == fs.FileType.File]
        return sorted(found, key=lambda file: file.path)

    def paths(self, folder: str) -> list[str]:
        """URL of every object below a folder; the listing says the rest of it anyway."""
        return [file.path for file in self.files(folder)]

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder."""
        listed = self._listed(folder, recursive=False)
        return sorted(each.base_name for each in listed if each.type == fs.FileType.Directory)

    def stat(self, path: str) -> StoredFile | None:
        """One object; None where there is none."""
        with _told(path):
            found: fs.FileInfo = self._filesystem.get_file_info(self._inner(path))
        return self._stored(found) if found.type == fs.FileType.File else None

    def fingerprint(self, path: str) -> str:
        """Size and entity tag, by one request and no download; a store without tags gives the time of the change."""
        with _told(path), self._filesystem.open_input_file(self._inner(path)) as file:
            told = {_text(name).lower(): _text(value) for name, value in (file.metadata() or {}).items()}
            tag = told.get("etag") or told.get("last-modified") or ""
            return f"{file.size()}:{tag.strip(chr(34))}"

    def read(self, path: str) -> bytes:
        """The content of an object."""
        with _told(path), self._filesystem.open_input_file(self._inner(path)) as file:
            return file.read()

    def copy(self, path: str, target: Path) -> None:
        """Fetch an object into a local file, a part at a time."""
        with _told(path), self._filesystem.open_input_file(self._inner(path)) as file, target.open("wb") as copied:
            while chunk := file.read(_CHUNK):
                copied.write(chunk)

    def write(self, path: str, fill: Fill) -> None:
        """Send an object, by one PUT up to 10 MB; it is made before, so half of one is never sent."""
        with SpooledTemporaryFile(IN_MEMORY) as made:
            fill(made)
            made.seek(0)
            with _told(path), self._filesystem.open_output_stream(self._inner(path)) as target:
                while chunk := made.read(_CHUNK):
                    target.write(chunk)

    def try_out(self, folder: str, fill: Fill) -> None:
        """Send an object of a name that no reader looks for. It stays: who may write need not be allowed to delete."""
        self.write(f"{folder}/{ASIDE}set-up", fill)

    def delete(self, path: str) -> None:
        """Delete an object; it may be gone already."""
        try:
            with _told(path):
                self._filesystem.delete_file(self._inner(path))
        except FileNotFoundError:
            return

    def _listed(self, folder: str, *, recursive: bool) -> list[fs.FileInfo]:
        selector = fs.FileSelector(self._inner(folder), recursive=recursive, allow_not_found=True)
        with _told(folder):
            listed: list[fs.FileInfo] = self._filesystem.get_file_info(selector)
            if not listed and self._filesystem.get_file_info(self._root).type == fs.FileType.NotFound:
                message = f"There is no {self._url}."
                raise FileNotFoundError(message)
        return listed

    def _inner(self, path: str) -> str:
        return f"{self._root}/{split_url(path)[2]}".rstrip("/")

    def _stored(self, found: fs.FileInfo) -> StoredFile:
        path = f"{self._url}{found.path.removeprefix(self._root)}"
        return StoredFile(path, found.size, found.mtime_ns or 0)


def object_storage(url: str) -> ObjectStorage:
    """The store of a URL; one client for each bucket and what the environment says.

    Raises:
        OSError: The environment names no store that can be used.
    """
    scheme, authority, _ = split_url(url)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return _object_storage(scheme, authority, endpoint, region)


@lru_cache(maxsize=32)
def _object_storage(scheme: str, authority: str, endpoint: str | None, region: str | None) -> ObjectStorage:
    url = f"{scheme}://{authority}"
    with _told(url):
        if scheme == "s3":
            return ObjectStorage(_s3(authority, endpoint, region), root=authority, url=url)
        filesystem, root = fs.FileSystem.from_uri(url)
        return ObjectStorage(filesystem, root=root, url=url)


def _s3(bucket: str, endpoint: str | None, region: str | None) -> fs.FileSystem:
    options: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "request_timeout": SILENCE_SECONDS,
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        "background_writes": False,  # the thread that writes is in the background already, and no other outlives a fork
    }
    if int(pa.__version__.partition(".")[0]) >= _DELAYED_OPEN:
        options["allow_delayed_open"] = True
    if endpoint is not None:
        options["endpoint_override"] = endpoint
    if region is not None:
        options["region"] = region
    elif endpoint is None:
        options["region"] = fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(**options)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Name the object in what goes wrong, and let all of it be an OSError."""
    try:
        yield
    except FileNotFoundError as error:
        message = f"{path} is not there: {error}"
        raise FileNotFoundError(message) from error
    except (OSError, pa.ArrowException) as error:
        message = f"{path}: {error}"
        raise OSError(message) from error
