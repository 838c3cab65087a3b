"""The online façade: what a model server calls for every prediction, and the fence that nothing raises past."""

from __future__ import annotations

from functools import partial
from time import time_ns
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from opentelemetry.context import get_current

from otel_ml_metrics.batch import Fault, PredictionBatch, Row, Task
from otel_ml_metrics.columns import NO_INSTANT, as_column, is_scalar, read_id, read_instant
from otel_ml_metrics.errors import BatchShapeError, OtelMLMetricsError
from otel_ml_metrics.identifiers import IdSource
from otel_ml_metrics.reading import RowSchema
from otel_ml_metrics.semconv import (
    MONITOR_BUFFER_USAGE,
    MONITOR_CARDINALITY_OVERFLOW,
    MONITOR_DROPPED,
    MONITOR_FAULTS,
    PREDICTION_DURATION,
    PREDICTION_SCORE,
    PREDICTION_VALUE,
    PREDICTIONS,
    REASON,
    MetricDefinition,
)
from otel_ml_metrics.telemetry import settings
from otel_ml_metrics.telemetry.buffer import RecordBuffer, is_light, large_bytes
from otel_ml_metrics.telemetry.custom import CustomMetric, bind
from otel_ml_metrics.telemetry.drain import Drain
from otel_ml_metrics.telemetry.faults import FaultLog
from otel_ml_metrics.telemetry.instruments import instruments_of
from otel_ml_metrics.telemetry.pipeline import Aggregation, Pipeline, PredictionLog
from otel_ml_metrics.telemetry.processes import recorders

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from opentelemetry.metrics import MeterProvider


