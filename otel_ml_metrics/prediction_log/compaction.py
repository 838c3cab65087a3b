"""Compaction: the many small files of a date become few that are sorted by id.

What has to hold, and what it costs:

- *Nobody notices.* The ledger knows segments by name, tells rows by (segment, row), and may not have taken all segments
  of a date when they are merged. So a compacted file carries both as columns, and the manifest says which segments it
  holds; a reader that wants some of them filters by the column. The alternative, telling every ledger about every
  merge, would tie the log to its readers, of which there can be many. The columns cost a few percent of a file.
- *One commit point*, the manifest. A file that it does not name is garbage, and is deleted by a later run. Each merge
  is published as soon as it is done, so a run that dies loses one merge at most.
- *Readers never break.* What was superseded stays for a grace, for those that listed the log before. Until then its
  rows are there twice on disk, and once for every reader.
- *Writers never wait.* They make new segments, which belong to the log as long as no manifest names them.
- *One file for a date and schema.* Another would change the types that the engine makes out of all files of a scan.
- A merge takes the segments of a date, and of its compacted files those that are not much larger. So late segments do
  not rewrite a large date each time, a row is rewritten a logarithmic number of times, and a date has few files.
- *One process*: locally a lock on a file in the folder, which dies with its process. Object stores have no locks; there
  the manifest is compared with what was read before it is replaced. Two processes that meet in that instant cost one of
  them its merge, not a row: what a lost manifest superseded is part of the log again, since files are deleted only when
  the manifest that is stored has said for a whole grace that they may. So a short grace is refused there.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from otel_ml_metrics.errors import LogError
from otel_ml_metrics.prediction_log.layout import compacted_name, date_of_file
from otel_ml_metrics.prediction_log.manifest import CompactedFile
from otel_ml_metrics.prediction_log.merging import Source, look, merge
from otel_ml_metrics.storage.copies import LocalCopies

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otel_ml_metrics.prediction_log.folder import ModelFolder
    from otel_ml_metrics.storage.files import StoredFile

GROWTH: Final = 2
"""A compacted file is merged again when what it is merged with comes to its size divided by this."""


@dataclass(frozen=True)
class Batch:
    """Files of one date that may be merged.

    Args:
        date: UTC date of their predictions.
        segments: Segments that no compacted file holds.
        compacted: Compacted files that are not much larger.
    """

    date: str
    segments: tuple[StoredFile, ...]
    compacted: tuple[CompactedFile, ...]

    @property
    def files(self) -> int:
        """How many they are."""
        return len(self.segments) + len(self.compacted)

    @property
    def size(self) -> int:
        """Bytes of all."""
        return sum(file.size for file in self.segments) + sum(file.size for file in self.compacted)


@dataclass(frozen=True)
class Merged:
    """What one merge did.

    Args:
        date: UTC date of the predictions.
        files: How many files became one.
        rows: Rows of it.
        size_before: Bytes of the files.
        size: Bytes of the one.
    """

    date: str
    files: int
    rows: int
    size_before: int
    size: int


def batches(folder: ModelFolder) -> list[Batch]:
    """Files that may be merged, by date; what comes of it, their schemas decide.

    Raises:
        LogError: The log cannot be listed.
    """
    segments: dict[str, list[StoredFile]] = defaultdict(list)
    for name, file in folder.live().items():
        segments[date_of_file(name)].append(file)
    found = []
    for date, files in sorted(segments.items()):
        compacted = [file for file in folder.manifest.files if file.date == date]
        found.append(Batch(date, tuple(files), tuple(_worthwhile(files, compacted))))
    return [batch for batch in found if batch.files > 1]


def compact(folder: ModelFolder, batch: Batch) -> list[Merged]:
    """Merge files of one date, those of one schema into one, and publish each as it is done.

    Raises:
        LogError: A file cannot be read or written.
        LogBusyError: Another process has published something meanwhile.
    """
    done = []
    with folder.told(), closing(LocalCopies()) as copies:
        for digest, alike in sorted(_by_schema(batch, copies).items()):
            segments = [file for file, _ in alike]
            compacted = _worthwhile(segments, [file for file in batch.compacted if file.schema == digest])
            paths = copies.local([f"{folder.path}/{file.name}" for file in compacted])
            sources = [source for _, source in alike] + [look(path, None) for path in paths]
            if len(sources) > 1:
                names = {_base(file.path) for file in segments} | {name for file in compacted for name in file.segments}
                made = _write(folder, batch.date, sources, sorted(names))
                done.append(_publish(folder, made, segments, compacted))
    return done


def _write(folder: ModelFolder, date: str, sources: Sequence[Source], names: Sequence[str]) -> CompactedFile:
    """Write the file that has the rows of some others; nobody knows of it yet."""
    name = compacted_name(date)
    expected, written = sum(source.rows for source in sources), []

    def fill(file: IO[bytes]) -> None:
        written.append(merge(sources, names, file))

    folder.storage.write(f"{folder.path}/{name}", fill)
    made = folder.storage.stat(f"{folder.path}/{name}")
    if made is None or written != [expected]:
        message = (
            f"Merging {len(sources)} files of {date} gave {written} rows instead of {expected}; nothing was published."
        )
        raise LogError(message)
    return CompactedFile(name, expected, made.size, sources[0].digest, tuple(names))


def _publish(
    folder: ModelFolder, made: CompactedFile, segments: Sequence[StoredFile], compacted: Sequence[CompactedFile]
) -> Merged:
    gone = [folder.name_of(file) for file in segments] + [file.name for file in compacted]
    folder.publish(folder.manifest.replaced(gone, by=made, at=folder.now))
    before = sum(file.size for file in segments) + sum(file.size for file in compacted)
    return Merged(made.date, len(gone), made.rows, before, made.size)


def _worthwhile(segments: Sequence[StoredFile], compacted: Iterable[CompactedFile]) -> list[CompactedFile]:
    """The compacted files to merge with some segments: from the smallest on, as long as they are not much larger."""
    size = sum(file.size for file in segments)
    chosen = []
    for file in sorted(compacted, key=lambda file: file.size):
        if file.size > GROWTH * size:
            break
        chosen.append(file)
        size += file.size
    return chosen


def _by_schema(batch: Batch, copies: LocalCopies) -> dict[str, list[tuple[StoredFile, Source]]]:
    """The segments of a batch by the digest of their columns."""
    alike: dict[str, list[tuple[StoredFile, Source]]] = defaultdict(list)
    for file, path in zip(batch.segments, copies.local([file.path for file in batch.segments]), strict=True):
        source = look(path, _base(file.path))
        alike[source.digest].append((file, source))
    return alike


def _base(path: str) -> str:
    return path.rpartition("/")[2]
