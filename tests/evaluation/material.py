"""Prediction logs, label files and evaluations on disk, for tests: written by hand in the layout of the log."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyarrow import parquet

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation.oracle import Key, Said, Settings
from tests.evaluation.oracle_measures import Row, bin_of, declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from otel_ml_metrics.evaluation_report import Report, Value

MODEL: Final = "flight-delay"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
START: Final = datetime(2013, 4, 8, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
INSTANT: Final = pa.timestamp("us", tz="UTC")

_SEGMENT_FIELDS: Final[list[pa.Field[Any]]] = [
    pa.field("prediction_id", pa.string(), nullable=False),
    pa.field("predicted_at", INSTANT, nullable=False),
    pa.field("output", pa.string()),
    pa.field("version", pa.string()),
    pa.field("variant", pa.string()),
    pa.field("score", pa.float64()),
    pa.field("prediction", pa.bool_()),
    pa.field("score_bin", pa.int16()),
    pa.field("duration", pa.float64()),
    pa.field("weight", pa.float64()),
    pa.field("acted_on", pa.bool_()),
    pa.field("trace_id", pa.string()),
    pa.field("span_id", pa.string()),
    pa.field("carrier", pa.string()),
    pa.field("origin", pa.string()),
    pa.field("fare", pa.float64()),
    pa.field("customer", pa.int64()),
    pa.field("region", pa.string()),
]
SEGMENT: Final = pa.schema(
    _SEGMENT_FIELDS,
    metadata={"otel_ml_metrics.schema": "1", "otel_ml_metrics.bins": "logit1024"},
)
_LABEL_FIELDS: Final[list[pa.Field[Any]]] = [
    pa.field("prediction_id", pa.string()),
    pa.field("label", pa.bool_()),
    pa.field("received_at", INSTANT),
    pa.field("revision", pa.int64()),
    pa.field("customer", pa.int64()),
    pa.field("region", pa.string()),
    pa.field("occurred_at", INSTANT),
]
LABELS: Final = pa.schema(_LABEL_FIELDS)


def us(instant: datetime) -> int:
    """Microseconds of Unix time."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def at(instant_us: int) -> datetime:
    """The instant of microseconds of Unix time."""
    return EPOCH + timedelta(microseconds=instant_us)


