"""What compaction and retention have done to a model's log, in one small file that is replaced at once.

A reader lists the folder first and reads the manifest then, and takes

    the files of the manifest + the listed segments that it does not name

so it finds every row once, whatever happens in between: what is listed and superseded is still there for a while, and a
segment that is written after the listing is left for the next time.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.errors import LogError
from otel_ml_metrics.prediction_log.layout import date_of_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_ml_metrics.storage.files import Storage

MANIFEST: Final = "manifest.json"
SCHEMA: Final = 1


@dataclass(frozen=True)
class CompactedFile:
    """A file that compaction made.

    Args:
        name: Its path below the model's folder.
        rows: How many it has.
        size: Bytes.
        schema: Digest of its columns, without those that compaction adds.
        segments: Names of the segments whose rows it has, all of them.
    """

    name: str
    rows: int
    size: int
    schema: str
    segments: tuple[str, ...]

    @property
    def date(self) -> str:
        """UTC date of its predictions."""
        return date_of_file(self.name)


@dataclass(frozen=True)
class Manifest:
    """What stands in place of what.

    Args:
        files: Compacted files.
        leaving: Files that are superseded or retired, by path below the model's folder: Unix seconds of when they
            became so. They are no part of the log, and are deleted when the grace is over.
    """

    files: tuple[CompactedFile, ...] = ()
    leaving: Mapping[str, float] = field(default_factory=dict)

    @property
    def absorbed(self) -> frozenset[str]:
        """Names of all segments that compacted files hold."""
        return frozenset(name for file in self.files for name in file.segments)

    def replaced(self, gone: Iterable[str], *, by: CompactedFile | None = None, at: float) -> Manifest:
        """This manifest with a new file in place of others, or with nothing in their place.

        Args:
            gone: Paths below the model's folder, of segments and compacted files.
            by: The file that has their rows.
            at: Unix seconds.
        """
        gone = set(gone)
        kept = tuple(file for file in self.files if file.name not in gone)
        leaving = dict(self.leaving) | dict.fromkeys(sorted(gone - self.leaving.keys()), at)
        return Manifest((*kept, *([by] if by is not None else [])), leaving)

    def forgetting(self, names: Iterable[str]) -> Manifest:
        """This manifest without files that are gone for good."""
        forgotten = set(names)
        return replace(self, leaving={name: at for name, at in self.leaving.items() if name not in forgotten})

    def to_json(self) -> bytes:
        """Text with one file a line."""
        files = [
            asdict(file) | {"segments": list(file.segments)} for file in sorted(self.files, key=lambda file: file.name)
        ]
        listed = ",\n".join(f"  {json.dumps(file)}" for file in files)
        leaving = ",\n".join(f"  {json.dumps(name)}: {at!r}" for name, at in sorted(self.leaving.items()))
        text = f'{{"schema": {SCHEMA},\n "files": [\n{listed}\n ],\n "leaving": {{\n{leaving}\n }}\n}}\n'
        return text.encode()


def parse_manifest(text: bytes, *, path: str) -> Manifest:
    """The manifest that was written.

    Raises:
        LogError: It is none, or one of a newer version.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        if content["schema"] != SCHEMA:
            message = (
                f"The manifest {path} has schema {content['schema']}, and this version of otel-ml-metrics knows schema"
                f" {SCHEMA}. Use the version that wrote it."
            )
            raise LogError(message)
        files = tuple(CompactedFile(**each | {"segments": tuple(each["segments"])}) for each in content["files"])
        return Manifest(files, {str(name): float(at) for name, at in content["leaving"].items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path} is no manifest of a prediction log: {error}. Bring back the one that compaction wrote."
        raise LogError(message) from error


def manifest_text(storage: Storage, folder: str) -> bytes:
    """The manifest of a model's folder as it was written; empty where there is none.

    Raises:
        OSError: It cannot be read.
    """
    try:
        return storage.read(f"{folder}/{MANIFEST}")
    except FileNotFoundError:
        return b""


def read_manifest(storage: Storage, folder: str) -> Manifest:
    """The manifest of a model's folder; an empty one where there is none.

    Raises:
        OSError: It cannot be read.
        LogError: It cannot be understood.
    """
    text = manifest_text(storage, folder)
    return parse_manifest(text, path=f"{folder}/{MANIFEST}") if text else Manifest()
