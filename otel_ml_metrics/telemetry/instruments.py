"""How accumulated values reach OpenTelemetry: one set of instruments per meter provider, shared by its monitors.

Counters and gauges are observable: nothing of them is on the hot path, a collection reads our accumulators. The SDK
ignores the callbacks of an instrument that it already has, so all monitors of a provider go through the same ones.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from otel_ml_metrics.semconv import MONITOR_BUFFER_USAGE, SCOPE_ONLINE, Kind, MetricDefinition
from otel_ml_metrics.telemetry.accumulators import Accumulators, Attributes, AttributeSets, Observed
from otel_ml_metrics.telemetry.readers import collection_lock_of, renew_readers_of
from otel_ml_metrics.telemetry.takers import takers_behind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from opentelemetry.metrics import Histogram


_logger: Final = logging.getLogger("otel_ml_metrics")


REST_TIMEOUT: Final = 1.0
"""Seconds that a fork waits at most for what other threads are in the middle of."""

_NO_SPAN: Final = trace.set_span_in_context(trace.INVALID_SPAN, Context())
"""For what was recorded in no span: for an empty context the SDK takes that of the thread that drains."""


class MetricKey(NamedTuple):
    """What makes two declarations one instrument."""

    name: str
    kind: Kind
    unit: str
    bounds: tuple[float, ...]
    exponential: bool


def key_of(definition: MetricDefinition) -> MetricKey:
    """The identity of a declared metric; OpenTelemetry names are case-insensitive."""
    name = definition.name.lower()
    return MetricKey(name, definition.kind, definition.unit, definition.bounds, definition.exponential)


class HistogramRoute(Protocol):
    """Where the values of a histogram go at each drain.

    The seam at which a route that bins with numpy takes the place of `InstrumentRoute`: both see whole arrays.
    """

    def add(
        self, values: NDArray[np.float64], slots: NDArray[np.int64], sets: AttributeSets, contexts: Sequence[Any]
    ) -> int:
        """Take values over.

        Args:
            values: Shape (n,), finite.
            slots: Shape (n,), the attribute set of each.
            sets: What the slots stand for.
            contexts: OpenTelemetry contexts, for exemplars: n of them, or one.

        Returns:
            How many values the route could not take.
        """
        ...


class InstrumentRoute:
    """Feeds the API's own histogram, value by value: right with every SDK, 6 to 9 µs each, and no negative values."""

    def __init__(self, instrument: Histogram) -> None:
        self._instrument = instrument

    def add(
        self, values: NDArray[np.float64], slots: NDArray[np.int64], sets: AttributeSets, contexts: Sequence[Any]
    ) -> int:
        """Record every value that is not negative: SDKs drop those, with a warning each."""
        taken = np.flatnonzero(values >= 0)
        rows = taken.tolist() if len(contexts) > 1 else [0] * len(taken)
        record, attributes = self._instrument.record, sets.attributes
        for value, slot, row in zip(values[taken].tolist(), slots[taken].tolist(), rows, strict=True):
            record(value, attributes[slot], contexts[row] or _NO_SPAN)
        return len(values) - len(taken)


class Route:
    """Hands values to the exporters that take them along binned; to the API's own histogram where there are none.

    Which it is, is seen at each drain: a provider may be set after the monitor is made.
    """

    def __init__(
        self, definition: MetricDefinition, provider: Callable[[], MeterProvider | None], instrument: InstrumentRoute
    ) -> None:
        self._definition = definition
        self._provider = provider
        self._instrument = instrument

    def add(
        self, values: NDArray[np.float64], slots: NDArray[np.int64], sets: AttributeSets, contexts: Sequence[Any]
    ) -> int:
        """Take values over, negative ones too where they are binned here."""
        provider = self._provider()
        takers = [] if provider is None else takers_behind(provider)
        if not takers:
            if self._definition.exponential:
                _say_who_chooses(self._definition.name)
            return self._instrument.add(values, slots, sets, contexts)
        for taker in takers:
            taker.add(self._definition, values, slots, sets, contexts)
        return 0


@cache
def _say_who_chooses(metric: str) -> None:
    _logger.warning(
        "The histogram %r is declared exponential, but some exporter of this process takes no histograms along: the "
        "SDK chooses its buckets, by its views. Wrap every exporter in MLMetricExporter, or add a view.",
        metric,
    )


class Filled(Protocol):
    """Something of bounded size."""

    def usage(self) -> float:
        """Filled share, from 0 to 1."""
        ...


