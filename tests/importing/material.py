"""Worlds whose predictions something else writes: Parquet files or a table, with columns under names of their own."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import sqlalchemy as sa
from pyarrow import parquet

from tests.evaluation.material import INSTANT, Prediction, World, us
from tests.evaluation.oracle_measures import Row
from tests.labels.material import FORMS, Form

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from otel_ml_metrics.configuration import Evaluation
    from tests.evaluation.oracle import Settings

NAMES: Final = {
    "id": "order_id",
    "predicted_at": "scored_at",
    "score": "probability",
    "prediction": "decided",
    "version": "release",
    "variant": "arm",
}
"""How they name what we name otherwise."""

FIELDS: Final = ("fare", "carrier", "origin", "customer", "region")
TYPES: Final[dict[str, pa.DataType]] = {
    "order_id": pa.string(),
    "scored_at": INSTANT,
    "probability": pa.float64(),
    "decided": pa.bool_(),
    "release": pa.string(),
    "arm": pa.string(),
    "fare": pa.float64(),
    "carrier": pa.string(),
    "origin": pa.string(),
    "customer": pa.int64(),
    "region": pa.string(),
    "internal": pa.string(),
}


def theirs(row: Prediction) -> dict[str, Any]:
    """A row as they write it, with a column that nobody needs."""
    named = {name: getattr(row, ours) for ours, name in NAMES.items()}
    return named | {name: getattr(row, name) for name in FIELDS} | {"internal": "x"}


@dataclass
class ForeignWorld(World):
    """Predictions are files that something else writes."""

    written: int = 0

    def log(self, rows: Iterable[Prediction], name: str | None = None, schema: pa.Schema | None = None) -> None:
        """Write one file, whatever the dates; files are read in the order in which they were written."""
        del name, schema
        rows = list(rows)
        self.write(rows)
        self.note(rows)

    def note(self, rows: Sequence[Prediction]) -> None:
        """Tell the oracle of rows, in the order in which they are taken over."""
        self.written += 1
        for row in rows:
            facets = {name: getattr(row, name) for name in Row._fields if name not in {"predicted_us", "segment"}}
            self.predictions.append(Row(predicted_us=us(row.predicted_at), segment=f"{self.written:06d}", **facets))

    def write(self, rows: Sequence[Prediction], name: str | None = None) -> Path:
        """Write a file that the oracle knows nothing of."""
        types = TYPES | ({"decided": pa.float64()} if self.task == "regression" else {})
        table = pa.Table.from_pylist([theirs(row) for row in rows], pa.schema(list(types.items())))
        path = self.folder / "scores" / f"{f'{self.written:06d}' if name is None else name}.parquet"
        path.parent.mkdir(exist_ok=True)
        parquet.write_table(table, path)
        return path

    @property
    def foreign(self) -> dict[str, Any]:
        """What the settings say of the predictions."""
        return {"path": str(self.folder / "scores"), **NAMES}

    def evaluation(self, settings: Settings | None = None, **given: Any) -> Evaluation:
        """An evaluation that takes the predictions over."""
        return super().evaluation(settings, **{"predictions": self.foreign} | given)


@dataclass
class ForeignTableWorld(ForeignWorld):
    """Predictions are rows of a table that something else writes.

    Args:
        url: Of the database; default: a file in the folder.
        form: How instants are kept.
        table: Its name.
    """

    url: str = ""
    form: Form = FORMS["text in UTC"]
    table: str = field(default_factory=lambda: f"scores_{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        """Make the table."""
        self.url = self.url or f"sqlite:///{self.folder}/scores.db"
        decided = "DOUBLE PRECISION" if self.task == "regression" else "BOOLEAN"
        self.execute(
            f"CREATE TABLE {self.table} (order_id TEXT, scored_at {self.form.column}, probability DOUBLE PRECISION,"
            f" decided {decided}, release TEXT, arm TEXT, fare DOUBLE PRECISION, carrier TEXT, origin TEXT,"
            " customer INT, region TEXT, internal TEXT)"
        )

    def execute(self, statement: str, rows: list[dict[str, Any]] | None = None) -> None:
        """Run a statement and commit it."""
        engine = sa.create_engine(self.url, poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.text(statement), rows or [{}])
        engine.dispose()

    def write(self, rows: Sequence[Prediction], name: str | None = None) -> Path:
        """Insert rows that the oracle knows nothing of."""
        del name
        values = [theirs(row) | {"scored_at": self.form.write(row.predicted_at)} for row in rows]
        if values:
            names = ", ".join(f":{each}" for each in TYPES)
            self.execute(f"INSERT INTO {self.table} VALUES ({names})", values)
        return self.folder

    @property
    def foreign(self) -> dict[str, Any]:
        """What the settings say of the predictions."""
        return {"url": self.url, "table": self.table, "zone": self.form.zone, **NAMES}
