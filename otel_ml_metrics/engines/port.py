"""What an engine has to do: run SQL over files and tables, and give tables back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa


class Engine(Protocol):
    """An SQL engine. Statements are written in DuckDB's dialect; only sums and new labels come back in bulk."""

    def sql(self, query: str) -> pa.Table:
        """Run a query and give its rows."""

    def define(self, name: str, query: str) -> None:
        """Name a query, to be run wherever the name is used."""

    def materialise(self, name: str, query: str) -> int:
        """Run a query once and keep its rows under a name; how many they are."""

    def types(self, relation: str) -> dict[str, str]:
        """Type of each column of a relation, in DuckDB's words."""

    def may_repeat(self, column: str, query: str) -> bool:
        """Whether a value of a column occurs twice in what a query gives; a wrong yes is allowed, a wrong no is not."""

    def put(self, name: str, table: pa.Table) -> None:
        """Keep a table under a name."""

    def scan(self, paths: Sequence[str], *, form: str) -> str:
        """SQL of a relation over files (`parquet` or `csv`), with `filename` and, for Parquet, `file_row_number`."""

    def interrupt(self) -> None:
        """Stop the running query, from another thread."""

    def close(self) -> None:
        """Forget everything."""
