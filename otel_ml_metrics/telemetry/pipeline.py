"""What happens to drained predictions: validated rows become sums, histogram values and log rows, in that order."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import numpy as np
from opentelemetry import trace

from otel_ml_metrics.batch import OUTCOMES, Fault, PredictionBatch
from otel_ml_metrics.errors import ExpressionError
from otel_ml_metrics.semconv import (
    MONITOR_CARDINALITY_OVERFLOW,
    PREDICTION_DURATION,
    PREDICTION_OUTCOME,
    PREDICTIONS,
    MetricDefinition,
)
from otel_ml_metrics.telemetry.accumulators import OVERFLOW_SLOT, Accumulators, Lasts, Sums
from otel_ml_metrics.telemetry.buffer import RecordBuffer, batches_of
from otel_ml_metrics.telemetry.instruments import REST_TIMEOUT, InstrumentSet, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from opentelemetry.context import Context

    from otel_ml_metrics.reading import RowSchema
    from otel_ml_metrics.telemetry.custom import BoundMetric
    from otel_ml_metrics.telemetry.faults import FaultLog

_BLOCK: Final = 1 << 15
"""Rows that are added up at a time: what is worked out of them on the way stays in the cache of a core."""
_SPAN_FIELDS: Final = frozenset({"trace_id", "span_id"})


class Written(Protocol):
    """What became of the rows that went to the log."""

    @property
    def lost(self) -> Mapping[str, int]:
        """Rows lost, by reason."""
        ...

    @property
    def problem(self) -> str:
        """What happened, for the message; empty if nothing did."""
        ...


class PredictionLog(Protocol):
    """Where predictions are kept until their labels arrive."""

    def write(self, batches: Sequence[PredictionBatch]) -> Written:
        """Make rows durable and readable; must not raise on a full or broken disk."""
        ...


class Aggregation:
    """Adds batches to the accumulators and histograms of one monitor.

    Args:
        instruments: The instruments of its meter provider.
        accumulators: Those of its model.
        identity: Attributes that every value of the monitor carries.
        score: Histogram of the scores.
        value: Histogram of the numbers that a regression model predicts, where it is one.
        custom: Declared metrics.
        faults: Where what goes wrong is counted.
    """

    def __init__(
        self,
        instruments: InstrumentSet,
        accumulators: Accumulators,
        identity: Mapping[str, str],
        *,
        score: MetricDefinition,
        value: MetricDefinition | None,
        custom: Sequence[BoundMetric],
        faults: FaultLog,
    ) -> None:
        self._instruments = instruments
        self._accumulators = accumulators
        self._identity = identity
        self._custom = custom
        self._faults = faults
        self._histograms = {"score": score, "duration": PREDICTION_DURATION} | ({"prediction": value} if value else {})

    def add(self, batch: PredictionBatch) -> None:
        """Add one batch."""
        for block in batch.blocks(_BLOCK):
            self._add_block(block)

    def _add_block(self, batch: PredictionBatch) -> None:
        accumulators = self._accumulators
        with accumulators.lock:
            slots = accumulators.sets.slots(self._identity, batch.slices, len(batch))
            outcomes = Sums(whole=True, attribute=PREDICTION_OUTCOME, values=OUTCOMES)
            accumulators.sums.setdefault(key_of(PREDICTIONS), outcomes).add(slots, codes=batch.outcomes)
        overflow = int(np.count_nonzero(slots == OVERFLOW_SLOT))
        if overflow:
            accumulators.tally(MONITOR_CARDINALITY_OVERFLOW.name, self._identity, overflow)
        for column, definition in self._histograms.items():
            values = batch.values.get(column)
            if values is not None:
                self._add_histogram(definition, values, np.isfinite(values), slots, batch)
        for metric in self._custom:
            self._add_custom(metric, slots, batch)

    def _add_custom(self, metric: BoundMetric, slots: NDArray[np.int64], batch: PredictionBatch) -> None:
        try:
            values, present = metric.read(batch)
        except Exception as error:  # a callable of the user may raise anything  # noqa: BLE001  # the fence: nothing may pass
            message = f"The value of the metric {metric.definition.name!r} failed: {type(error).__name__}: {error}"
            self._faults.report([Fault("value_failed", len(batch), ExpressionError(message))])
            return
        self._faults.count("missing_value", len(batch) - int(present.sum()))
        kind = metric.definition.kind
        if kind == "histogram":
            self._add_histogram(metric.definition, values, present, slots, batch)
        elif kind == "counter":
            self._add_counter(metric, values, present, slots)
        else:
            with self._accumulators.lock:
                series = self._accumulators.lasts.setdefault(key_of(metric.definition), Lasts())
                series.add(slots[present], values[present])

    def _add_counter(
        self, metric: BoundMetric, values: NDArray[np.float64], present: NDArray[np.bool_], slots: NDArray[np.int64]
    ) -> None:
        negative = present & (values < 0)
        self._negative(metric.definition, int(negative.sum()))
        taken = present & ~negative
        with self._accumulators.lock:
            series = self._accumulators.sums.setdefault(key_of(metric.definition), Sums(whole=metric.whole))
            if not metric.whole:
                series.widen()
            series.add(slots[taken], values[taken])

    def _add_histogram(
        self,
        definition: MetricDefinition,
        values: NDArray[Any],
        present: NDArray[np.bool_],
        slots: NDArray[np.int64],
        batch: PredictionBatch,
    ) -> None:
        contexts: Sequence[object] = batch.contexts
        if not present.all():
            values, slots = values[present], slots[present]
            if len(contexts) > 1:
                contexts = [contexts[row] for row in np.flatnonzero(present).tolist()]
        route = self._instruments.route(definition)
        refused = route.add(values.astype(np.float64, copy=False), slots, self._accumulators.sets, contexts)
        self._negative(definition, refused)

    def _negative(self, definition: MetricDefinition, count: int) -> None:
        if count:
            message = f"The {definition.kind} {definition.name!r} takes no negative values; they are left out."
            self._faults.report([Fault("negative_value", count, ExpressionError(message))])


class Pipeline:
    """Everything behind the buffer of one monitor.

    Args:
        buffer: Where recorded predictions wait.
        schema: Turns rows into batches.
        aggregation: Where batches are added up.
        log: Where they are kept, if anywhere.
        faults: Where what goes wrong is counted.
        drop: Counts predictions that were lost, by reason.
    """

    def __init__(
        self,
        buffer: RecordBuffer,
        schema: RowSchema,
        aggregation: Aggregation,
        *,
        log: PredictionLog | None,
        faults: FaultLog,
        drop: Callable[[str, int], None],
    ) -> None:
        self._buffer = buffer
        self._schema = schema
        self._aggregation = aggregation
        self._log = log
        self._faults = faults
        self._drop = drop
        self.clear()

    def clear(self) -> None:
        """Start anew in a forked child."""
        self._lock = threading.Lock()
        self._resting = False

    def rest(self) -> None:
        """Let no thread be in the middle of a drain, nor of what it calls in the SDK, until `resume`."""
        if self._lock.acquire(timeout=REST_TIMEOUT):
            self._resting = True

    def resume(self) -> None:
        """Go on."""
        if self._resting:
            self._resting = False
            self._lock.release()

    def drain(self, batch: PredictionBatch | None = None) -> bool:
        """Add up and make durable what stands in the buffer, and one more batch if it is given; never raises.

        Taking and adding happen under one lock, so whoever drains later finds everything of before added up.

        Returns:
            Whether nothing was lost.
        """
        with self._lock:
            waiting, good = len(self._buffer), [True]
            while waiting > 0:  # what comes meanwhile is for the next drain
                good.append(self._work_off(self._take()))
                waiting -= max(1, self._buffer.let_go())
            if batch is not None:
                good.append(self._work_off([batch]))
        self._faults.log_when_due()
        return all(good)

    def process_now(self, batch: PredictionBatch) -> None:
        """Add one batch up and make it durable, and let what goes wrong pass to the caller."""
        with self._lock:
            self._faults.report(batch.faults)
            self._aggregation.add(batch)
            self._write([batch])

    def _work_off(self, batches: list[PredictionBatch]) -> bool:
        added = [self._add(each) for each in batches]
        written = self._write([each for each in batches if len(each)])
        return all(added) and written

    def _take(self) -> list[PredictionBatch]:
        batches, failures = batches_of(self._buffer.take(), self._schema)
        if failures:
            self._faults.count("internal", len(failures), f"A row could not be read: {type(failures[0]).__name__}")
            self._drop("internal", len(failures))
        return batches

    def _add(self, batch: PredictionBatch) -> bool:
        try:
            self._faults.report(batch.faults)
            self._aggregation.add(batch)
        except Exception as error:  # the fence: nothing may end the thread that drains  # noqa: BLE001  # the fence: nothing may pass
            self._faults.count("internal", 1, f"A batch could not be added up: {type(error).__name__}: {error}")
            return False
        return True

    def _write(self, batches: Sequence[PredictionBatch]) -> bool:
        if self._log is None or not batches:
            return True
        try:
            written = self._log.write([_with_spans(batch) for batch in batches])
            lost, problem = written.lost, written.problem
        except Exception as error:  # the fence: nothing may end the thread that drains  # noqa: BLE001  # the fence: nothing may pass
            lost, problem = {"log_failed": sum(map(len, batches))}, f"{type(error).__name__}: {error}"
        for reason, rows in lost.items():
            self._drop(reason, rows)
        if problem:
            self._faults.count("log_failed", 1, f"The prediction log lost rows: {problem}")
        return not problem


def _with_spans(batch: PredictionBatch) -> PredictionBatch:
    """Add the ids of the spans in which the rows were recorded, unless the caller gave them."""
    if not _SPAN_FIELDS.isdisjoint(batch.values):
        return batch
    spans = [trace.get_current_span(cast("Context", context)).get_span_context() for context in batch.contexts]
    if not any(span.is_valid for span in spans):
        return batch
    repeats = 1 if len(spans) == len(batch) else len(batch)
    trace_ids = [trace.format_trace_id(span.trace_id) if span.is_valid else None for span in spans]
    span_ids = [trace.format_span_id(span.span_id) if span.is_valid else None for span in spans]
    texts = {
        name: np.array(ids * repeats, dtype=object) for name, ids in (("trace_id", trace_ids), ("span_id", span_ids))
    }
    return replace(batch, values={**batch.values, **texts})
