"""Lagging points: values of a past window, checked so that they can be sent. The clock and the outbox are elsewhere."""

from __future__ import annotations

import itertools
import json
import math
import numbers
import re
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, Self, get_args

from otel_ml_metrics.errors import OtelMLMetricsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_ml_metrics.semconv import MetricDefinition

Kind = Literal["gauge", "counter", "histogram"]

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.\-/]{0,254}")  # instrument names of the OpenTelemetry API
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_INT64: Final = range(-(2**63), 2**63)
_FIXED64: Final = range(1, 2**64)


class PointError(OtelMLMetricsError, ValueError):
    """A lagging point, or a set of them, cannot be sent as it is.

    Args:
        metric: Name of the metric.
        complaint: What was found and what was expected.
    """

    def __init__(self, metric: str, complaint: str) -> None:
        super().__init__(metric, complaint)
        self.metric = metric
        self.complaint = complaint

    def __str__(self) -> str:
        return f"{self.metric}: {self.complaint}"


@dataclass(frozen=True, kw_only=True)
class LaggingPoint:
    """One value of one series at one instant, checked so that it can be sent.

    Numbers are plain Python ones afterwards: numpy scalars would fail in the JSON of the outbox. An integer beyond 64
    bits becomes the nearest double, since OTLP has nothing wider.

    Args:
        metric: OpenTelemetry name.
        unit: UCUM.
        description: One sentence, shown by backends.
        kind: A counter is a cumulative, monotonic total; a histogram is cumulative with explicit bounds.
        attributes: Of the series; kept sorted by key.
        time_unix_nano: Instant that the value is for.
        start_time_unix_nano: Since when a counter or histogram accumulates; None for a gauge.
        value: Of a gauge or counter.
        bounds: Upper bounds of the buckets, ascending; the last bucket has none.
        counts: One per bucket, so one more than `bounds`.
        sum: Of all values in the histogram.
        count: Of all values in the histogram.
        min: Smallest value, None where it is not known.
        max: Largest value, None where it is not known.

    Raises:
        PointError: OTLP or a backend would refuse it: NaN, infinity, a field of another kind of point.

    >>> point = LaggingPoint(metric="ml.evaluation.f1", unit="1", description="F1.", kind="gauge",
    ...                      attributes={"ml.model.name": "fraud"}, time_unix_nano=1_700_000_000_000_000_000, value=0.5)
    >>> point.series
    'ml.evaluation.f1{"ml.model.name":"fraud"}'
    >>> LaggingPoint.from_json(point.to_json()) == point
    True
    """

    metric: str
    unit: str
    description: str
    kind: Kind
    attributes: Mapping[str, str] = field(hash=False)
    time_unix_nano: int
    start_time_unix_nano: int | None = None
    value: int | float | None = None
    bounds: Sequence[float] = ()
    counts: Sequence[int] = ()
    sum: float | None = None
    count: int | None = None
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        self._check_names()
        self._check_times()
        if self.kind == "histogram":
            self._check_histogram()
        else:
            self._check_number()

    @property
    def series(self) -> str:
        """Identity of the series: the metric and its sorted attributes, as stable text."""
        return self.metric + json.dumps(self.attributes, ensure_ascii=False, separators=(",", ":"))

    @cached_property
    def key(self) -> tuple[object, ...]:
        """Series and time, to compare points with each other; the text of `series` takes longer to write."""
        return (self.metric, self.time_unix_nano, *self.attributes, *self.attributes.values())

    def to_json(self) -> str:
        """Write the point as one line of JSON; `from_json` gives it back exactly, floats included."""
        shown = {name.name: getattr(self, name.name) for name in fields(self)}
        return json.dumps({name: value for name, value in shown.items() if value not in (None, ())})

    @classmethod
    def gauge(cls, metric: MetricDefinition, attributes: Mapping[str, str], time_unix_nano: int, value: float) -> Self:
        """A value of one of our gauges.

        Raises:
            PointError: It is NaN or infinite.
        """
        return cls(
            metric=metric.name,
            unit=metric.unit,
            description=metric.description,
            kind="gauge",
            attributes=attributes,
            time_unix_nano=time_unix_nano,
            value=value,
        )

    @classmethod
    def from_json(cls, text: str) -> LaggingPoint:
        """Read what `to_json` wrote; the point was checked before that, and is not again."""
        point = object.__new__(cls)
        read = vars(point)
        read.update(json.loads(text))  # what is not in it has the default of the class
        if point.counts:
            read.update(bounds=tuple(point.bounds), counts=tuple(point.counts))
        return point

    def _check_names(self) -> None:
        if not _NAME.fullmatch(self.metric):
            raise PointError(
                repr(self.metric), "this is no metric name: letters, digits and _ . - / are, a letter first."
            )
        if self.kind not in get_args(Kind):
            raise PointError(self.metric, f"kind is {self.kind!r}, expected one of {', '.join(get_args(Kind))}.")
        attributes = dict(sorted(self.attributes.items()))
        for text in (self.unit, self.description, *attributes.keys(), *attributes.values()):
            _check_text(self.metric, text)
        if "" in attributes:
            raise PointError(self.metric, "an attribute has an empty key, and receivers drop those. Name it.")
        self._set(attributes=attributes)

    def _check_times(self) -> None:
        time = _whole(self.metric, "time_unix_nano", self.time_unix_nano, _FIXED64)
        start = self.start_time_unix_nano
        if (start is None) != (self.kind == "gauge"):
            found = "none" if start is None else start
            raise PointError(self.metric, f"a {self.kind} with start time {found}; all but gauges have one.")
        if start is not None:
            start = _whole(self.metric, "start_time_unix_nano", start, _FIXED64)
            if start > time:
                raise PointError(self.metric, f"starts at {start}, after its own time {time}.")
        self._set(time_unix_nano=time, start_time_unix_nano=start)

    def _check_number(self) -> None:
        if self.bounds or self.counts or (self.sum, self.count, self.min, self.max) != (None,) * 4:
            raise PointError(self.metric, f"a {self.kind} has a value, and nothing of a histogram.")
        value = _number(self.metric, "value", self.value)
        if self.kind == "counter" and value < 0:
            raise PointError(self.metric, f"a counter stands at {value}, and a monotonic total is never negative.")
        self._set(value=value, bounds=(), counts=())

    def _check_histogram(self) -> None:
        if self.value is not None:
            raise PointError(self.metric, f"a histogram has counts and a sum, not a value ({self.value}).")
        bounds = tuple(_real(self.metric, "bounds", bound) for bound in self.bounds)
        counts = tuple(_whole(self.metric, "counts", count, range(2**63)) for count in self.counts)
        if any(upper <= lower for lower, upper in itertools.pairwise(bounds)):
            raise PointError(self.metric, f"bounds {bounds} are not ascending.")
        if len(counts) != len(bounds) + 1:
            raise PointError(self.metric, f"{len(bounds)} bounds make {len(bounds) + 1} buckets, found {len(counts)}.")
        count = _whole(self.metric, "count", self.count, range(2**63))
        total = sum(counts)
        if total != count:
            raise PointError(self.metric, f"the buckets hold {total} values, but count says {count}.")
        self._set(bounds=bounds, counts=counts, count=count, sum=_real(self.metric, "sum", self.sum))
        for name in ("min", "max"):
            extreme = getattr(self, name)
            self._set(**{name: None if extreme is None else _real(self.metric, name, extreme)})

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


