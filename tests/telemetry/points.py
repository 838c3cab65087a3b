"""Lagging points for tests: three ways to write one down, and a strategy that draws any."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from otel_ml_metrics.telemetry.lagging import LaggingPoint

DAY = 86_400 * 10**9
START = 15_796 * DAY  # 2013-04-01T00:00Z

UINT64 = 2**64 - 1
INT64 = 2**63 - 1


def gauge(
    value: float, *, metric: str = "ml.evaluation.accuracy", time: int = START, unit: str = "1", **attributes: str
) -> LaggingPoint:
    """A gauge; keyword arguments that are left over become attributes."""
    return LaggingPoint(
        metric=metric,
        unit=unit,
        description="Accuracy.",
        kind="gauge",
        attributes=attributes,
        time_unix_nano=time,
        value=value,
    )


def counter(value: float, *, metric: str = "ml.labels", time: int = START, **attributes: str) -> LaggingPoint:
    """A counter that started a day before its time."""
    return LaggingPoint(
        metric=metric,
        unit="{label}",
        description="Labels that came in.",
        kind="counter",
        attributes=attributes,
        time_unix_nano=time,
        start_time_unix_nano=time - DAY,
        value=value,
    )


def histogram(*, time: int = START, **changes: Any) -> LaggingPoint:
    """A histogram of three values; keyword arguments replace its fields."""
    given: dict[str, Any] = {
        "metric": "ml.label.delay",
        "unit": "s",
        "description": "Time from a prediction to its label.",
        "kind": "histogram",
        "attributes": {"ml.model.name": "flight-delay"},
        "time_unix_nano": time,
        "start_time_unix_nano": time - DAY,
        "bounds": (0.1, 60.0),
        "counts": (1, 0, 2),
        "sum": 200.3,
        "count": 3,
        "min": 0.05,
        "max": 120.125,
    }
    return LaggingPoint(**{**given, **changes})


def gauges(count: int, *, step: int = DAY) -> list[LaggingPoint]:
    """Gauges 0, 1, 2, … of one series each, at growing times."""
    return [gauge(float(number), time=START + number * step, number=str(number)) for number in range(count)]


texts = st.text(st.characters(codec="utf-8"))
names = st.from_regex(r"[A-Za-z][A-Za-z0-9_.\-/]{0,20}", fullmatch=True)
reals = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def lagging_points(draw: st.DrawFn) -> LaggingPoint:
    """Draw any point that can be sent."""
    kind = draw(st.sampled_from(("gauge", "counter", "histogram")))
    time = draw(st.integers(1, UINT64))
    given: dict[str, Any] = {
        "metric": draw(names),
        "unit": draw(texts),
        "description": draw(texts),
        "kind": kind,
        "attributes": draw(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), texts, max_size=4)),
        "time_unix_nano": time,
        "start_time_unix_nano": None if kind == "gauge" else draw(st.integers(1, time)),
    }
    if kind == "histogram":
        bounds = draw(st.lists(reals, max_size=5, unique=True).map(sorted))
        counts = [draw(st.integers(0, 2**40)) for _ in range(len(bounds) + 1)]
        extremes = {name: draw(st.none() | reals) for name in ("min", "max")}
        given |= {"bounds": bounds, "counts": counts, "count": sum(counts), "sum": draw(reals), **extremes}
    elif kind == "counter":
        given["value"] = draw(st.integers(0, INT64) | st.floats(0, allow_infinity=False))
    else:
        given["value"] = draw(st.integers(-INT64 - 1, INT64) | reals)
    return LaggingPoint(**given)
