"""Cuts a backlog of lagging points into requests that a receiver can take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics.telemetry.lagging import definition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_ml_metrics.telemetry.lagging import LaggingPoint

MAX_POINTS: Final = 500
MAX_BYTES: Final = 1_000_000  # a quarter of what gRPC servers take by default

_FIELD: Final = 8  # tag and length around one text or message, generously
_NUMBER: Final = 9  # tag and eight bytes


def plan_requests(
    points: Sequence[LaggingPoint], *, max_points: int = MAX_POINTS, max_bytes: int = MAX_BYTES
) -> list[list[int]]:
    """Arrange points in requests, oldest timestamp first and in the given order within one timestamp.

    A second value of the same series and time, or a second definition of the same metric (an older version of the
    package may have left one in the outbox), cannot share a request with the first: it starts the next one.

    Args:
        points: In the order of the outbox.
        max_points: Of one request.
        max_bytes: Of one request, before compression, estimated from above. A larger point travels alone.

    Returns:
        Positions in `points`, each once; no points give no requests.
    """
    requests: list[list[int]] = []
    request = _Request(max_points, max_bytes)
    for position in sorted(range(len(points)), key=lambda position: points[position].time_unix_nano):
        if not request.takes(points[position]):
            requests.append(request.positions)
            request = _Request(max_points, max_bytes)
        request.add(position, points[position])
    return [*requests, request.positions] if request.positions else requests


class _Request:
    """One request in the making."""

    def __init__(self, max_points: int, max_bytes: int) -> None:
        self.positions: list[int] = []
        self._max_points = max_points
        self._space = max_bytes
        self._keys: set[tuple[str, int]] = set()
        self._definitions: dict[str, tuple[str, str, str]] = {}

    def takes(self, point: LaggingPoint) -> bool:
        if not self.positions:
            return True
        room = len(self.positions) < self._max_points and self._size(point) <= self._space
        known = self._definitions.get(point.metric)
        return room and known in (None, definition(point)) and (point.series, point.time_unix_nano) not in self._keys

    def add(self, position: int, point: LaggingPoint) -> None:
        self._space -= self._size(point)
        self.positions.append(position)
        self._keys.add((point.series, point.time_unix_nano))
        self._definitions[point.metric] = definition(point)

    def _size(self, point: LaggingPoint) -> int:
        texts = [text for attribute in point.attributes.items() for text in attribute]
        if point.metric not in self._definitions:
            texts += [point.metric, point.unit, point.description]
        size = sum(len(text.encode()) + 2 * _FIELD for text in texts)
        return size + _NUMBER * (len(point.bounds) + len(point.counts) + 7) + _FIELD
