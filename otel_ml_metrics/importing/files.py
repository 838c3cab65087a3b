"""A foreign log in a folder of Parquet files that grows by new files."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

import pyarrow as pa
from pyarrow import parquet

from otel_ml_metrics.errors import LogError
from otel_ml_metrics.importing.stretches import Stretch
from otel_ml_metrics.sources.files import source_files
from otel_ml_metrics.sources.tabular import tables_of
from otel_ml_metrics.storage.copies import LocalCopies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_ml_metrics.declared_predictions import ForeignFiles
    from otel_ml_metrics.importing.progress import Progress
    from otel_ml_metrics.sources.files import SourceFile

MOST_BYTES: Final = 64 << 20
"""Bytes of files that are taken at once; a larger one is taken alone."""

BATCH_ROWS: Final = 131_072
"""Rows of a file that are in memory at a time."""


class ForeignFolder:
    """The files of a folder.

    Args:
        foreign: Where they are.
    """

    def __init__(self, foreign: ForeignFiles) -> None:
        self.shown = str(foreign.path)
        self.warnings: list[str] = []
        self._copies = LocalCopies()

    def stretches(self, progress: Progress, *, until_us: int) -> Iterator[Stretch]:
        """New files, some together; their predictions may be of any time."""
        del until_us
        files = self._listed()
        self._tell_changed(files, progress)
        group: list[SourceFile] = []
        for file in files.values():
            if file.name in progress.files:
                continue
            if group and sum(each.size for each in group) + file.size > MOST_BYTES:
                yield self._stretch(group)
                group = []
            group.append(file)
        if group:
            yield self._stretch(group)

    def glance(self) -> Stretch | None:
        """The beginning of the last file by name."""
        files = list(self._listed().values())
        return self._stretch(files[-1:], beginning=True) if files else None

    def _listed(self) -> dict[str, SourceFile]:
        try:
            return source_files(self.shown, endings=(".parquet",))
        except OSError as problem:
            message = f"The predictions {self.shown} cannot be listed: {problem.strerror or problem}."
            raise LogError(message) from problem

    def _tell_changed(self, files: dict[str, SourceFile], progress: Progress) -> None:
        for name, (stamp, fingerprint) in progress.files.items():
            file = files.get(name)
            if file is not None and file.stamp != stamp and _fingerprint(file) != fingerprint:
                self.warnings.append(
                    f"The file {file.path} changed after its predictions were taken over; what changed is not used."
                    " Write new predictions into new files. To take all of them over anew, name another folder under"
                    " predictions: into: and another ledger."
                )

    def names(self) -> frozenset[str]:
        """Names of the columns that any file has."""
        return frozenset[str]().union(*(self._opened(file).schema_arrow.names for file in self._listed().values()))

    def close(self) -> None:
        """Forget copies of what lies elsewhere."""
        self._copies.close()

    def _stretch(self, files: Sequence[SourceFile], *, beginning: bool = False) -> Stretch:
        # Looked at before it is read: a change while it is being read is found by the next run.
        seen = {} if beginning else {file.name: (file.stamp, _fingerprint(file)) for file in files}
        names = frozenset[str]().union(*(self._opened(file).schema_arrow.names for file in files))

        def note(progress: Progress) -> None:
            progress.files |= seen

        def tables(columns: Sequence[str]) -> Iterator[pa.Table]:
            every = chain.from_iterable(self._batches(file, columns) for file in files)
            return islice(every, 1) if beginning else every

        return Stretch(names, tables, note)

    def _batches(self, file: SourceFile, columns: Sequence[str]) -> Iterator[pa.Table]:
        opened = self._opened(file)
        chosen = [name for name in columns if name in opened.schema_arrow.names]
        with _told(file):
            for batch in opened.iter_batches(BATCH_ROWS, columns=chosen):
                yield from tables_of(batch)

    def _opened(self, file: SourceFile) -> parquet.ParquetFile:
        with _told(file):
            [path] = self._copies.local([file.path])
            return parquet.ParquetFile(path)


def _fingerprint(file: SourceFile) -> str:
    with _told(file):
        return file.fingerprint()


@contextmanager
def _told(file: SourceFile) -> Iterator[None]:
    """Name the file in what goes wrong with it."""
    try:
        yield
    except LogError:
        raise
    except (OSError, pa.ArrowException) as error:
        message = (
            f"The predictions in {file.path} cannot be read: {' '.join(str(error).split())}. If the file is still being"
            " written, write it aside and rename it when it is whole; else remove it."
        )
        raise LogError(message) from error
