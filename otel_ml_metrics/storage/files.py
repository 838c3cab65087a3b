"""Whole files where they lie, the same for a local folder and an object store: list, read, write, look, delete.

What is written is whole and durable, or not there: locally it is written aside, synced, renamed, and the folder synced;
in an object store it is one object, which appears when all of it has arrived.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol

from otel_ml_metrics.storage.locations import is_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Fill = Callable[[IO[bytes]], None]

ASIDE: Final = ".tmp-"
"""How the names of files start that are still being written; no pattern of a reader matches them."""

_CHUNK: Final = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """One file.

    Args:
        path: Where it is, a path or URL.
        size: Bytes.
        changed_ns: Unix time of its last change, in nanoseconds.
    """

    path: str
    size: int
    changed_ns: int

    @property
    def stamp(self) -> str:
        """Size and time of the last change, a quick look at whether it is still the same."""
        return f"{self.size}:{self.changed_ns}"


class Storage(Protocol):
    """Where files lie. A path is text, with `/` between folders; what goes wrong is an OSError."""

    def files(self, folder: str) -> list[StoredFile]:
        """Every file below a folder, at any depth, by path; none where there is no such folder."""

    def paths(self, folder: str) -> list[str]:
        """The same paths without a look at each file: in a local folder, a fraction of the time."""

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder; none where there is no such folder."""

    def stat(self, path: str) -> StoredFile | None:
        """One file; None where there is none."""

    def fingerprint(self, path: str) -> str:
        """A thorough look at a file: two with the same fingerprint have the same content."""

    def read(self, path: str) -> bytes:
        """The content of a file."""

    def copy(self, path: str, target: Path) -> None:
        """Copy a file to a local one, a part at a time."""

    def write(self, path: str, fill: Fill) -> None:
        """Make a file, or replace it: readers see the old one or the new one, and it survives a crash."""

    def try_out(self, folder: str, fill: Fill) -> None:
        """See that files can be written to a folder; no reader takes what is left behind for a file."""

    def delete(self, path: str) -> None:
        """Delete a file; it may be gone already."""


class LocalStorage:
    """Folders of the local file system."""

    def files(self, folder: str) -> list[StoredFile]:
        """Every file below a folder, at any depth, by path; none where there is no such folder."""
        found = []
        for entry in _walk(folder):
            try:
                status = entry.stat()
            except FileNotFoundError:  # it has been renamed or deleted since
                continue
            found.append(StoredFile(entry.path, status.st_size, status.st_mtime_ns))
        return sorted(found, key=lambda file: file.path)

    def paths(self, folder: str) -> list[str]:
        """Path of every file below a folder, at any depth, in order."""
        return sorted(entry.path for entry in _walk(folder))

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder; none where there is no such folder."""
        try:
            with os.scandir(folder) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except FileNotFoundError:
            return []

    def stat(self, path: str) -> StoredFile | None:
        """One file; None where there is none."""
        try:
            status = Path(path).stat()
        except FileNotFoundError:
            return None
        return StoredFile(path, status.st_size, status.st_mtime_ns)

    def fingerprint(self, path: str) -> str:
        """Size and digest."""
        digest = hashlib.blake2b(digest_size=16)
        size = 0
        with Path(path).open("rb") as file:
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                digest.update(chunk)
        return f"{size}:{digest.hexdigest()}"

    def read(self, path: str) -> bytes:
        """The content of a file."""
        return Path(path).read_bytes()

    def copy(self, path: str, target: Path) -> None:
        """Copy a file to another one."""
        shutil.copyfile(path, target)

    def write(self, path: str, fill: Fill) -> None:
        """Write aside, fsync, rename, fsync the folder."""
        target = Path(path)
        self._make_folder(target.parent)
        self._write_aside(target.parent, fill, then=target)
        sync_folder(target.parent)

    def try_out(self, folder: str, fill: Fill) -> None:
        """Write a file aside and remove it."""
        self._make_folder(Path(folder))
        self._write_aside(Path(folder), fill)

    def delete(self, path: str) -> None:
        """Delete a file; it may be gone already."""
        Path(path).unlink(missing_ok=True)

    def _write_aside(self, folder: Path, fill: Fill, then: Path | None = None) -> None:
        """Write a file and give it its name, if it is to have one; whatever happens, it is not left behind."""
        aside = folder / f"{ASIDE}{os.getpid()}-{uuid.uuid4().hex}"
        try:
            with aside.open("wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            if then is not None:
                aside.rename(then)
        finally:
            aside.unlink(missing_ok=True)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder durable, with every parent that is not there yet."""
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)  # another process may have been faster
        sync_folder(folder.parent)


def storage_of(location: str) -> Storage:
    """The storage that a path or URL names.

    Raises:
        MissingExtraError: It is a URL, and pyarrow is not installed.
        OSError: The store cannot be reached by what the environment says.
    """
    if not is_url(location):
        return LocalStorage()
    # Here and not at the top: a process whose files are local needs no S3 client, which takes 0.1 s to import.
    from otel_ml_metrics.storage.objects import object_storage  # noqa: PLC0415

    return object_storage(location)


def _walk(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(entry.path)
            else:
                yield entry


def sync_folder(folder: Path) -> None:
    """Make durable what was made, renamed or deleted in a local folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