def native_id(predicted_at: datetime, number: int) -> str:
    """An id as the monitor makes it: a UUIDv7 that carries the instant."""
    milliseconds = us(predicted_at) // 1000
    return f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7000-8000-{number:012x}"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A prediction as it is logged."""

    id: str = "p-1"
    predicted_at: datetime = START
    score: float | None = 0.8
    prediction: float | bool | None = True
    fare: float | None = 100.0
    weight: float | None = None
    carrier: str | None = "UA"
    origin: str | None = "EWR"
    version: str = "1"
    variant: str = "champion"
    customer: int | None = None
    region: str | None = None


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A label as it is received; one without a label, an instant or a name of whose it is cannot be used."""

    id: str | None = "p-1"
    label: float | bool | None = True
    received_at: datetime | None = START + HOUR
    revision: int = 0
    customer: int | None = None
    region: str | None = None
    occurred_at: datetime | None = None

    def said(self) -> Said:
        """What the oracle knows of it."""
        assert self.received_at is not None
        occurred_us = None if self.occurred_at is None else us(self.occurred_at)
        return Said(self.id, self.label, us(self.received_at), self.revision, self.customer, self.region, occurred_us)


@dataclass
class World:
    """A folder with a prediction log and label files, and everything that was ever put there; and a ledger."""

    folder: Path
    ledger: str | None = None
    predictions: list[Row] = field(default_factory=list)
    facts: list[Said] = field(default_factory=list)
    task: str = "binary"

    def log(self, rows: Iterable[Prediction], name: str | None = None, schema: pa.Schema | None = None) -> None:
        """Write one segment per date; `name` orders segments against each other."""
        schema = schema or _with_numbers(SEGMENT, "prediction", self.task)
        dates: dict[str, list[Prediction]] = {}
        for row in rows:
            dates.setdefault(row.predicted_at.date().isoformat(), []).append(row)
        for date, members in dates.items():
            made = f"{len(self.predictions):06d}" if name is None else name
            segment = f"s-1-{made}{date.replace('-', '')}.parquet"
            folder = self.folder / "predictions" / f"model={MODEL}" / f"dt={date}"
            folder.mkdir(parents=True, exist_ok=True)
            aside = folder / f".tmp-{made}"
            parquet.write_table(_segment(members, schema), aside)
            aside.rename(folder / segment)
            self.predictions += [_row(each, segment) for each in members]

    def label(self, rows: Iterable[Fact], name: str | None = None, form: str = "parquet") -> Path:
        """Write one label file, aside first, since somebody may be reading."""
        rows = list(rows)
        folder = self.folder / "labels"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{f'{len(self.facts):06d}' if name is None else name}.{form}"
        aside = path.with_name(f".{path.name}")
        columns = {name: [getattr(each, name) for each in rows] for name in LABELS.names if name != "prediction_id"}
        columns = {"prediction_id": [each.id for each in rows]} | columns
        if form == "csv":
            with aside.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(columns)
                writer.writerows(zip(*columns.values(), strict=True))
        else:
            parquet.write_table(pa.table(columns, _with_numbers(LABELS, "label", self.task)), aside)
        aside.rename(path)
        self.facts += [each.said() for each in rows if None not in (each.label, each.received_at)]
        return path

    def evaluation(self, settings: Settings | None = None, **given: Any) -> Evaluation:
        """An evaluation of this folder."""
        settings = settings or Settings()
        top = {} if settings.top is None else {"top": settings.top}
        defaults: dict[str, Any] = {
            "model": MODEL,
            "predictions": self.folder / "predictions",
            "task": settings.task,
            "labels": self._labels(settings),
            "ledger": self.ledger or f"sqlite:///{self.folder}/ledger.db",
            "measures": declared(settings.task, settings.measures),
            "window": timedelta(microseconds=settings.window_us),
            "window_offset": timedelta(microseconds=settings.offset_us),
            "attribution_window": timedelta(microseconds=settings.attribution_us),
            "maturities": [timedelta(microseconds=age) for age in settings.maturities_us],
            "slices": [{"fields": fields} | top for fields in settings.slices],
            "by": settings.by,
            "provisional": settings.provisional,
        }
        if settings.hold_back is not None:
            below, at_most_us = settings.hold_back
            defaults["hold_back"] = {"below": below, "at_most": timedelta(microseconds=at_most_us)}
        if settings.grace_us is not None:
            defaults["implicit_negative"] = {"grace": timedelta(microseconds=settings.grace_us)}
        return Evaluation(**defaults | given)

    def _labels(self, settings: Settings) -> dict[str, Any]:
        labels = {"path": str(self.folder / "labels"), "revision": "revision", "aggregate": settings.aggregate}
        if not settings.key:
            return labels
        within_us = settings.attribution_us if settings.within_us is None else settings.within_us
        within = {"within": timedelta(microseconds=within_us), "take": settings.take}
        return labels | within | {"key": list(settings.key), "occurred_at": "occurred_at"}

    def run(self, as_of: datetime, **given: Any) -> Report:
        """Run the evaluation once, with nowhere to send to."""
        with Evaluator(self.evaluation(**given), environ={}) as evaluator:
            return evaluator.run(as_of=as_of)


def _row(row: Prediction, segment: str) -> Row:
    facets = {name: getattr(row, name) for name in Row._fields if name not in {"predicted_us", "segment"}}
    return Row(predicted_us=us(row.predicted_at), segment=segment, **facets)


def _with_numbers(schema: pa.Schema, name: str, task: str) -> pa.Schema:
    """A schema in which a column is what a task decides: numbers where it is regression."""
    kind = pa.float64() if task == "regression" else pa.bool_()
    return schema.set(schema.get_field_index(name), pa.field(name, kind))


def _segment(rows: Sequence[Prediction], schema: pa.Schema) -> pa.Table:
    columns: dict[str, list[Any]] = {
        name: [getattr(row, name, None) for row in rows] for name in schema.names
    }  # fmt: skip
    columns["prediction_id"] = [row.id for row in rows]
    columns["score_bin"] = [bin_of(row.score) for row in rows]
    return pa.table(columns, schema)


_UNITS: Final = {"w": 7 * DAY, "d": DAY, "h": HOUR, "m": MINUTE, "s": timedelta(seconds=1)}


def key_of(value: Value) -> Key:
    """What a value of a report is the value of, as the oracle names it."""
    age = int(value.maturity[:-1]) * _UNITS[value.maturity[-1]]
    return Key(
        value.measure,
        us(value.window_start),
        age // timedelta(microseconds=1),
        value.version,
        value.variant,
        tuple(sorted(value.slice.items())),
        value.stage,
    )
