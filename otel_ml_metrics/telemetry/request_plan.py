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
_CHARACTER: Final = 4  # bytes of UTF-8, at most


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
        if not request.takes(position, points[position]):
            requests.append(request.positions)
            request = _Request(max_points, max_bytes)
            request.takes(position, points[position])
    return [*requests, request.positions] if request.positions else requests


class _Request:
    """One request in the making."""

    def __init__(self, max_points: int, max_bytes: int) -> None:
        self.positions: list[int] = []
        self._max_points = max_points
        self._space = max_bytes
        self._keys: set[tuple[object, ...]] = set()
        self._definitions: dict[str, tuple[str, str, str]] = {}

    def takes(self, position: int, point: LaggingPoint) -> bool:
        """Take a point in if there is room for it; the first one always finds some."""
        size = self._size(point)
        room = len(self.positions) < self._max_points and size <= self._space
        defined = definition(point)
        alike = self._definitions.setdefault(point.metric, defined) == defined
        self._keys.add(point.key)
        is_new = len(self._keys) > len(self.positions)
        if self.positions and not (room and alike and is_new):
            return False
        self._space -= size
        self.positions.append(position)
        return True

    def _size(self, point: LaggingPoint) -> int:
        attributes = point.attributes
        characters = len("".join(attributes)) + len("".join(attributes.values()))
        texts = 2 * len(attributes)
        if point.metric not in self._definitions:
            characters += len(point.metric) + len(point.unit) + len(point.description)
            texts += 3
        numbers = len(point.bounds) + len(point.counts) + 7
        return _CHARACTER * characters + 2 * _FIELD * texts + _NUMBER * numbers + _FIELD
