"""Sends lagging points and tells for each of them what the receiver did with it.

What is kept, what is given up and in which order, is decided here; `otlp_http` and `otlp_grpc` only carry requests.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, Self

from otel_ml_metrics.errors import MissingExtraError
from otel_ml_metrics.telemetry.endpoint import Endpoint
from otel_ml_metrics.telemetry.otlp_request import export_request
from otel_ml_metrics.telemetry.request_plan import plan_requests
from otel_ml_metrics.telemetry.slips import without_slips

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from otel_ml_metrics.telemetry.answers import Answer, Transport
    from otel_ml_metrics.telemetry.lagging import LaggingPoint

Status = Literal["accepted", "rejected", "retry"]
Reason = Literal["busy", "failed", "settings", "budget", "probes"]

DEFAULT_BUDGET: Final = 300.0
MAX_PROBES: Final = 1_000  # halvings in one `send`
MAX_FAILURES: Final = 3  # points that fail alone while none is accepted: the receiver is broken


@dataclass(frozen=True, slots=True)
class Partial:
    """A request of which the receiver left some points out without saying which.

    OTLP forbids to send such a request again, and rightly: points that were taken the first time may be refused the
    second time, as duplicates or as older than the newest, so a search would name the wrong ones. All are done with.

    Args:
        positions: Of all points of the request.
        rejected: How many of them were refused; fewer than there are.
        message: The receiver's words.
    """

    positions: tuple[int, ...]
    rejected: int
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the points that were handed to `Delivery.send`; each position stands in exactly one of the four.

    Args:
        accepted: Positions that the receiver took over.
        rejected: Positions that it refused for good, with its words. They must not be sent again.
        partial: Requests of which it refused a part. They must not be sent again either.
        retry: Positions to send again in a later run: not sent, or not answered.
        reason: Why positions are to be sent again; None where there are none. `busy`: the endpoint is down or
            overloaded; `failed`: it breaks on these points; `settings`: address, key or certificate is wrong; `budget`:
            the time is spent; `probes`: so many points are refused that the search for them goes on in the next run.
        message: For the operator: why positions are to be sent again, else the receiver's first remark; may be empty.
        requests: Requests made.
    """

    accepted: tuple[int, ...] = ()
    rejected: Mapping[int, str] = field(default_factory=dict)
    partial: tuple[Partial, ...] = ()
    retry: tuple[int, ...] = ()
    reason: Reason | None = None
    message: str = ""
    requests: int = 0

    @property
    def refused(self) -> int:
        """How many points the receiver refused for good, those of partial successes included."""
        return len(self.rejected) + sum(partial.rejected for partial in self.partial)

    @property
    def status(self) -> Status:
        """The whole in one word: retry if anything is to be sent again, else rejected if anything was refused."""
        if self.retry:
            return "retry"
        return "rejected" if self.refused else "accepted"


class Delivery:
    """Sends the lagging points of one evaluation to one receiver. Close it, or use it as a context manager.

    Args:
        endpoint: Where to, and how.
        service: `service.name` of the evaluated service.
        evaluation: Name of the evaluation, from which the stable `service.instance.id` is made.
        budget: Seconds after which `send` keeps the rest for later; a request under way ends by its own timeout.
        clock: Seconds that never go back.

    Raises:
        MissingExtraError: The exporter of the endpoint's protocol is not installed.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        service: str,
        evaluation: str,
        budget: float = DEFAULT_BUDGET,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = endpoint
        self._service = service
        self._evaluation = evaluation
        self._budget = budget
        self._clock = clock
        self._transport = _transport(endpoint)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], *, service: str, evaluation: str, budget: float = DEFAULT_BUDGET
    ) -> Self | None:
        """Read the `OTEL_EXPORTER_OTLP_*` settings.

        Returns:
            None where no endpoint is set (it never falls back to localhost), or where `OTEL_SDK_DISABLED` or
            `OTEL_METRICS_EXPORTER=none` turns sending off.

        Raises:
            EndpointError: A setting cannot be used as it is written.
            MissingExtraError: The exporter of the protocol is not installed.
        """
        endpoint = Endpoint.from_environment(environ)
        return None if endpoint is None else cls(endpoint, service=service, evaluation=evaluation, budget=budget)

    def send(self, points: Sequence[LaggingPoint]) -> Outcome:
        """Send points in bounded requests, oldest first, and check each answer.

        The first request that finds nobody, or a receiver that is busy, ends the sending: the rest is kept in order.
        A refused request is halved until the refused points are known, so one of them does not take the others along.

        Args:
            points: In the order of the outbox; a second value for the same series and time goes into a later request.

        Returns:
            What became of each. No points give an empty outcome, and no request.
        """
        tally = _Tally(pending=deque(plan_requests(points)))
        deadline = self._clock() + self._budget
        while tally.pending:
            if self._clock() >= deadline:
                tally.stop("budget", f"{self._budget:g} s were not enough; the next run sends the rest.")
                break
            group = tally.pending.popleft()
            answer = self._request([points[position] for position in group])
            tally.judge(group, replace(answer, message=answer.told))
        return tally.outcome()

    def probe(self) -> Answer:
        """Send an empty request, which OTLP receivers accept, to see if address, key and certificate are right."""
        return self._request([])

    def close(self) -> None:
        """Give the connection back."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, points: Sequence[LaggingPoint]) -> Answer:
        resource = self.endpoint.resource
        request = export_request(points, service=self._service, evaluation=self._evaluation, resource=resource)
        answer = without_slips(self._transport.send(request))
        place = {
            "settings": f"{self.endpoint.variable} is {self.endpoint.shown}: ",
            "busy": f"{self.endpoint.shown}: ",
            "failed": f"{self.endpoint.shown}: ",
        }.get(answer.verdict, "")
        return replace(answer, message=place + answer.message)