def definition(point: LaggingPoint) -> tuple[str, str, str]:
    """Give what all points of one metric in one request must agree on."""
    return point.kind, point.unit, point.description


def _number(metric: str, name: str, value: object) -> int | float:
    if isinstance(value, numbers.Integral) and int(value) in _INT64:
        return int(value)
    return _real(metric, name, value)


def _real(metric: str, name: str, value: object) -> float:
    if not isinstance(value, numbers.Real):
        raise PointError(metric, f"{name} is {value!r}, expected a number.")
    try:
        real = float(value)
    except OverflowError:
        real = math.inf
    if not math.isfinite(real):
        raise PointError(metric, f"{name} is {value!r}. An undefined value is counted by reason and not sent.")
    return real


def _whole(metric: str, name: str, value: object, allowed: range) -> int:
    if not isinstance(value, numbers.Integral) or int(value) not in allowed:
        raise PointError(metric, f"{name} is {value!r}, expected an integer from {allowed[0]} to {allowed[-1]}.")
    return int(value)


def _check_text(metric: str, text: object) -> None:
    # A lone surrogate is a str that protobuf cannot carry, and the encoder's error would take the whole request along.
    if not isinstance(text, str) or _SURROGATE.search(text):
        raise PointError(metric, f"{text!r} in its unit, description or attributes is no text that UTF-8 can carry.")
