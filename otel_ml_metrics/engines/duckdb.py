"""The embedded engine: DuckDB in the process, its zone UTC, extensions neither installed nor loaded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otel_ml_metrics.engines.text import text_sql
from otel_ml_metrics.errors import EngineError, MissingExtraError, OverflowedSumError
from otel_ml_metrics.storage.copies import LocalCopies
from otel_ml_metrics.storage.locations import is_url

try:
    import duckdb
except ImportError as error:
    raise MissingExtraError("duckdb", "evaluate", "Evaluating labels") from error  # noqa: EM101  # fields, no message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

_SETTINGS: Final = {
    "TimeZone": "'UTC'",
    "autoinstall_known_extensions": "false",
    "preserve_insertion_order": "false",
    "enable_progress_bar": "false",
}


class DuckDBEngine:
    """DuckDB in memory. It starts beside whatever comes before the first query, which takes about as long."""

    def __init__(self) -> None:
        starter = ThreadPoolExecutor(1, thread_name_prefix="otel-ml-metrics-start")
        self._started = starter.submit(_start)
        starter.shutdown(wait=False)
        self._copies = LocalCopies()
        self._kinds: dict[str, str] = {}

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        return self._started.result()

    def sql(self, query: str) -> pa.Table:
        """Run a query and give its rows."""
        with self._told():
            table: pa.Table = self._connection.sql(query).to_arrow_table()
        return table

    def define(self, name: str, query: str) -> None:
        """Name a query, to be run wherever the name is used."""
        self._drop(name)
        with self._told():
            self._connection.execute(f"CREATE TEMP VIEW {name} AS {query}")
        self._kinds[name] = "VIEW"

    def materialise(self, name: str, query: str) -> int:
        """Run a query once and keep its rows under a name; how many they are."""
        self._drop(name)
        with self._told():
            self._connection.execute(f"CREATE TEMP TABLE {name} AS {query}")
            self._kinds[name] = "TABLE"
            rows: list[tuple[Any, ...]] = self._connection.execute(f"SELECT count(*) FROM {name}").fetchall()
        return int(rows[0][0])

    def types(self, relation: str) -> dict[str, str]:
        """Type of each column of a relation; it is looked at once, which a DESCRIBE does three times."""
        with self._told():
            found = self._connection.sql(f"SELECT * FROM {relation}")
            return dict(zip(found.columns, map(str, found.types), strict=True))

    def may_repeat(self, column: str, query: str) -> bool:
        """Whether a value of a column may occur twice: sorting hashes takes half the time of counting texts."""
        hashes = self.sql(f"SELECT hash({column}) AS hash FROM ({query})").column("hash").to_numpy()
        ordered = np.sort(hashes)
        return bool((ordered[1:] == ordered[:-1]).any())

    def put(self, name: str, table: pa.Table) -> None:
        """Keep a table under a name."""
        self._drop(name)
        self._connection.register(name, table)
        self._kinds[name] = "ARROW"

    def scan(self, paths: Sequence[str], *, form: str) -> str:
        """SQL of a relation over files (of URLs: copies), with `filename` and, for Parquet, `file_row_number`."""
        try:
            listed = ", ".join(text_sql(path) for path in self._copies.local(paths))
        except OSError as error:
            raise EngineError(str(error)) from error
        if form == "csv":
            scan = (
                f"read_csv([{listed}], header = true, all_varchar = true, union_by_name = true, filename = true,"
                " null_padding = true, quote = '\"', escape = '\"')"
            )
        else:
            scan = (
                f"read_parquet([{listed}], union_by_name = true, filename = true, file_row_number = true,"
                " hive_partitioning = false)"
            )
        return (
            f"(SELECT * REPLACE ({self._copies.url_sql(paths[0])} AS filename) FROM {scan})"
            if is_url(paths[0])
            else scan
        )

    def interrupt(self) -> None:
        """Stop the running query, from another thread."""
        self._connection.interrupt()

    def close(self) -> None:
        """Forget everything."""
        self._connection.close()
        self._copies.close()

    def _drop(self, name: str) -> None:
        """Forget what has this name; what it is, is kept here, since asking the catalogue costs as much as a query."""
        kind = self._kinds.pop(name, None)
        if kind == "ARROW":
            self._connection.unregister(name)
        elif kind is not None:
            self._connection.execute(f"DROP {kind} {name}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn the engine's own errors into ours, its words included."""
        try:
            yield
        except duckdb.OutOfRangeException as error:
            message = f"A sum left the range in which it is exact: {error}"
            raise OverflowedSumError(message) from error
        except duckdb.Error as error:
            self._copies.forget()  # somebody may mend the file that could not be read
            raise EngineError(str(error)) from error


def _start() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    for name, value in _SETTINGS.items():
        connection.execute(f"SET {name} = {value}")
    return connection
