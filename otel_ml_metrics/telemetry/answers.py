"""What a receiver said to one request, and what that means for the points in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

Verdict = Literal["accepted", "refused", "failed", "busy", "settings"]
"""What a request came to:

- accepted: taken over, but for `rejected` of its points;
- refused: at least one of its points, or its size, will not be taken however often it is sent;
- failed: the receiver broke on it, because of the request or not;
- busy: not now, or nobody answered; the same request may be taken later;
- settings: nothing was said about the points; address, key or certificate is wrong.
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """The checked result of one request.

    Args:
        verdict: What it came to.
        rejected: Points that an accepting receiver left out (OTLP's partial success), 0 otherwise.
        message: The receiver's words, or what went wrong on the way; may be empty.
        status: Of HTTP, or the name of gRPC's code, where a receiver that does not accept gave one; else empty.
        advice: What to change in the settings, where the answer shows it; else empty.
    """

    verdict: Verdict
    rejected: int = 0
    message: str = ""
    status: str = ""
    advice: str = ""

    @property
    def told(self) -> str:
        """The message, with the advice behind it."""
        return f"{self.message.rstrip('.')}. {self.advice}" if self.advice else self.message


class Transport(Protocol):
    """Sends one request and tells what became of it. It raises nothing on account of the receiver or the network."""

    def send(self, request: ExportMetricsServiceRequest) -> Answer:
        """Send and wait for the answer."""

    def close(self) -> None:
        """Give the connection back."""


_REFUSED_STATUSES: Final = frozenset({400, 406, 409, 410, 411, 412, 413, 414, 416, 417, 422})

# By names, so that this file needs no grpc. INTERNAL and UNKNOWN are the gRPC twins of HTTP 500.
_REFUSED_CODES: Final = frozenset({"INVALID_ARGUMENT", "ALREADY_EXISTS", "FAILED_PRECONDITION"})
_SETTINGS_CODES: Final = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND"})
_FAILED_CODES: Final = frozenset({"INTERNAL", "UNKNOWN"})


def verdict_of_status(status: int) -> Verdict:
    """Judge an HTTP status.

    401, 403, 404, redirects and their like are the same for every request: they say nothing about its points, so none
    is given up for them. 500 is not retryable in OTLP, and the Collector gives it for points that the next hop refuses
    for good as well as when it is broken. All other 5xx, 408, 425 and 429 mean: later.

    >>> [verdict_of_status(status) for status in (200, 302, 400, 401, 429, 500, 503)]
    ['accepted', 'settings', 'refused', 'settings', 'busy', 'failed', 'busy']
    """
    if status // 100 == 2:  # noqa: PLR2004 - success, in HTTP's own numbers
        return "accepted"
    if status in _REFUSED_STATUSES:
        return "refused"
    if status == 500:  # noqa: PLR2004 - HTTP's own number
        return "failed"
    return "busy" if status > 500 or status in (408, 425, 429) else "settings"  # noqa: PLR2004 - HTTP's own numbers


def verdict_of_code(code: str) -> Verdict:
    """Judge the name of a gRPC status code, as `verdict_of_status` does for HTTP.

    >>> [verdict_of_code(code) for code in ("OK", "INVALID_ARGUMENT", "UNAVAILABLE", "UNAUTHENTICATED", "INTERNAL")]
    ['accepted', 'refused', 'busy', 'settings', 'failed']
    """
    if code == "OK":
        return "accepted"
    if code in _REFUSED_CODES:
        return "refused"
    if code in _FAILED_CODES:
        return "failed"
    return "settings" if code in _SETTINGS_CODES else "busy"
