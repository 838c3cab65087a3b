"""Delivery against a real receiver, by both protocols: what is accepted, refused, kept, and what is said about it."""

from __future__ import annotations

import logging
import pickle
import socketserver
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider

from otel_ml_metrics.telemetry.answers import Answer
from otel_ml_metrics.telemetry.delivery import MAX_PROBES, Delivery, Outcome
from otel_ml_metrics.telemetry.endpoint import Endpoint
from otel_ml_metrics.telemetry.grpc_receiver import GrpcReceiver
from otel_ml_metrics.telemetry.receiver import ACCEPT, Receiver, Reply
from otel_ml_metrics.telemetry.slips import without_slips
from tests.telemetry.points import START, counter, gauge, gauges, histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_ml_metrics.telemetry.received import ReceivedPoint


@dataclass(frozen=True)
class Wire:
    """One of the two protocols, with its words for the same answers."""

    receiver: type[Receiver | GrpcReceiver]
    refused: Reply
    busy: Reply
    broken: Reply
    forbidden: Reply


HTTP = Wire(
    Receiver,
    refused=Reply(400, message="out of order sample"),
    busy=Reply(503, message="shedding load"),
    broken=Reply(500, message="no idea"),
    forbidden=Reply(401, message="who are you"),
)
GRPC = Wire(
    GrpcReceiver,
    refused=Reply(code="INVALID_ARGUMENT", message="out of order sample"),
    busy=Reply(code="UNAVAILABLE", message="shedding load"),
    broken=Reply(code="INTERNAL", message="no idea"),
    forbidden=Reply(code="UNAUTHENTICATED", message="who are you"),
)


@pytest.fixture(params=[HTTP, GRPC], ids=["http", "grpc"])
def wire(request: pytest.FixtureRequest) -> Wire:
    """Each test runs over both."""
    chosen: Wire = request.param
    return chosen


# Shorter than the first pause (0.8 s or more), so nothing is tried again where nobody will answer; too short where
# somebody does, on a busy machine.
AT_ONCE = 0.7
SOON = 3.0


def _delivery(environ: Mapping[str, str], *, timeout: float = 10.0) -> Delivery:
    delivery = Delivery.from_environment(
        {"OTEL_EXPORTER_OTLP_TIMEOUT": str(timeout), **environ},
        service="flight-delay-api",
        evaluation="flight-delay-api/flight-delay",
    )
    assert delivery is not None
    return delivery


def _refusing(numbers: set[str], reply: Reply) -> Callable[[tuple[ReceivedPoint, ...]], Reply]:
    def policy(points: tuple[ReceivedPoint, ...]) -> Reply:
        return reply if any(point.attributes.get("number") in numbers for point in points) else ACCEPT

    return policy


def _in_turn(*replies: Reply) -> Callable[[tuple[ReceivedPoint, ...]], Reply]:
    left = list(replies)

    def policy(_points: tuple[ReceivedPoint, ...]) -> Reply:
        return left.pop(0) if left else ACCEPT

    return policy


def test_values_and_times_arrive_bit_exact(wire: Wire) -> None:
    """What the ledger committed is what the backend reads."""
    third = 1.0 / 3.0
    points = [gauge(third, origin="EWR"), counter(2**53 + 1), gauge(5e-324, time=START + 1), histogram()]

    with wire.receiver() as receiver, _delivery(receiver.environment) as delivery:
        outcome = delivery.send(points)

    assert (outcome.status, outcome.accepted, outcome.requests) == ("accepted", (0, 1, 2, 3), 1)
    received = {(point.metric, point.time_unix_nano): point for point in receiver.points}
    assert received["ml.evaluation.accuracy", START].value == third
    assert received["ml.evaluation.accuracy", START].attributes == {"origin": "EWR"}
    assert received["ml.evaluation.accuracy", START + 1].value == 5e-324
    assert received["ml.labels", START].value == 2**53 + 1
    assert received["ml.label.delay", START].counts == (1, 0, 2)
    assert {point.scope for point in receiver.points} == {"otel_ml_metrics.lagging"}