class ModelMonitor:
    """Records the predictions of one model: as metrics now, and in a log where their labels will find them.

    `record` appends to a bounded buffer and returns. A background thread drains it every `interval` seconds, and when
    it is half full. In production nothing raises past the monitor: bad input is counted in `ml.monitor.faults` and
    logged once a minute. With `on_fault="raise"`, or `OTEL_ML_METRICS_RAISE=1` in the environment, every row is worked
    off in the call and what is bad is raised, which is for tests.

    >>> with ModelMonitor("fraud", version="7", slices=["country"]) as monitor:
    ...     prediction_id = monitor.record(score=0.83, prediction=True, country="NL")
    >>> len(prediction_id)
    36

    Args:
        name: The model.
        version: Its version.
        variant: The arm that serves, such as champion or challenger.
        output: Which output of the model, where it has several.
        slices: Fields with texts of few values, by which metrics are split; a missing value is `(missing)`.
        fields: Other fields that are recorded: names of numbers, or a mapping of name to `number` or `string`.
        metrics: Metrics of your own, made by `counter`, `gauge` and `histogram`.
        log: Folder of the prediction log, or a URL such as `s3://bucket/predictions`, whose endpoint, region and keys
            are read from the environment (`AWS_ENDPOINT_URL`, `AWS_REGION`, …); needs the extra `log`. None keeps no
            predictions.
        meter_provider: Where metrics go; the global provider by default.
        task: `binary` reads `prediction` as a boolean, `regression` as a number with a histogram of its own,
            `quantile` as a number, and `score` as the vector of the quantiles; None lets the first value settle it.
        score_unit: Unit of `score`; `1` for a probability.
        score_bounds: Bounds of its histogram; twenty equal buckets from 0 to 1 for a probability.
        value_unit: Unit of `prediction` of a regression.
        value_bounds: Bounds of its histogram; None leaves them to the OpenTelemetry SDK.
        buffer_rows: Rows that wait at most; when it is full the newest are dropped and counted in `ml.monitor.dropped`.
        buffer_bytes: Bytes of what waits and is worked off, at most: an ordinary row counts as a kilobyte; long texts,
            lists of scores, many fields, and batches count as they are.
        interval: Seconds between two drains.
        attribute_sets: Most combinations of slices that are told apart, per model; the rest is folded into one.
        on_fault: `count` or `raise`; None asks the environment.

    Raises:
        FieldError: A slice or field has a reserved name or is declared twice.
        ConfigurationError: Another argument cannot be used.
        ExpressionError: A metric uses a column that is not declared, or its parts do not fit together.
        MissingExtraError: `log` is given and pyarrow is not installed.
        LogError: `log` cannot be written to.
    """

    def __init__(
        self,
        name: str,
        *,
        version: str | None = None,
        variant: str | None = None,
        output: str | None = None,
        slices: Sequence[str] = (),
        fields: settings.FieldKinds = (),
        metrics: Sequence[CustomMetric] = (),
        log: str | os.PathLike[str] | None = None,
        meter_provider: MeterProvider | None = None,
        task: Task | None = None,
        score_unit: str = "1",
        score_bounds: Sequence[float] | None = None,
        value_unit: str = "1",
        value_bounds: Sequence[float] | None = None,
        buffer_rows: int = 65_536,
        buffer_bytes: int = 64 << 20,
        interval: float = 1.0,
        attribute_sets: int = 1_000,
        on_fault: Literal["count", "raise"] | None = None,
    ) -> None:
        texts = {"name": name, "version": version, "variant": variant, "output": output}
        identity = settings.identity(texts)
        schema = RowSchema(*settings.declared(slices, fields), settings.checked_task(task))
        score = settings.built_in(PREDICTION_SCORE, score_unit, score_bounds)
        value = settings.built_in(PREDICTION_VALUE, value_unit, value_bounds) if task == "regression" else None
        custom = [bind(metric, schema) for metric in settings.distinct(metrics)]
        settings.check_positive(
            buffer_rows=buffer_rows, buffer_bytes=buffer_bytes, interval=interval, attribute_sets=attribute_sets
        )
        raising = settings.raising(on_fault)
        writer = None if log is None else _log_writer(settings.log_path(log), texts, schema)

        instruments = instruments_of(meter_provider)
        accumulators = instruments.accumulators(name, attribute_sets)
        own = [PREDICTIONS, score, PREDICTION_DURATION, *([value] if value else []), *_SELF_TELEMETRY]
        for definition in [*own, *(metric.definition for metric in custom)]:
            instruments.declare(definition)

        def counted(metric: MetricDefinition) -> Callable[[str, int], None]:
            return lambda reason, count: accumulators.tally(metric.name, {**identity, REASON: reason}, count)

        self._meter_provider = meter_provider
        self._schema = schema
        self._drop = counted(MONITOR_DROPPED)
        self._faults = FaultLog(f"Monitor of {name!r}", counted(MONITOR_FAULTS), raising=raising)
        self._raising = raising
        self._buffer = RecordBuffer(buffer_rows, buffer_bytes)
        self._ids = IdSource()
        aggregation = Aggregation(
            instruments, accumulators, identity, score=score, value=value, custom=custom, faults=self._faults
        )
        self._pipeline = Pipeline(self._buffer, schema, aggregation, log=writer, faults=self._faults, drop=self._drop)
        np.ma  # noqa: B018  # numpy loads it when `unique` first asks for it: here, and not in the thread of the drain
        self._drain = Drain(self._pipeline.drain, interval=interval, owner=self)
        self._watch = partial(instruments.watch, attributes=identity)
        self._watch(self._buffer)
        self._large_batch = max(1, buffer_rows // 64)
        self._closed = False
        recorders.add(self, self._drain)

    @property
    def meter_provider(self) -> MeterProvider | None:
        """Where metrics go; None for the global provider."""
        return self._meter_provider

    @property
    def declared(self) -> tuple[str, ...]:
        """Names of the slices and fields."""
        return (*self._schema.slices, *self._schema.fields)

    def record(self, /, **row: Any) -> str | None:  # whatever is passed, nothing may raise  # noqa: ANN401  # anything may be passed
        """Record one prediction.

        Fields are `score` (a number, or one per class), `prediction`, `duration` (seconds), `weight`, `acted_on`,
        `predicted_at` (an aware datetime or datetime64; default now), `prediction_id` (default a UUIDv7 that carries
        `predicted_at`), `trace_id` and `span_id` (default those of the current span), and what the model declares.
        A field that is not declared is counted and dropped; the rest of the row is recorded.

        Returns:
            The id of the prediction, for its label; None if it was dropped: the buffer is full, or the monitor shut.
        """
        try:
            if is_light(row) and "prediction_id" not in row and "predicted_at" not in row:
                at = time_ns() // 1000
                prediction_id = self._ids.next_id(at)
                item: Row = (at, prediction_id, get_current() or None, row, 0)
                if self._buffer.append(item) or self._insist(item):
                    return prediction_id
            else:
                item = self._unusual(row)
                if (item[-1] == 0 and self._buffer.append(item)) or self._insist(item):
                    return item[1]
        except Exception as error:
            if self._raising:
                raise
            self._refuse(_internal(error), 1)
        return None

    def record_batch(self, /, **columns: Any) -> Sequence[str]:  # whatever is passed, nothing may raise  # noqa: ANN401  # anything may be passed
        """Record many predictions at once, with the fields of `record` as columns.

        A column is a list, a numpy array, or a pandas, Polars or PyArrow column; a scalar is repeated. What is kept is
        copied. A batch for which the buffer has no room is added up, and logged, in the call.

        Returns:
            One id per row, made when it is looked at; empty if the columns differ in length, which is a fault.
        """
        try:
            return self._record_batch(columns)
        except BatchShapeError as error:
            self._refuse(Fault("wrong_length", 1, error), max(error.lengths.values()))
            return ()
        except Exception as error:
            if self._raising:
                raise
            self._refuse(_internal(error), _rows_of(columns))
            return ()

    def refuse(self, error: Exception, rows: int = 1) -> None:
        """Count predictions that could not be read as lost, and the error as a fault; for integrations.

        Args:
            error: What went wrong; raised where faults are.
            rows: How many predictions.
        """
        if self._raising:
            raise error
        self._refuse(_internal(error), rows)

    def force_flush(self, timeout: float = 30.0) -> bool:
        """Wait until all that was recorded before stands in the accumulators and, durable and readable, in the log.

        It exports nothing: flush the meter provider for that.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether it came that far in time, and nothing of it was lost.
        """
        return self._drain.flush(timeout)

    def shutdown(self, timeout: float = 30.0) -> bool:
        """Flush and end the background thread; what is recorded later is dropped and counted.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether everything was flushed in time.
        """
        self._closed = True
        self._buffer.close()
        return self._drain.stop(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()

    def before_fork(self) -> None:
        """Come to rest; for the hook that the package registers, not for you."""
        self._pipeline.rest()

    def after_fork(self, *, in_child: bool) -> None:
        """Go on in the parent, start anew in the child; for the hook that the package registers, not for you."""
        if not in_child:
            self._pipeline.resume()
            return
        self._buffer.clear()
        self._pipeline.clear()
        self._faults.clear()
        self._drain.clear()
        self._ids = IdSource()
        self._watch(self._buffer)
        recorders.add(self, self._drain)

    def _unusual(self, row: dict[str, Any]) -> Row:
        """A row that gives its id or its instant, or holds more than a few bytes."""
        now_us = time_ns() // 1000
        predicted_at, given = row.get("predicted_at"), row.get("prediction_id")
        at = now_us if predicted_at is None else read_instant(predicted_at)[0]
        prediction_id = None if given is None else read_id(given)[0]
        if prediction_id is None:
            prediction_id = self._ids.next_id(now_us if at == NO_INSTANT else at)
        score = row.get("score")
        if isinstance(score, (list, np.ndarray)):
            row["score"] = score.copy()  # the caller may reuse theirs
        return at, prediction_id, get_current() or None, row, large_bytes(row)

    def _record_batch(self, columns: dict[str, Any]) -> Sequence[str]:
        if self._closed:
            self._overflow(_rows_of(columns))
            return ()
        now_us = time_ns() // 1000
        batch = self._schema.read_batch(columns, now_us=now_us, id_source=self._ids, context=get_current())
        if self._raising:
            self._pipeline.process_now(batch)
        elif not len(batch):
            self._faults.report(batch.faults)
        elif not self._put(batch):
            if len(batch) < self._large_batch:
                self._overflow(len(batch))
                return ()
            self._pipeline.drain(batch)
        return batch.ids

    def _insist(self, item: Row) -> bool:
        """Take a row that does not simply go into the buffer, or count it as dropped.

        Where faults are raised every row comes here: a buffer whose first row nobody was told of lets no other in.
        """
        if self._raising and not self._closed:
            self._pipeline.process_now(self._schema.read_rows([item]))
        elif not self._put(item):
            self._overflow(1)
            return False
        return True

    def _put(self, item: Row | PredictionBatch) -> bool:
        if not self._buffer.insist(item):
            return False
        if self._buffer.rings():
            if not self._drain.running:
                recorders.add(self, self._drain)  # again, so as to end before a meter provider that was made since
            self._drain.wake()
        return True

    def _overflow(self, rows: int) -> None:
        reason = "shut_down" if self._closed else "buffer_full"
        self._drop(reason, rows)
        self._faults.mention(reason, rows, _DROPPED[reason])

    def _refuse(self, fault: Fault, rows: int) -> None:
        """Count what could not be recorded at all; the only place where an error of the caller's thread ends."""
        self._drop(fault.reason, rows)
        self._faults.report([fault])
        self._drain.wake()


_DROPPED = {
    "buffer_full": "Predictions come faster than they are drained. Raise buffer_rows, or buffer_bytes for large ones.",
    "shut_down": "The monitor is shut down: what is recorded now is lost.",
}
_SELF_TELEMETRY = (MONITOR_DROPPED, MONITOR_FAULTS, MONITOR_BUFFER_USAGE, MONITOR_CARDINALITY_OVERFLOW)


def _internal(error: Exception) -> Fault:
    message = f"A prediction could not be recorded: {type(error).__name__}"
    return Fault("internal", 1, OtelMLMetricsError(message))


def _log_writer(log: str, texts: dict[str, str | None], schema: RowSchema) -> PredictionLog:
    from otel_ml_metrics.prediction_log.writer import LogWriter  # pyarrow is an extra  # noqa: PLC0415  # an extra, resolved when it is asked for

    constants = {name: text for name, text in texts.items() if name != "name"}
    return LogWriter(log, model=str(texts["name"]), constants=constants, slices=schema.slices, fields=schema.fields)


def _rows_of(columns: dict[str, Any]) -> int:
    """Rows that a refused batch had, as far as it shows."""
    try:
        return max((len(as_column(value)) for value in columns.values() if not is_scalar(value)), default=1)
    except Exception:  # hostile columns: the batch counts as one row  # noqa: BLE001  # the fence: nothing may pass
        return 1
