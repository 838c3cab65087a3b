"""Merges Parquet files of the log into one that is sorted by prediction_id, in bounded memory.

A sweep over row groups in the order of their smallest ids, which the footers tell: read until there are enough rows,
sort them, and write those that are smaller than everything that is still unread. Ids of ours begin with their instant,
so the segments of a day hardly overlap, and every row is read and written once. Ids in no order overlap everywhere:
then what cannot be written yet is set aside as a sorted run, whose small row groups take part in the sweep like others;
every row is then written twice.

Sorting by DuckDB was tried (COPY of an ORDER BY, the same rows and settings): 2.5 times the processor time of this, and
types, nullability and metadata of the columns change on the way.
"""

from __future__ import annotations

import hashlib
import heapq
import tempfile
import threading
from bisect import bisect_right
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from otel_ml_metrics.attribution.portions import CARRIED, ROW_COLUMN, SEGMENT_COLUMN
from otel_ml_metrics.prediction_log import arrow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

MOST_OPEN_FILES: Final = 64
"""Files that a thread keeps open for their next row group."""

READERS: Final = 2
"""Threads that read; each small file costs more in footers and pages than in rows."""

_ID: Final = "prediction_id"
_CODE: Final = pa.int32()


@dataclass(frozen=True)
class Sizes:
    """How much is done at a time, in rows.

    Of row groups of 4,096 to 122,880 rows, one id in four million was found soonest with 32,768 and 65,536: smaller
    ones make the footer large, larger ones rule out less.

    Args:
        group: Rows of a row group.
        sorted: Rows that are sorted at a time, at least.
        held: Rows that wait in memory for smaller ids; more are set aside.
    """

    group: int = 32_768
    sorted: int = 262_144
    held: int = 1_048_576


SIZES: Final = Sizes()


@dataclass(frozen=True, order=True)
class RowGroup:
    """One row group of a file, as its footer tells.

    Args:
        first: Its smallest id; empty where the footer does not say.
        rows: How many rows it has.
        path: The file.
        at: Its place in the file.
        start: Rows before it in the file.
    """

    first: str
    rows: int
    path: str
    at: int
    start: int


@dataclass(frozen=True)
class Source:
    """A file that is merged.

    Args:
        path: Where it is; a local path.
        segment: The segment that it is; None for a compacted file, whose rows carry theirs.
        schema: Its columns, without those that compaction adds.
        groups: Its row groups.
    """

    path: str
    segment: str | None
    schema: pa.Schema
    groups: tuple[RowGroup, ...]

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return sum(group.rows for group in self.groups)

    @property
    def digest(self) -> str:
        """Of the columns: their order, names, types and whether they may be NULL, and what the file says of itself."""
        fields = [(field.name, str(field.type), field.nullable) for field in self.schema]
        told = repr((fields, sorted((self.schema.metadata or {}).items())))
        return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