def test_a_backlog_arrives_in_bounded_requests_oldest_first(wire: Wire) -> None:
    """Prometheus takes a series in the order of time only."""
    points = gauges(1_200)[::-1]

    with wire.receiver() as receiver, _delivery(receiver.environment) as delivery:
        outcome = delivery.send(points)

    assert outcome.status == "accepted"
    assert [len(exchange.points) for exchange in receiver.exchanges] == [500, 500, 200]
    assert [point.value for point in receiver.points] == [float(number) for number in range(1_200)]


def test_no_points_are_no_request(wire: Wire) -> None:
    """A run in which nothing changed does not need its endpoint."""
    with wire.receiver() as receiver, _delivery(receiver.environment) as delivery:
        outcome = delivery.send([])

    assert outcome == Outcome()
    assert (outcome.status, receiver.exchanges) == ("accepted", ())


def test_a_refused_point_does_not_take_the_others_with_it(wire: Wire) -> None:
    """One too-old point makes Prometheus refuse its whole request, so it is halved until the point is found."""
    policy = _refusing({"700", "701", "1199"}, wire.refused)

    with wire.receiver(reply=policy) as receiver, _delivery(receiver.environment) as delivery:
        outcome = delivery.send(gauges(1_200))

    assert sorted(outcome.rejected) == [700, 701, 1199]
    assert all("out of order sample" in message for message in outcome.rejected.values())
    assert (outcome.status, outcome.refused, outcome.retry) == ("rejected", 3, ())
    assert len(outcome.accepted) == len(receiver.points) == 1_197
    assert outcome.requests < 60
    assert [point.value for point in receiver.points] == sorted(point.value or 0.0 for point in receiver.points)


@settings(max_examples=25)
@given(st.sets(st.integers(0, 39)))
def test_exactly_the_refused_points_are_found(refused: set[int]) -> None:
    """However the refused ones lie, each point gets the verdict that it would get alone."""
    policy = _refusing({str(number) for number in refused}, HTTP.refused)

    with Receiver(reply=policy) as receiver, _delivery(receiver.environment) as delivery:
        outcome = delivery.send(gauges(40))

    assert set(outcome.rejected) == refused
    assert set(outcome.accepted) == set(range(40)) - refused
    assert {int(str(point.attributes["number"])) for point in receiver.points} == set(outcome.accepted)


def test_the_search_for_refused_points_is_bounded() -> None:
    """A receiver that refuses all gets no flood; what is found is settled, the rest waits in order for the next run."""
    with Receiver(reply=lambda _: HTTP.refused) as receiver, _delivery(receiver.environment) as delivery:
        outcome = delivery.send(gauges(1_500))

    settled = len(outcome.rejected)
    assert outcome.requests <= 2 * MAX_PROBES + 3
    assert settled >= MAX_PROBES // 2
    assert (outcome.status, outcome.reason) == ("retry", "probes")
    assert outcome.retry == tuple(range(settled, 1_500))


@pytest.mark.parametrize(
    "words",
    [
        "Client sent an HTTP request to an HTTPS server.",
        "<center>The plain HTTP request was sent to HTTPS port</center>",
        "Reason: You're speaking plain HTTP to an SSL-enabled server port.",
    ],
)
def test_a_missing_s_in_https_costs_no_point(words: str) -> None:
    """Servers in Go, nginx and Apache answer 400 to it, which is a refusal of the points in all other cases."""
    with (
        Receiver(reply=lambda _: Reply(400, message=words)) as receiver,
        _delivery(receiver.environment) as delivery,
    ):
        outcome = delivery.send(gauges(600))

    assert (outcome.reason, outcome.rejected, len(outcome.retry)) == ("settings", {}, 600)
    assert "write https:// in the endpoint" in outcome.message


def test_too_large_a_request_is_halved() -> None:
    """413 is about the size; the points in it are fine."""
    with (
        Receiver(reply=lambda points: Reply(413) if len(points) > 100 else ACCEPT) as receiver,
        _delivery(receiver.environment) as delivery,
    ):
        outcome = delivery.send(gauges(500))

    assert (outcome.status, len(outcome.accepted)) == ("accepted", 500)
    assert [point.value for point in receiver.points] == [float(number) for number in range(500)]


