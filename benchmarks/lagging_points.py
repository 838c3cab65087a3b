"""Time 100,000 lagging points from the outbox of a ledger through the real Collector into the real Prometheus.

The points are values of twenty-five daily windows: twenty measures of two hundred slices. A process of its own opens
the ledger and sends what waits there as a run does: reads, builds requests, sends, reads the answers, marks the rows.
Its memory is its peak less what it had after opening everything, so that the libraries do not count. Collector and
Prometheus run on the same machine and take their share of it. In the end Prometheus is asked how many points it has.

Found (2026-11, two cores): 8.4 to 12.4 s by either protocol, by the noise of the machine (14 sendings, median 10.2),
and 20 MiB whatever the number. 5.6 to 8.3 s of it are the sender's own work; the rest waits for Prometheus, which works
on the other core meanwhile. It had been 15.7 to 16 s an hour before, when the SDK's encoder made a message for every
attribute of every point. Requests of 1,000 or 2,000 points, reading ahead in a thread, reading the points of a batch as
one text, and fewer collections of garbage made no difference that stood out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.ledger.commit import Commit
from otel_ml_metrics.ledger.outbox import Outbox
from otel_ml_metrics.ledger.store import Ledger
from otel_ml_metrics.sending import send
from otel_ml_metrics.telemetry.delivery import Delivery
from otel_ml_metrics.telemetry.lagging import LaggingPoint

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.end_to_end.stack import Tools, running_stack  # noqa: E402 - a script does not see the checkout by itself

NAME: Final = "flight-delay-api/flight-delay"
WINDOWS: Final = 25  # within the out-of-order window of examples/deploy/prometheus.yml
MEASURES: Final = 20
STORED: Final = 'sum(count_over_time(ml_evaluation_measure_{measure}_ratio{{job="benchmark"}}[30d]))'
LIMIT_SECONDS: Final = 10.0
LIMIT_MIB: Final = 64.0


@dataclass(frozen=True)
class Sent:
    """What one backlog took.

    Args:
        seconds: From the first read of the outbox to its last mark.
        worked: Seconds that the sender itself kept a processor busy.
        mib: Memory that it took for that.
        stored: Points that Prometheus has afterwards.
    """

    seconds: float
    worked: float
    mib: float
    stored: int


def points(count: int, newest: datetime) -> Iterator[LaggingPoint]:
    """Values of many slices, windows one after the other."""
    series = count // WINDOWS
    for number in range(count):
        window, each = divmod(number, series)
        end = newest - timedelta(days=WINDOWS - window)
        yield LaggingPoint(
            metric=f"ml.evaluation.measure_{each % MEASURES}",
            unit="1",
            description="A measure of the benchmark.",
            kind="gauge",
            attributes={
                "ml.model.name": "flight-delay",
                "ml.model.version": "2013.04",
                "ml.model.variant": "champion",
                "ml.slice.carrier": f"carrier-{each // MEASURES}",
                "ml.evaluation.window": "1d",
                "ml.evaluation.maturity": "7d",
                "ml.evaluation.stage": "final",
            },
            time_unix_nano=int(end.timestamp()) * 10**9,
            value=number / count,
        )


def fill(ledger: Ledger, count: int) -> None:
    """Commit the points, as many runs would have while the Collector was away."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    now_us = int(now.timestamp()) * 10**6
    rows = [(point.series, point.time_unix_nano, point.to_json()) for point in points(count, now)]
    ledger.commit(
        Commit(
            read_version=0,
            as_of_us=now_us,
            now_us=now_us,
            definition={"model": "flight-delay"},
            totals={},
            points=rows,
            once=[(series, at) for series, at, _ in rows],
        )
    )


def opened(path: Path) -> Ledger:
    """The ledger of this file."""
    return Ledger(f"sqlite:///{path}", name=NAME, label_kind="boolean")


def peak_mib() -> float:
    """The most memory that this process ever had; what getrusage says begins with that of the parent."""
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def sender(path: Path) -> None:
    """Send what waits in a ledger, and print seconds, those of the processor, MiB, and how many points were kept."""
    ledger = opened(path)
    delivery = Delivery.from_environment(os.environ, service="benchmark", evaluation=NAME)
    assert delivery is not None
    delivery.probe()  # the connection, and libraries that are loaded when first used
    before, started, worked = peak_mib(), time.perf_counter(), time.process_time()
    told = send(Outbox(ledger), delivery, progress=lambda *_: None)
    print(time.perf_counter() - started, time.process_time() - worked, peak_mib() - before, told.kept)
    delivery.close()
    ledger.close()


def measure(tools: Tools, protocol: str, count: int) -> Sent:
    """Send one backlog, and ask Prometheus what it has afterwards."""
    with tempfile.TemporaryDirectory() as aside:
        path = Path(aside) / "ledger.db"
        ledger = opened(path)
        fill(ledger, count)
        ledger.close()
        with running_stack(tools, Path(aside)) as stack:
            endpoint = stack.otlp_grpc if protocol == "grpc" else stack.otlp_http
            where = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
            command = [sys.executable, __file__, "--send", str(path)]
            done = subprocess.run(command, check=True, env={**os.environ, **where}, stdout=subprocess.PIPE, text=True)
            *figures, kept = map(float, done.stdout.split())
            assert kept == 0, f"{kept:.0f} points were not sent"
            stored = [stack.prometheus.query(STORED.format(measure=measure)) for measure in range(MEASURES)]
    return Sent(*figures, stored=int(sum(found.value for (found,) in stored)))


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"Exit code 1 if it takes more than {LIMIT_SECONDS:g} s or {LIMIT_MIB:g} MiB, or if points are missing.",
    )
    parser.add_argument("--points", type=int, default=100_000, help="waiting points (default: 100000)")
    parser.add_argument("--send", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Send a tenth and the whole by each protocol, and print the table."""
    asked = arguments()
    if asked.send:
        sender(asked.send)
        return 0
    tools, reached = Tools.provided(), True
    print(f"{'protocol':>13} {'points':>8} {'seconds':>8} {'worked':>8} {'memory':>10} {'stored':>8}")
    for protocol in ("http/protobuf", "grpc"):
        for count in (asked.points // 10, asked.points):
            sent = measure(tools, protocol, count)
            figures = f"{sent.seconds:>8.2f} {sent.worked:>8.2f} {sent.mib:>6.1f} MiB {sent.stored:>8,}"
            print(f"{protocol:>13} {count:>8,} {figures}")
            reached &= sent.seconds <= LIMIT_SECONDS and sent.mib <= LIMIT_MIB and sent.stored == count
    print(f"to reach: {LIMIT_SECONDS:g} s, {LIMIT_MIB:g} MiB")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
