"""What an exporter takes along beside what the SDK collected: histograms that were binned here, drain by drain."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

import numpy as np
from opentelemetry import trace

from otel_ml_metrics.semconv import DEFAULT_BOUNDS
from otel_ml_metrics.telemetry.distributions import Distribution, Distributions
from otel_ml_metrics.telemetry.readers import readers_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider

    from otel_ml_metrics.semconv import MetricDefinition
    from otel_ml_metrics.telemetry.accumulators import Attributes, AttributeSets

ExemplarFilter = Literal["trace_based", "always_on", "always_off"]

EXPONENTIAL_EXEMPLARS: Final = 20
"""Exemplars of an exponential histogram, as many as the SDK keeps."""


class Example(NamedTuple):
    """A value and the span in which it was recorded; ids are 0 where there was none."""

    value: float
    time_unix_nano: int
    trace_id: int
    span_id: int


@dataclass
class Held:
    """The histograms of one metric of one model since some instant.

    Args:
        definition: The metric.
        sets: What the slots stand for.
        since_ns: When it began.
        distributions: The values.
        examples: By slot and place; a bucket, or any of a few.
    """

    definition: MetricDefinition
    sets: AttributeSets
    since_ns: int
    distributions: Distributions
    examples: dict[tuple[int, int], Example] = field(default_factory=dict)

    def merge(self, later: Held) -> None:
        """Take what came later."""
        self.distributions.merge(later.distributions)
        self.examples |= later.examples


class Taken(NamedTuple):
    """One point to be exported."""

    attributes: Attributes
    since_ns: int
    distribution: Distribution
    examples: list[Example]


class Taker:
    """The histograms for one exporter: all there is each time, or what came since it last delivered.

    Args:
        delta: Whether each delivery holds only what is new.
        exponential: Whether buckets are exponential, whatever bounds a metric declares, as in the SDK.
        examples: Which values may stand as examples.
    """

    def __init__(self, *, delta: bool, exponential: bool, examples: ExemplarFilter) -> None:
        self._delta = delta
        self._exponential = exponential
        self._examples = examples
        self.clear()

    def clear(self) -> None:
        """Start anew in a forked child: what the parent counted is the parent's."""
        self._lock = threading.Lock()
        self._open: dict[tuple[object, int], Held] = {}
        self._sent: dict[tuple[object, int], Held] = {}

    def add(
        self,
        definition: MetricDefinition,
        values: NDArray[np.float64],
        slots: NDArray[np.int64],
        sets: AttributeSets,
        contexts: Sequence[Any],
    ) -> None:
        """Take values over; the arguments are those of a `HistogramRoute`."""
        if not len(values):
            return
        rows, spans = _exemplary(contexts, len(values), self._examples)
        with self._lock:
            held = self._held(definition, sets)
            held.distributions.add(values, slots)
            if len(rows):
                _keep_examples(held, values, slots, rows, spans)

    def take(self) -> list[tuple[MetricDefinition, list[Taken]]]:
        """Everything that is to be delivered now; `settle` says what became of it."""
        with self._lock:
            if self._delta:
                self._close_interval()
            wanted = self._sent if self._delta else self._open
            found = [(held.definition, list(_points(held))) for held in wanted.values()]
            if not self._delta:
                for held in wanted.values():
                    held.examples = {}
        return [(definition, points) for definition, points in found if points]

    def settle(self, *, delivered: bool) -> None:
        """Forget what was delivered, or keep it for the next time."""
        if delivered and self._delta:
            with self._lock:
                self._sent = {}

    def _held(self, definition: MetricDefinition, sets: AttributeSets) -> Held:
        key = (definition, id(sets))
        held = self._open.get(key)
        if held is None:
            exponential = self._exponential or definition.exponential
            bounds = None if exponential else definition.bounds or DEFAULT_BOUNDS
            held = self._open[key] = Held(definition, sets, time.time_ns(), Distributions(bounds))
        return held

    def _close_interval(self) -> None:
        now_ns = time.time_ns()
        for key, held in self._open.items():
            if key in self._sent:
                self._sent[key].merge(held)
            else:
                self._sent[key] = held
        self._open = {
            key: Held(held.definition, held.sets, now_ns, held.distributions.emptied())
            for key, held in self._open.items()
        }


def takers_behind(provider: MeterProvider) -> list[Taker]:
    """The takers of all readers of a provider; none if any reader has none, so that none of them misses anything.

    Of a provider whose readers are not known histograms go through its own instruments.
    """
    takers = [getattr(getattr(reader, "_exporter", None), "taker", None) for reader in readers_of(provider)]
    return [cast("Taker", taker) for taker in takers] if all(isinstance(each, Taker) for each in takers) else []


def _keep_examples(
    held: Held,
    values: NDArray[np.float64],
    slots: NDArray[np.int64],
    rows: NDArray[np.int64],
    spans: Sequence[trace.SpanContext],
) -> None:
    """Keep the last of these rows in each bucket; of exponential ones, which move, the last few."""
    places = held.distributions.places(values[rows])
    if places is None:
        places = np.arange(len(rows)) % EXPONENTIAL_EXEMPLARS
    cells = np.stack([slots[rows], places], axis=1)[::-1]
    _, lasts = np.unique(cells, axis=0, return_index=True)
    now_ns = time.time_ns()
    for last in lasts.tolist():
        row, (slot, place) = int(rows[len(rows) - 1 - last]), cells[last].tolist()
        span = spans[row if len(spans) > 1 else 0]
        held.examples[slot, place] = Example(float(values[row]), now_ns, span.trace_id, span.span_id)


def _points(held: Held) -> Iterable[Taken]:
    examples: dict[int, list[Example]] = {}
    for (slot, _), example in sorted(held.examples.items()):
        examples.setdefault(slot, []).append(example)
    for distribution in held.distributions:
        slot = distribution.slot
        yield Taken(held.sets.attributes[slot], held.since_ns, distribution, examples.get(slot, []))


def _exemplary(
    contexts: Sequence[Any], rows: int, chosen: ExemplarFilter
) -> tuple[NDArray[np.int64], Sequence[trace.SpanContext]]:
    """Rows that may stand as examples, and the span of every row, or one for all; nothing where none may."""
    nothing = np.zeros(0, dtype=np.int64)
    if chosen == "always_off" or (chosen == "trace_based" and not any(contexts)):
        return nothing, ()
    spans = [trace.get_current_span(cast("Context", context)).get_span_context() for context in contexts]
    sampled = np.array([chosen == "always_on" or span.trace_flags.sampled for span in spans], dtype=np.bool_)
    return np.flatnonzero(np.broadcast_to(sampled, rows)), spans