def test_a_partial_success_is_read_and_its_request_not_repeated(wire: Wire) -> None:
    """The exporters swallow it, and OTLP forbids to send such a request again; only the number of refused is known."""
    reply = Reply(rejected=2, message="2 samples too old")

    with wire.receiver(reply=lambda _: reply) as receiver, _delivery(receiver.environment) as delivery:
        outcome = delivery.send(gauges(3))

    (partial,) = outcome.partial
    assert (partial.positions, partial.rejected, partial.message) == ((0, 1, 2), 2, "2 samples too old")
    assert (outcome.accepted, outcome.rejected, outcome.retry) == ((), {}, ())
    assert (outcome.status, outcome.refused) == ("rejected", 2)
    assert len(receiver.exchanges) == 1


def test_a_partial_success_that_leaves_all_out_refuses_each(wire: Wire) -> None:
    """Where the number says it all, every point is known to be refused."""
    reply = Reply(rejected=3, message="unknown tenant")

    with wire.receiver(reply=lambda _: reply) as receiver, _delivery(receiver.environment) as delivery:
        outcome = delivery.send(gauges(3))

    assert outcome.rejected == dict.fromkeys(range(3), "unknown tenant")
    assert outcome.partial == ()


def test_a_remark_of_the_receiver_refuses_nothing(wire: Wire) -> None:
    """A partial success without rejected points is a warning."""
    with (
        wire.receiver(reply=lambda _: Reply(message="units are deprecated")) as receiver,
        _delivery(receiver.environment) as delivery,
    ):
        outcome = delivery.send(gauges(3))

    assert (outcome.status, outcome.accepted, outcome.message) == ("accepted", (0, 1, 2), "units are deprecated")


def test_a_busy_receiver_gets_no_second_request(wire: Wire) -> None:
    """What it has not taken is kept in its order, and the next run sends it."""
    with (
        wire.receiver(reply=_in_turn(ACCEPT, *[wire.busy] * 10)) as receiver,
        _delivery(receiver.environment, timeout=SOON) as delivery,
    ):
        outcome = delivery.send(gauges(1_200))

    assert outcome.accepted == tuple(range(500))
    assert outcome.retry == tuple(range(500, 1_200))
    assert (outcome.status, outcome.reason) == ("retry", "busy")
    assert "shedding load" in outcome.message
    assert outcome.requests == 2


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504, 507])
def test_a_status_that_means_later_keeps_the_points(status: int) -> None:
    """None of them says anything about the points."""
    with (
        Receiver(reply=lambda _: Reply(status, headers=(("Retry-After", "3600"),))) as receiver,
        _delivery(receiver.environment) as delivery,
    ):
        outcome = delivery.send(gauges(2))

    assert (outcome.status, outcome.reason, outcome.retry) == ("retry", "busy", (0, 1))
    assert f"HTTP {status}" in outcome.message


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 405, 407, 415])
def test_a_status_about_the_settings_keeps_the_points_and_names_the_variable(status: int) -> None:
    """The exporter takes a redirect for success, and an expired key must not cost a week of points."""
    with (
        Receiver(reply=lambda _: Reply(status, headers=(("Location", "/elsewhere"),))) as receiver,
        _delivery(receiver.environment) as delivery,
    ):
        outcome = delivery.send(gauges(1_200))

    assert (outcome.status, outcome.reason, len(outcome.retry)) == ("retry", "settings", 1_200)
    assert outcome.message.startswith(f"OTEL_EXPORTER_OTLP_ENDPOINT is {receiver.endpoint}/v1/metrics: HTTP {status}")
    assert outcome.requests == 1