class InstrumentSet:
    """The instruments of one meter provider, and the accumulators that they read."""

    def __init__(self, provider: MeterProvider) -> None:
        self._meter = provider.get_meter(SCOPE_ONLINE)
        self._provider = _resolver(provider)
        self._models: dict[str, Accumulators] = {}
        self._routes: dict[MetricKey, HistogramRoute] = {}
        self._declared: set[MetricKey] = set()
        self._buffers: weakref.WeakKeyDictionary[Filled, Attributes] = weakref.WeakKeyDictionary()
        self._declaring = threading.Lock()  # never taken by a callback: the SDK waits for those while it registers

    def accumulators(self, model: str, budget: int) -> Accumulators:
        """The accumulators of a model; the largest budget that was asked for holds."""
        with self._declaring:
            found = self._models.setdefault(model, Accumulators(AttributeSets(model, budget)))
            found.sets.budget = max(found.sets.budget, budget)
            return found

    def declare(self, definition: MetricDefinition) -> None:
        """Make sure that the instrument exists."""
        key = key_of(definition)
        with self._declaring:
            if key in self._declared:
                return
            self._declared.add(key)
            if definition.kind == "histogram":
                self._routes[key] = Route(definition, self._provider, InstrumentRoute(self._histogram(definition)))
            elif definition.kind == "counter":
                self._meter.create_observable_counter(
                    definition.name, [self._callback(key)], definition.unit, definition.description
                )
            else:
                self._meter.create_observable_gauge(
                    definition.name, [self._callback(key)], definition.unit, definition.description
                )

    def route(self, definition: MetricDefinition) -> HistogramRoute:
        """Where the values of a declared histogram go."""
        return self._routes[key_of(definition)]

    def watch(self, buffer: Filled, attributes: Attributes) -> None:
        """Show how full a buffer is, as long as it lives."""
        self._buffers[buffer] = attributes

    def clear(self) -> None:
        """Start anew in a forked child."""
        self._declaring = threading.Lock()
        self._buffers = weakref.WeakKeyDictionary()
        for model in self._models.values():
            model.clear()
        provider = self._provider()
        if provider is not None:
            renew_readers_of(provider, scope=SCOPE_ONLINE)
            for taker in takers_behind(provider):
                taker.clear()

    def collection_lock(self) -> threading.Lock | None:
        """What is held while the accumulators are read."""
        provider = self._provider()
        return None if provider is None else collection_lock_of(provider)

    def provider_that_counted(self) -> MeterProvider | None:
        """The provider, if anything was counted for it and it still lives."""
        return self._provider() if any(model.has_counted() for model in self._models.values()) else None

    def _histogram(self, definition: MetricDefinition) -> Histogram:
        return self._meter.create_histogram(
            definition.name,
            definition.unit,
            definition.description,
            explicit_bucket_boundaries_advisory=list(definition.bounds) or None,
        )

    def _callback(self, key: MetricKey) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            observed = self._usage() if key.name == MONITOR_BUFFER_USAGE.name else self._values(key)
            return (Observation(value, attributes) for value, attributes in observed)

        return observe

    def _values(self, key: MetricKey) -> Iterator[Observed]:
        for model in list(self._models.values()):
            yield from model.observed(key, key.name)

    def _usage(self) -> Iterator[Observed]:
        fullest: dict[tuple[tuple[str, str | bool], ...], float] = {}
        for buffer, attributes in list(self._buffers.items()):
            key = tuple(attributes.items())
            fullest[key] = max(fullest.get(key, 0.0), buffer.usage())
        for key, usage in fullest.items():
            yield usage, dict(key)


class _Registry:
    """The instruments of every meter provider of this process."""

    def __init__(self) -> None:
        self._sets: weakref.WeakKeyDictionary[MeterProvider, InstrumentSet] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._held: list[threading.Lock] = []

    def of(self, provider: MeterProvider) -> InstrumentSet:
        """The instruments of one provider."""
        with self._lock:
            found = self._sets.get(provider)
            if found is None and provider is metrics.get_meter_provider():
                found = next((known for asked, known in self._sets.items() if _stands_for_global(asked)), None)
            if found is None:
                found = InstrumentSet(provider)
            self._sets[provider] = found
            return found

    def rest(self) -> None:
        """Let nobody collect until `resume`."""
        found = [known.collection_lock() for known in self.known()]
        once = {id(lock): lock for lock in found if lock is not None}.values()
        deadline = time.monotonic() + REST_TIMEOUT
        self._held = [lock for lock in once if lock.acquire(timeout=max(0.0, deadline - time.monotonic()))]

    def resume(self) -> None:
        """Go on, also in a forked child."""
        held, self._held = self._held, []
        for lock in held:
            lock.release()

    def clear(self) -> None:
        """Start anew in a forked child."""
        self._lock = threading.Lock()
        for found in self.known():
            found.clear()

    def known(self) -> list[InstrumentSet]:
        """Every one."""
        return list(self._sets.values())


_registry: Final = _Registry()


def instruments_of(meter_provider: MeterProvider | None = None) -> InstrumentSet:
    """The instruments of a meter provider; the global one by default, and the same before and after it is set."""
    return _registry.of(metrics.get_meter_provider() if meter_provider is None else meter_provider)


def rest_before_fork() -> None:
    """Let nobody collect until `resume_after_fork`.

    The SDK starts the threads of its readers in a child before anybody else may put the child in order: a short
    interval would let them export what is the parent's, or wait for a lock that only the parent will open.
    """
    _registry.rest()


def resume_after_fork() -> None:
    """Let collections go on, in the parent and in the child."""
    _registry.resume()


def clear_after_fork() -> None:
    """Zero every accumulator in a forked child: what the parent counted is the parent's."""
    _registry.clear()


def providers_that_counted() -> set[MeterProvider]:
    """The meter providers that have something of ours to export."""
    found = (known.provider_that_counted() for known in _registry.known())
    return {provider for provider in found if provider is not None}


def _resolver(provider: MeterProvider) -> Callable[[], MeterProvider | None]:
    """Gives the provider as long as it lives, and for the API's stand-in the one that is global by then."""
    return metrics.get_meter_provider if _stands_for_global(provider) else weakref.ref(provider)


def _stands_for_global(provider: MeterProvider) -> bool:
    """Whether this is the API's stand-in, whose instruments became those of the global provider when that was set."""
    return type(provider).__name__ == "_ProxyMeterProvider"