@dataclass
class _Tally:
    """What is still to be sent, and what became of the rest."""

    pending: deque[list[int]]
    accepted: list[int] = field(default_factory=list)
    rejected: dict[int, str] = field(default_factory=dict)
    partial: list[Partial] = field(default_factory=list)
    retry: list[int] = field(default_factory=list)
    reason: Reason | None = None
    message: str = ""
    requests: int = 0
    probes: int = 0
    failures: int = 0

    def judge(self, group: list[int], answer: Answer) -> None:
        self.requests += 1
        if answer.verdict == "accepted":
            self._accept(group, answer)
        elif answer.verdict == "refused":
            self._refuse(group, answer)
        elif answer.verdict == "failed":
            self._fail(group, answer)
        else:
            self.retry += group
            self.stop(answer.verdict, answer.message)

    def stop(self, reason: Reason, message: str) -> None:
        """Keep everything that is pending for another run, in its order."""
        self.reason, self.message = reason, message
        while self.pending:
            self.retry += self.pending.popleft()

    def outcome(self) -> Outcome:
        return Outcome(
            accepted=tuple(sorted(self.accepted)),
            rejected=dict(sorted(self.rejected.items())),
            partial=tuple(self.partial),
            retry=tuple(sorted(self.retry)),
            reason=self.reason,
            message=self.message,
            requests=self.requests,
        )

    def _accept(self, group: list[int], answer: Answer) -> None:
        self.message = self.message or answer.message
        if answer.rejected >= len(group):
            self.rejected.update(dict.fromkeys(group, answer.message))
        elif answer.rejected:
            self.partial.append(Partial(tuple(group), answer.rejected, answer.message))
        else:
            self.accepted += group

    def _refuse(self, group: list[int], answer: Answer) -> None:
        if len(group) == 1:
            self.rejected[group[0]] = answer.message
            self.message = self.message or answer.message
        else:
            self._halve(group, answer)

    def _fail(self, group: list[int], answer: Answer) -> None:
        # A 500 may mean a point that the receiver cannot digest, or a receiver that is broken; a few points sent alone
        # tell which. The point is kept either way, since nobody has refused it.
        if len(group) > 1:
            self._halve(group, answer)
            return
        self.retry += group
        self.failures += 1
        self.reason, self.message = "failed", answer.message
        if self.failures >= MAX_FAILURES and not (self.accepted or self.partial):
            self.stop("failed", answer.message)

    def _halve(self, group: list[int], answer: Answer) -> None:
        middle = len(group) // 2
        self.pending.extendleft((group[middle:], group[:middle]))
        self.probes += 1
        if self.probes >= MAX_PROBES:
            self.stop("probes", f"The receiver refuses most points; the rest follows in the next run. {answer.message}")


def _transport(endpoint: Endpoint) -> Transport:
    # Resolved here, because either exporter may be missing and gRPC alone takes a tenth of a second to import.
    try:
        if endpoint.protocol == "grpc":
            from otel_ml_metrics.telemetry.otlp_grpc import GrpcTransport  # noqa: PLC0415

            return GrpcTransport(endpoint)
        from otel_ml_metrics.telemetry.otlp_http import HttpTransport  # noqa: PLC0415

        return HttpTransport(endpoint)
    except ModuleNotFoundError as error:
        package = error.name or "the OTLP exporter"
        raise MissingExtraError(package, "otlp", f"Sending by {endpoint.protocol}") from error