def test_a_wrong_key_keeps_the_points(wire: Wire) -> None:
    """Both protocols have a word for it, and it is the same for every point."""
    with wire.receiver(reply=lambda _: wire.forbidden) as receiver, _delivery(receiver.environment) as delivery:
        outcome = delivery.send(gauges(2))

    assert (outcome.status, outcome.reason, outcome.retry) == ("retry", "settings", (0, 1))
    assert "who are you" in outcome.message


def test_an_address_that_makes_no_request_keeps_the_points() -> None:
    """No request was made, so nobody has refused a point."""
    with _delivery({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://.collector:4318"}) as delivery:
        outcome = delivery.send(gauges(2))

    assert (outcome.status, outcome.reason, outcome.retry) == ("retry", "settings", (0, 1))
    assert "no request could be made" in outcome.message


def test_a_broken_receiver_is_left_alone_soon(wire: Wire) -> None:
    """500 may be the fault of a point; when a few of them fail alone and none is taken, it is not."""
    with (
        wire.receiver(reply=lambda _: wire.broken) as receiver,
        _delivery(receiver.environment) as delivery,
    ):
        outcome = delivery.send(gauges(1_200))

    assert (outcome.status, outcome.reason, outcome.retry) == ("retry", "failed", tuple(range(1_200)))
    assert outcome.requests < 20
    assert "no idea" in outcome.message


def test_a_point_that_breaks_the_receiver_is_kept_and_the_others_pass(wire: Wire) -> None:
    """Nobody has refused it, so it is not given up; but it does not hold up the rest."""
    policy = _refusing({"0", "3"}, wire.broken)

    with wire.receiver(reply=policy) as receiver, _delivery(receiver.environment) as delivery:
        outcome = delivery.send(gauges(600))

    assert outcome.retry == (0, 3)
    assert len(outcome.accepted) == 598
    assert (outcome.status, outcome.reason, outcome.rejected) == ("retry", "failed", {})


def test_nobody_there_keeps_the_points(wire: Wire) -> None:
    """The endpoint is down: the ledger has committed, and the outbox keeps the points."""
    with wire.receiver() as receiver:
        environ = receiver.environment

    with _delivery(environ, timeout=AT_ONCE) as delivery:
        outcome = delivery.send(gauges(1_200))

    assert (outcome.status, outcome.reason, len(outcome.retry)) == ("retry", "busy", 1_200)
    assert outcome.requests == 1
    assert receiver.endpoint.removeprefix("http://") in outcome.message
    assert "refused" in outcome.message


def test_silence_ends_with_the_timeout(wire: Wire) -> None:
    """A receiver that takes the request and says nothing must not hang a run."""
    with (
        wire.receiver(reply=lambda _: Reply(hang=True)) as receiver,
        _delivery(receiver.environment, timeout=AT_ONCE) as delivery,
    ):
        outcome = delivery.send(gauges(1_200))

        assert (outcome.status, outcome.reason, len(outcome.retry)) == ("retry", "busy", 1_200)
        assert outcome.requests == 1


def test_a_receiver_that_hangs_up_keeps_the_points() -> None:
    """Whether it took them is not known; the same points with the same values and times do no harm."""
    with (
        Receiver(reply=lambda _: Reply(hang_up=True)) as receiver,
        _delivery(receiver.environment, timeout=AT_ONCE) as delivery,
    ):
        outcome = delivery.send(gauges(2))

    assert (outcome.status, outcome.reason, outcome.retry) == ("retry", "busy", (0, 1))


def test_an_answer_that_breaks_off_keeps_the_points() -> None:
    """The status came and the partial success did not: whether all points were taken is not known."""

    class Torn(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n\x0a\x02")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Torn) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}"}
        with _delivery(environ, timeout=AT_ONCE) as delivery:
            outcome = delivery.send(gauges(2))
        server.shutdown()

    assert (outcome.status, outcome.reason, outcome.retry) == ("retry", "busy", (0, 1))


def test_a_port_that_speaks_something_else_keeps_the_points() -> None:
    """An HTTP sender at a gRPC port is the most common slip of all."""
    with GrpcReceiver() as receiver:
        environ = {**receiver.environment, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
        with _delivery(environ, timeout=AT_ONCE) as delivery:
            outcome = delivery.send(gauges(2))

    assert (outcome.status, outcome.retry) == ("retry", (0, 1))


@pytest.mark.parametrize("heard", ["Connection aborted.", "Connection broken: ConnectionResetError(104)"])
def test_a_receiver_that_hangs_up_may_want_another_protocol(heard: str) -> None:
    """A port for TLS hangs up on plain HTTP in one way or another, depending on how much it had read by then."""
    answer = without_slips(Answer("busy", message=f"no answer, {heard}"))

    assert answer.verdict == "busy"
    assert "https://" in answer.told


def test_a_short_pause_of_the_receiver_is_waited_out(wire: Wire) -> None:
    """The exporters' own retries stay in force within the timeout, and the answer that counts is the last one.

    The gRPC exporter makes its stub anew on the way; the partial success comes by the new one.
    """
    policy = _in_turn(wire.busy, Reply(rejected=1, message="one is too old"))

    with wire.receiver(reply=policy) as receiver, _delivery(receiver.environment) as delivery:
        outcome = delivery.send(gauges(2))

    assert (outcome.refused, outcome.requests, len(receiver.exchanges)) == (1, 1, 2)


def test_a_send_ends_with_its_budget() -> None:
    """A receiver that is slow but works keeps a run for a bounded time; what was sent counts, the rest waits."""
    ticks = iter(range(100))
    with Receiver() as receiver:
        endpoint = Endpoint.from_environment(receiver.environment)
        assert endpoint is not None
        with Delivery(endpoint, service="api", evaluation="api/m", budget=2.0, clock=lambda: next(ticks)) as delivery:
            outcome = delivery.send(gauges(1_200))

    assert outcome.accepted == tuple(range(500))
    assert (outcome.status, outcome.reason, outcome.retry) == ("retry", "budget", tuple(range(500, 1_200)))


def test_a_second_value_of_a_series_and_time_arrives_after_the_first(wire: Wire) -> None:
    """Where the last write wins, the revision wins."""
    with wire.receiver() as receiver, _delivery(receiver.environment) as delivery:
        outcome = delivery.send([gauge(0.5), gauge(0.75)])

    assert outcome.accepted == (0, 1)
    assert [[point.value for point in exchange.points] for exchange in receiver.exchanges] == [[0.5], [0.75]]


def test_headers_and_compression_are_honoured(wire: Wire) -> None:
    """Hosted backends want a key, and long backlogs compress well."""
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=abc%20def",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    }

    with wire.receiver() as receiver, _delivery({**receiver.environment, **environ}) as delivery:
        outcome = delivery.send(gauges(50))

    (exchange,) = receiver.exchanges
    assert outcome.status == "accepted"
    assert exchange.headers["api-key"] == "abc def"
    assert wire is GRPC or exchange.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("compression", ["none", "deflate"])
def test_every_compression_of_the_specification_works_on_both(wire: Wire, compression: str) -> None:
    """The gRPC exporter itself stops at `none`, which the specification names as a value."""
    environ = {"OTEL_EXPORTER_OTLP_COMPRESSION": compression}

    with wire.receiver() as receiver, _delivery({**receiver.environment, **environ}) as delivery:
        outcome = delivery.send(gauges(2))

    assert (outcome.status, len(receiver.points)) == ("accepted", 2)


@pytest.mark.parametrize(
    ("body", "content_type", "refused"),
    [
        (b"", "application/x-protobuf", 0),
        (b"ok", "text/plain", 0),
        (b"not protobuf at all", "application/x-protobuf", 0),
        (b"{}", "application/json", 0),
        (b"[", "application/json", 0),
        (b'{"partialSuccess": {"rejectedDataPoints": "1", "errorMessage": "old"}, "more": 1}', "application/json", 1),
    ],
)
def test_answers_of_other_receivers_are_understood(body: bytes, content_type: str, refused: int) -> None:
    """Success is answered with nothing, a word or JSON by some; the points are taken over all the same."""
    reply = Reply(body=body, content_type=content_type)

    with Receiver(reply=lambda _: reply) as receiver, _delivery(receiver.environment) as delivery:
        outcome = delivery.send(gauges(2))

    assert (outcome.retry, outcome.refused) == ((), refused)


def test_the_words_of_a_refusal_are_read_from_its_status_message() -> None:
    """OTLP/HTTP answers errors with a protobuf Status; its text is what the operator needs."""
    status = b"\x08\x03\x12\x0dtoo old by 3h"  # google.rpc.Status(code=3, message="too old by 3h")

    with (
        Receiver(reply=lambda _: Reply(400, body=status)) as receiver,
        _delivery(receiver.environment) as delivery,
    ):
        outcome = delivery.send(gauges(1))

    assert outcome.rejected == {0: "HTTP 400 Bad Request: too old by 3h"}


def test_a_probe_sends_no_metric(wire: Wire) -> None:
    """`check` asks whether the endpoint takes requests without leaving a point behind."""
    with wire.receiver() as receiver, _delivery(receiver.environment) as delivery:
        answer = delivery.probe()

    assert (answer.verdict, receiver.points, len(receiver.exchanges)) == ("accepted", (), 1)


def test_the_exporters_messages_do_not_reach_the_log(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    """The result is checked and returned, and a search for refused points would log an error for each request."""
    policy = _refusing({"3"}, wire.refused)

    with (
        caplog.at_level(logging.DEBUG, logger="opentelemetry"),
        wire.receiver(reply=policy) as receiver,
        _delivery(receiver.environment) as delivery,
    ):
        delivery.send(gauges(10))

    assert [record for record in caplog.records if record.name.startswith("opentelemetry")] == []


def test_other_threads_keep_their_log(caplog: pytest.LogCaptureFixture) -> None:
    """The application's own exporter may fail at the same time, and must be heard."""
    logger = logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter")

    def policy(_points: tuple[ReceivedPoint, ...]) -> Reply:
        logger.error("said by another thread")
        return GRPC.refused

    with GrpcReceiver(reply=policy) as receiver, _delivery(receiver.environment) as delivery:
        delivery.send(gauges(1))

    assert [record.message for record in caplog.records] == ["said by another thread"]


def test_sending_leaves_no_thread_and_no_global_provider() -> None:
    """A flow may send in a process that has its own telemetry."""
    with Receiver() as receiver:
        before = set(threading.enumerate())
        with _delivery(receiver.environment) as delivery:
            delivery.send(gauges(2))
            during = {thread for thread in threading.enumerate() if "process_request" not in thread.name} - before

    assert during == set()
    assert not isinstance(metrics.get_meter_provider(), MeterProvider)


def test_an_outcome_survives_pickling() -> None:
    """Prefect moves results between processes."""
    with Receiver(reply=_refusing({"1"}, HTTP.refused)) as receiver, _delivery(receiver.environment) as delivery:
        outcome = delivery.send(gauges(3))

    assert pickle.loads(pickle.dumps(outcome)) == outcome  # noqa: S301 - our own bytes


def test_the_http_protocol_does_not_load_grpc() -> None:
    """It takes a tenth of a second and starts threads at its first call."""
    code = (
        "import sys\n"
        "from otel_ml_metrics.telemetry.delivery import Delivery\n"
        "environ = {'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:4318'}\n"
        "Delivery.from_environment(environ, service='api', evaluation='api/m').close()\n"
        "print('grpc' in sys.modules)"
    )

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "False"


def test_a_missing_exporter_prints_the_line_that_installs_it() -> None:
    """The protocol is chosen in the environment, maybe long after the installation."""
    code = (
        "import sys\n"
        "sys.modules['grpc'] = None\n"
        "from otel_ml_metrics.telemetry.delivery import Delivery\n"
        "environ = {'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:4317'}\n"
        "Delivery.from_environment(environ, service='api', evaluation='api/m')"
    )

    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert failed.stderr.splitlines()[-1].endswith(
        "Sending by grpc needs grpc, which is not installed. Run: pip install 'otel-ml-metrics[otlp]'"
    )
