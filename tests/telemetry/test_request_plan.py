"""How a backlog is cut into requests."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from otel_ml_metrics.telemetry.otlp_request import export_request
from otel_ml_metrics.telemetry.request_plan import plan_requests
from tests.telemetry.points import DAY, START, gauge, gauges, lagging_points

if TYPE_CHECKING:
    from otel_ml_metrics.telemetry.lagging import LaggingPoint

backlogs = st.lists(lagging_points(), max_size=20)


@st.composite
def crowded(draw: st.DrawFn) -> list[LaggingPoint]:
    """Points of few series, times and units, so that many of them get in each other's way."""
    count = draw(st.integers(0, 20))
    return [
        gauge(
            float(number),
            time=START + draw(st.integers(0, 2)) * DAY,
            unit=draw(st.sampled_from(("1", "{score}"))),
            origin=draw(st.sampled_from(("EWR", "JFK"))),
        )
        for number in range(count)
    ]


@given(backlogs | crowded(), st.integers(1, 7))
def test_every_point_travels_once_oldest_first(points: list[LaggingPoint], max_points: int) -> None:
    """Prometheus takes a series in order only, and of two versions of a value the later one must arrive last."""
    requests = plan_requests(points, max_points=max_points)

    flat = [position for request in requests for position in request]
    assert sorted(flat) == list(range(len(points)))
    assert all(
        (points[one].time_unix_nano, one) < (points[other].time_unix_nano, other) for one, other in pairwise(flat)
    )
    assert all(1 <= len(request) <= max_points for request in requests)


@given(backlogs | crowded())
def test_every_request_can_be_built(points: list[LaggingPoint]) -> None:
    """No request holds two values of one series and time, or two definitions of one metric."""
    for request in plan_requests(points):
        export_request([points[position] for position in request], service="api", evaluation="api/m")


@given(backlogs, st.integers(1, 2_000))
def test_requests_stay_within_their_bytes(points: list[LaggingPoint], max_bytes: int) -> None:
    """A receiver refuses what is larger than its limit, so only a point that is too large by itself may exceed ours."""
    envelope = 200  # resource and scope

    for request in plan_requests(points, max_bytes=max_bytes):
        built = export_request([points[position] for position in request], service="api", evaluation="api/m")
        assert len(request) == 1 or built.ByteSize() <= max_bytes + envelope


def test_a_second_value_of_a_series_and_time_goes_into_a_later_request() -> None:
    """A backend where the last write wins then keeps the revision."""
    points = [gauge(0.5), gauge(0.75), gauge(0.25, origin="EWR")]

    requests = plan_requests(points)

    assert requests == [[0], [1, 2]]


def test_a_long_backlog_makes_requests_of_500() -> None:
    """That is the size that receivers take without special settings."""
    requests = plan_requests(gauges(1_200))

    assert [len(request) for request in requests] == [500, 500, 200]