def look(path: str, segment: str | None) -> Source:
    """What the footer of a file says.

    Raises:
        OSError: It cannot be read, or is no Parquet file.
    """
    try:
        with parquet.ParquetFile(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
    except pa.ArrowException as error:
        message = f"{path} is no whole Parquet file: {error}"
        raise OSError(message) from error
    for name in CARRIED:
        if name in schema.names:
            schema = schema.remove(schema.get_field_index(name))
    column = [metadata.schema.column(at).path for at in range(metadata.num_columns)].index(_ID)
    groups, start = [], 0
    for at in range(metadata.num_row_groups):
        group = metadata.row_group(at)
        statistics = group.column(column).statistics
        first = str(statistics.min) if statistics is not None and statistics.has_min_max else ""
        groups.append(RowGroup(first, group.num_rows, path, at, start))
        start += group.num_rows
    return Source(path, segment, schema, tuple(groups))


def merge(sources: Sequence[Source], segments: Sequence[str], target: IO[bytes], *, sizes: Sizes = SIZES) -> int:
    """Write the rows of files of one schema into one, sorted by id, each with its segment and its place in it.

    Args:
        sources: The files.
        segments: Names of all segments that the files hold.
        target: A binary file.
        sizes: How much is done at a time.

    Returns:
        How many rows were written.

    Raises:
        OSError: A file cannot be read, or a folder for what is set aside has no room.
    """
    schema = _carrying(sources[0].schema, arrow.TEXT)
    at, names = schema.get_field_index(SEGMENT_COLUMN), pa.array(segments, arrow.TEXT)
    rows = 0
    with tempfile.TemporaryDirectory(prefix="otel-ml-metrics-") as aside, arrow.writer(target, schema) as writer:
        for table in _Sweep(sources, segments, aside, sizes).tables():
            named = names.take(table.column(at))
            writer.write_table(table.set_column(at, schema.field(at), named), row_group_size=sizes.group)
            rows += len(table)
    return rows


def _carrying(schema: pa.Schema, segment: Any) -> pa.Schema:  # noqa: ANN401  # a type
    """The schema with the columns that compaction adds; inside, a segment is its place in a list."""
    added = [pa.field(SEGMENT_COLUMN, segment, nullable=False), pa.field(ROW_COLUMN, pa.int64(), nullable=False)]
    noted: dict[bytes | str, bytes | str] = dict((schema.metadata or {}).items())
    return pa.schema([*schema, *added], noted)


class _Sweep:
    """Reads row groups in the order of their smallest ids, and gives their rows sorted."""

    def __init__(self, sources: Sequence[Source], segments: Sequence[str], aside: str, sizes: Sizes) -> None:
        self._sizes = sizes
        self._codes = {name: code for code, name in enumerate(segments)}
        self._names = pa.array(segments, arrow.TEXT)
        self._segment_of = {source.path: source.segment for source in sources}
        self._schema = _carrying(sources[0].schema, _CODE)
        self._aside = aside
        self._runs: set[str] = set()
        self._unread = [group for source in sources for group in source.groups if group.rows]
        self._reading: deque[tuple[RowGroup, Future[pa.Table]]] = deque()
        self._ahead = 0
        self._own = threading.local()
        heapq.heapify(self._unread)

    def tables(self) -> Iterator[pa.Table]:
        """Every row, in the order of the ids; mostly tables of whole row groups."""
        held = self._schema.empty_table()
        with ThreadPoolExecutor(READERS, thread_name_prefix="otel-ml-metrics-read") as reader:
            while self._unread or self._reading:
                held = _sorted([held, *self._read(reader, max(self._sizes.sorted, len(held)))])
                ready = self._ready(held)
                if ready:
                    yield held.slice(0, ready)
                held = held.slice(ready)
                if len(held) > self._sizes.held:
                    self._set_aside(held)
                    held = self._schema.empty_table()

    def _ready(self, held: pa.Table) -> int:
        """How many of the first rows nothing unread comes before.

        In whole row groups, unless all are, or the rest is to be set aside: what is set aside has to come after
        something unread, or it would be read again at once, and again.
        """
        firsts = [group.first for group, _ in self._reading] + [group.first for group in self._unread[:1]]
        if not firsts:
            return len(held)
        ids = held.column(_ID)
        ready = bisect_right(range(len(held)), min(firsts), key=lambda at: str(ids[at]))
        return ready if len(held) - ready > self._sizes.held else ready // self._sizes.group * self._sizes.group

    def _read(self, reader: ThreadPoolExecutor, wanted: int) -> Iterator[pa.Table]:
        """At least so many rows, if there are; the next ones are read while these are worked on."""
        while wanted > 0 and (self._unread or self._reading):
            self._read_ahead(reader)
            group, future = self._reading.popleft()
            self._ahead -= group.rows
            wanted -= group.rows
            yield future.result()
        self._read_ahead(reader)

    def _read_ahead(self, reader: ThreadPoolExecutor) -> None:
        while self._unread and (self._ahead < self._sizes.sorted or not self._reading):
            group = heapq.heappop(self._unread)
            self._reading.append((group, reader.submit(self._load, group)))
            self._ahead += group.rows

    def _load(self, group: RowGroup) -> pa.Table:
        try:
            table = self._file(group.path).read_row_group(group.at, use_threads=False)
        except pa.ArrowException as error:
            message = f"{group.path} cannot be read: {error}"
            raise OSError(message) from error
        if group.path in self._runs:
            return table
        segment = self._segment_of[group.path]
        if segment is None:
            codes = pc.index_in(table.column(SEGMENT_COLUMN), self._names)
            return table.set_column(
                table.schema.get_field_index(SEGMENT_COLUMN), self._schema.field(SEGMENT_COLUMN), codes
            )
        code = np.full(len(table), self._codes[segment], dtype=np.int32)
        places = np.arange(group.start, group.start + len(table), dtype=np.int64)
        columns = [*table.columns, arrow.plain(code, _CODE), arrow.plain(places, pa.int64())]
        return pa.Table.from_arrays(columns, schema=self._schema)

    def _file(self, path: str) -> parquet.ParquetFile:
        """A file, kept open for its next row group; each thread has its own."""
        files: dict[str, parquet.ParquetFile] = self._own.__dict__.setdefault("files", {})
        if path not in files:
            while len(files) >= MOST_OPEN_FILES:
                files.pop(next(iter(files))).close()
            files[path] = parquet.ParquetFile(path)
        return files[path]

    def _set_aside(self, held: pa.Table) -> None:
        """Keep sorted rows as a run, whose row groups are read again when their turn comes."""
        path = f"{self._aside}/{len(self._runs)}.parquet"
        self._runs.add(path)
        with Path(path).open("wb") as file, arrow.writer(file, held.schema) as run:
            run.write_table(held, row_group_size=self._sizes.group)
        for at, start in enumerate(range(0, len(held), self._sizes.group)):
            first, rows = str(held.column(_ID)[start]), min(self._sizes.group, len(held) - start)
            heapq.heappush(self._unread, RowGroup(first, rows, path, at, start))


def _sorted(tables: Iterable[pa.Table]) -> pa.Table:
    """The rows of all tables by id."""
    together = pa.concat_tables(list(tables)).combine_chunks()
    order = pc.sort_indices(together.column(_ID))
    if bool(np.all(np.diff(order.to_numpy().astype(np.int64)) == 1)):
        return together
    return together.take(order)
