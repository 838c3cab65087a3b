"""Rows and columns as they were recorded, read into a batch.

A bad value never spoils its row, and a bad row never its batch: what cannot be used reads as missing, and is a `Fault`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from otel_ml_metrics.batch import OUTCOMES, Fault, PredictionBatch, Reason, Row, Task
from otel_ml_metrics.columns import (
    NO_INSTANT,
    Categories,
    Read,
    are_given,
    as_column,
    is_scalar,
    read_booleans,
    read_categories,
    read_ids,
    read_instants,
    read_numbers,
    read_sets,
    read_texts,
    read_vectors,
)
from otel_ml_metrics.errors import BatchShapeError, FieldError, InstantError, OtelMLMetricsError, suggest
from otel_ml_metrics.identifiers import IdSource, PredictionIds
from otel_ml_metrics.request_fields import completed
from otel_ml_metrics.semconv import OUTCOME_ERROR, OUTCOME_NOT_FINITE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from otel_ml_metrics.expressions import Kind

_NOT_FINITE, _ERROR = OUTCOMES.index(OUTCOME_NOT_FINITE), OUTCOMES.index(OUTCOME_ERROR)
_TEXT_FIELDS: Final = ("trace_id", "span_id")
_GIVEN_FIELDS: Final = ("prediction_id", "predicted_at", "score", "prediction", "duration", "weight", "acted_on")
_SETTLED_FIELDS: Final = frozenset({"prediction_id", "predicted_at"})
_NOWHERE: Final[Mapping[str, object]] = {}  # a context without a span
RECORDED_FIELDS: Final = frozenset({*_GIVEN_FIELDS, *_TEXT_FIELDS})


class RowSchema:
    """The declared fields of one model, and how values become columns.

    What `prediction` is (boolean, number or text), and whether `score` is one number or one per class, is settled by
    the task, or else by the first value that is seen; a later value of another kind is a fault.

    Args:
        slices: Names of the slices.
        fields: Kind of each declared field.
        task: Kind of the model's decision, where it is declared.
    """

    def __init__(self, slices: Sequence[str], fields: Mapping[str, Kind], task: Task | None = None) -> None:
        self.slices = tuple(slices)
        self.fields = dict(fields)
        self._known = RECORDED_FIELDS.union(self.slices, self.fields)
        self._settled: dict[str, Any] = {}
        self._kinds: dict[Kind, Mapping[str, Kind]] = {}
        if task in {"binary", "quantile", "regression"}:
            self._settled["prediction"] = "boolean" if task == "binary" else "number"
        if task == "multilabel":
            self._settled["prediction"] = "string"
        if task in {"multilabel", "quantile"}:
            self._settled["score"] = "vector"
        self.has_sets = task == "multilabel"

    @property
    def names(self) -> frozenset[str]:
        """Every name that a row may carry."""
        return self._known

    @property
    def prediction_kind(self) -> Kind | None:
        """Kind of `prediction`; None as long as it is not settled."""
        kind: Kind | None = self._settled.get("prediction")
        return kind

    @property
    def has_vectors(self) -> bool:
        """Whether a score is one number per class."""
        return self._settled.get("score") == "vector"

    def kinds(self, prediction: Kind | None = None) -> Mapping[str, Kind]:
        """Kind of every column that an expression can use."""
        decided: Kind = prediction or self.prediction_kind or "boolean"
        if decided not in self._kinds:  # every batch holds them: the same ones
            own: dict[str, Kind] = dict.fromkeys(("score", "duration", "weight"), "number")
            own |= {"prediction": decided, "acted_on": "boolean"}
            self._kinds[decided] = own | dict.fromkeys(self.slices, "string") | self.fields
        return self._kinds[decided]

    def read_rows(self, rows: Sequence[Row]) -> PredictionBatch:
        """Turn recorded rows into columns; ids and instants were settled when they were recorded."""
        instants, ids, contexts, given, _ = zip(*rows, strict=True) if rows else ((),) * 5
        fields: Sequence[Mapping[str, object]] = given
        places: Sequence[object] = (_NOWHERE,)
        if any(contexts):
            fields = [completed(row, context, self._known) for row, context in zip(given, contexts, strict=True)]
            places = [context or _NOWHERE for context in contexts]
        reading = _Reading(self, len(rows))
        names: set[str] = set().union(*fields)
        alike = sum(map(len, fields)) == len(names) * len(rows)  # every row has every field, as almost always
        for name in sorted(names - self._known):
            reading.unknown(name, sum(name in row for row in fields))
        for name in sorted((names & self._known) - _SETTLED_FIELDS):
            column = [row[name] for row in fields] if alike else [row.get(name) for row in fields]
            reading.column(name, column, given=len(rows) if alike else sum(name in row for row in fields))
        if not _SETTLED_FIELDS.isdisjoint(names):
            reading.settled(instants, ids, fields)
        return reading.batch(np.array(instants, dtype=np.int64), ids, places)

    def read_batch(
        self, fields: Mapping[str, object], *, now_us: int, id_source: IdSource, context: object
    ) -> PredictionBatch:
        """Turn columns into a batch, copying what it keeps; a scalar is repeated.

        Raises:
            BatchShapeError: Columns differ in length, so nothing says which values belong together.
        """
        given = {name: value for name, value in completed(fields, context, self._known).items() if value is not None}
        columns = {name: value for name, value in given.items() if not is_scalar(value)}
        arrays = {name: as_column(value) for name, value in columns.items() if name in self._known}
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise BatchShapeError(lengths)
        undeclared = [len(as_column(value)) for name, value in columns.items() if not lengths and name not in arrays]
        rows = next(iter(lengths.values()), max(undeclared, default=1))
        reading = _Reading(self, rows)
        for name in sorted(given):
            if name not in self._known:
                reading.unknown(name, rows)
            elif name in arrays:
                reading.column(name, arrays[name], given=rows)
            elif rows:
                reading.column(name, [given[name]], given=1)
        predicted_at = reading.instants(now_us)
        return reading.batch(predicted_at, reading.ids(predicted_at, id_source), [context])


class _Reading:
    """One batch while it is read."""

    def __init__(self, schema: RowSchema, rows: int) -> None:
        self._schema = schema
        self._rows = rows
        self._values: dict[str, NDArray[Any]] = {}
        self._slices: dict[str, Categories] = {}
        self._scores: NDArray[np.object_] | None = None
        self._instants: NDArray[np.int64] | None = None
        self._ids: NDArray[np.object_] | None = None
        self._outcomes = np.zeros(rows, dtype=np.int8)
        self._faults: list[Fault] = []
        self._repeats = 1

    def unknown(self, name: str, count: int) -> None:
        """Note a field that was not declared; it goes nowhere."""
        hint = suggest(name[:100], self._schema.names)
        message = f"The field {name[:100]!r} is not declared. {hint} Declare it in `fields` or `slices` of the monitor."
        self._fault("unknown_field", count, FieldError(message))

    def column(self, name: str, column: NDArray[Any] | list[Any], *, given: int) -> None:
        """Read one declared column; a column of one value is repeated."""
        self._repeats = self._rows if len(column) == 1 else 1
        if name in self._schema.slices:
            self._slices[name] = self._checked(name, read_categories(column), "a text")
        elif name == "prediction_id":
            self._ids = self._checked(name, read_ids(column), "a text that is not empty")
        elif name == "predicted_at":
            self._read_instants(column)
        elif name == "score":
            self._read_score(column, given)
        elif name == "prediction":
            self._read_prediction(column, given)
        else:
            self._read_field(name, column, given)

    def settled(self, instants: Sequence[int], ids: Sequence[str], fields: Sequence[Mapping[str, object]]) -> None:
        """Note the ids and instants that could not be used when their rows were recorded."""
        odd_instants = [row["predicted_at"] for at, row in zip(instants, fields, strict=True) if at == NO_INSTANT]
        given_ids = [(row.get("prediction_id"), kept) for kept, row in zip(ids, fields, strict=True)]
        odd_ids = [
            given for given, kept in given_ids if given is not None and not (isinstance(given, str) and given == kept)
        ]
        for name, column in (("predicted_at", odd_instants), ("prediction_id", odd_ids)):
            apart = _Reading(self._schema, len(column))
            if column:
                apart.column(name, column, given=len(column))
            self._faults.extend(apart._faults)

    def instants(self, now_us: int) -> NDArray[np.int64]:
        """The instants that were given, or now."""
        return np.broadcast_to(np.int64(now_us), self._rows) if self._instants is None else self._instants

    def ids(self, predicted_at: NDArray[np.int64], id_source: IdSource) -> Sequence[str]:
        """The ids that were given, and our own where there are none."""
        own = PredictionIds(predicted_at, id_source.take_lane())
        if self._ids is None:
            return own
        return [own[row] if given is None else given for row, given in enumerate(self._ids)]

    def batch(self, predicted_at: NDArray[np.int64], ids: Sequence[str], contexts: Sequence[object]) -> PredictionBatch:
        """Everything that was read."""
        nothing = Categories(np.full(self._rows, -1, dtype=np.int32), ())
        for values in self._values.values():
            values.flags.writeable = False  # callables of the user see them
        return PredictionBatch(
            predicted_at=predicted_at,
            ids=ids,
            values=self._values,
            scores=self._scores,
            slices={name: self._slices.get(name, nothing) for name in self._schema.slices},
            kinds=self._schema.kinds(),
            outcomes=self._outcomes,
            contexts=contexts,
            faults=tuple(self._faults),
        )

    def _read_instants(self, column: NDArray[Any] | list[Any]) -> None:
        read = read_instants(column)
        self._instants = self._repeated(read.values)
        wrong = self._repeated_rows(read.wrong)
        if len(wrong):
            message = (
                f"predicted_at: expected an aware datetime or datetime64, found {read.found}. "
                "Give the instant its time zone, such as datetime.now(UTC); the row goes into no log."
            )
            self._fault("bad_instant", len(wrong), InstantError(message))

    def _read_score(self, column: NDArray[Any] | list[Any], given: int) -> None:
        kind = self._settle("score", _score_kind(column))
        present = are_given(column)
        if kind == "vector":
            vectors = read_vectors(column)
            self._scores = self._checked("score", vectors, "one number per class", outcome=_ERROR)
            finite = np.array([vector is None or bool(np.isfinite(vector).all()) for vector in vectors.values])
        else:
            numbers = read_numbers(column)
            self._values["score"] = self._checked("score", numbers, "a number", outcome=_ERROR)
            finite = np.isfinite(numbers.values) | ~present
            finite[numbers.wrong] = True
        self._not_finite("score", finite)
        self._missing("score", given - int(np.count_nonzero(present)))

    def _read_prediction(self, column: NDArray[Any] | list[Any], given: int) -> None:
        kind = self._settle("prediction", _kind_of(column))
        present = are_given(column)
        if self._schema.has_sets:
            read_ = read_sets(column)
            self._values["prediction"] = self._checked("prediction", read_, "a set of classes", outcome=_ERROR)
        elif kind == "string":
            self._values["prediction"] = self._checked("prediction", read_texts(column), "a text", outcome=_ERROR)
        elif kind == "boolean":
            read = read_booleans(column)
            self._values["prediction"] = self._checked("prediction", read, "a boolean", outcome=_ERROR)
        else:
            numbers = read_numbers(column)
            self._values["prediction"] = self._checked("prediction", numbers, "a number", outcome=_ERROR)
            finite = np.isfinite(numbers.values) | ~present
            finite[numbers.wrong] = True
            self._not_finite("prediction", finite)
        self._missing("prediction", given - int(np.count_nonzero(present)))

    def _read_field(self, name: str, column: NDArray[Any] | list[Any], given: int) -> None:
        if name == "acted_on":
            self._values[name] = self._checked(name, read_booleans(column), "a boolean")
        elif name in _TEXT_FIELDS or self._schema.fields.get(name) == "string":
            self._values[name] = self._checked(name, read_texts(column), "a text")
        elif name in {"duration", "weight"}:
            self._read_quantity(name, column, given)
        else:
            self._values[name] = self._checked(name, read_numbers(column), "a number")

    def _read_quantity(self, name: str, column: NDArray[Any] | list[Any], given: int) -> None:
        present = are_given(column)
        read = read_numbers(column)
        values = self._checked(name, read, "a number")
        finite = np.isfinite(read.values) | ~present
        finite[read.wrong] = True
        self._not_finite(name, finite, outcome=False)
        negative = int((values < 0).sum())
        if negative:
            message = f"{name}: expected a number of at least 0, found a negative one. It reads as missing."
            self._fault("negative_value", negative, FieldError(message))
        self._values[name] = np.where(np.isfinite(values) & (values >= 0), values, np.nan)
        self._missing(name, given - int(np.count_nonzero(present)))

    def _settle(self, name: str, kind: str | None) -> str:
        settled: dict[str, str] = self._schema._settled  # the same module: what is settled belongs to the schema  # noqa: SLF001  # the same module
        return settled.get(name, "number") if kind is None else settled.setdefault(name, kind)

    def _checked(self, name: str, read: Read[Any], expected: str, *, outcome: int | None = None) -> Any:  # noqa: ANN401  # anything may be passed
        wrong = self._repeated_rows(read.wrong)
        if len(wrong):
            message = (
                f"{name}: expected {expected}, found {read.found}. The value is left out, the rest of the row is kept."
            )
            self._fault("wrong_type", len(wrong), FieldError(message))
        if outcome is not None:
            self._outcomes[wrong] = outcome
        return self._repeated(read.values)

    def _not_finite(self, name: str, finite: NDArray[np.bool_], *, outcome: bool = True) -> None:
        if finite.all():
            return
        odd = self._repeated(~finite)
        if outcome:
            self._outcomes[odd & (self._outcomes == 0)] = _NOT_FINITE
        count = int(np.count_nonzero(odd))
        if count:
            message = f"{name}: expected a finite number, found NaN or infinity. The value is left out of every metric."
            self._fault("not_finite", count, FieldError(message))

    def _missing(self, name: str, missing: int) -> None:
        count = missing * self._repeats
        if count:
            message = f"{name}: expected a value, found None. Leave the field out where there is none."
            self._fault("missing_value", count, FieldError(message))

    def _repeated(self, values: Any) -> Any:  # an array, or categories  # noqa: ANN401  # anything may be passed
        if isinstance(values, Categories):
            return Categories(self._repeated(values.codes), values.values)
        return values if self._repeats == 1 else np.repeat(values, self._repeats)

    def _repeated_rows(self, wrong: NDArray[np.int64]) -> NDArray[np.int64]:
        return wrong if self._repeats == 1 or not len(wrong) else np.arange(self._rows)

    def _fault(self, reason: Reason, count: int, error: OtelMLMetricsError) -> None:
        self._faults.append(Fault(reason, count, error))


def _first(column: NDArray[Any] | list[Any]) -> Any:  # anything may be in a column  # noqa: ANN401  # anything may be passed
    present = are_given(column)
    return column[int(present.argmax())] if present.any() else None


def _kind_of(column: NDArray[Any] | list[Any]) -> Kind | None:
    first = _first(column)
    if isinstance(first, (bool, np.bool_)):
        return "boolean"
    if isinstance(first, str):
        return "string"
    return "number" if hasattr(first, "__float__") else None


def _score_kind(column: NDArray[Any] | list[Any]) -> Literal["number", "vector"] | None:
    first = _first(column)
    if isinstance(first, (list, tuple)) or getattr(first, "ndim", 0) == 1:
        return "vector"
    return "number" if hasattr(first, "__float__") else None
