"""Runners on a world that goes on, killed as often as is asked for; and what has to be so when it is over."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from otel_ml_metrics.evaluator import STAGES
from otel_ml_metrics.telemetry.lagging import LaggingPoint
from otel_ml_metrics.telemetry.receiver import Receiver
from tests.evaluation import oracle
from tests.evaluation.material import World, us
from tests.evaluation.test_laws import agree
from tests.faults import story
from tests.faults.runner import DIED, RUNNER, Stage, run_until_killed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from multiprocessing.context import ForkServerContext
    from multiprocessing.synchronize import Semaphore
    from pathlib import Path

    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    from otel_ml_metrics.telemetry.receiver import Reply

PLACES: Final = {
    "after reading": (STAGES[0], 1),
    "before the commit": (STAGES[2], 0),
    "after the commit": (STAGES[2], 1),
    "after sending": (STAGES[3], 1),
}
SENDING: Final = "while the receiver answers"
ANY_TIME: Final = "at any time"
FATES: Final = (*PLACES, SENDING, ANY_TIME, ANY_TIME, ANY_TIME, ANY_TIME)
"""Half of the runners come to a place where they end themselves or are killed, half are killed whenever it is."""

OVERTIME: Final = 1.5
"""A runner is killed at any time of what a run takes here and now, and half as long again."""

PATIENCE: Final = 240.0
"""Seconds within which a runner comes to its place, on a machine that has a lot else to do."""


class DeadlyReceiver(Receiver):
    """A receiver that kills some of its senders when it has their points, before it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.doomed: set[int] = set()

    def take(self, request: ExportMetricsServiceRequest, headers: Mapping[str, str]) -> Reply:
        """Keep the points; the sender may not live to hear of it."""
        reply = super().take(request, headers)
        sender = int(headers.get(RUNNER, 0))
        if sender in self.doomed:
            os.kill(sender, signal.SIGKILL)
        return reply


def processes() -> ForkServerContext:
    """Where processes start from: a server that has imported everything, and has no threads that a fork would lose."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.runner", "pandas"])  # pyarrow imports it when it meets a first table
    return context


@dataclass
class Theatre:
    """A world that a process keeps adding to, a ledger, and a receiver.

    Args:
        folder: Of the world.
        ledger: URL.
        chapters: How many there are at most.
    """

    folder: Path
    ledger: str
    chapters: int

    def __post_init__(self) -> None:
        self.context = processes()
        self.pace: Semaphore = self.context.Semaphore(0)
        self.receiver = DeadlyReceiver()
        self.stage = Stage(str(self.folder), self.ledger, self.receiver.environment)
        self._usual = 0.0

    @contextmanager
    def play(self) -> Iterator[None]:
        """Let the writer write; at the end it has written everything."""
        self.folder.mkdir(exist_ok=True)
        arguments = (str(self.folder), self.pace, self.chapters)
        writer = self.context.Process(target=story.tell_all, args=arguments)
        writer.start()
        try:
            yield
            for _ in range(self.chapters):
                self.pace.release()
            writer.join(PATIENCE)
            assert writer.exitcode == 0
        finally:
            writer.kill()
            writer.join()
            writer.close()

    def kill_runners(self, kills: int, *, seed: int) -> None:
        """Let two runners run at once, and see each of them die so often, half of the kills each."""
        fates = [fate for _ in range(kills) for fate in FATES][:kills]
        Random(seed).shuffle(fates)
        self._take_time()
        with ThreadPoolExecutor(2) as pool:
            parts = pool.map(self._kill_in_turn, (fates[::2], fates[1::2]), (seed, -seed))
            codes = [code for part in parts for code in part]
        assert len(codes) == kills
        assert set(codes) <= {DIED, -signal.SIGKILL}

    def _take_time(self) -> None:
        """See how long a runner takes from its start to its end; the first one waits until everything is imported."""
        for _ in range(2):
            began = time.monotonic()
            self._kill("after sending", 0)
            self._usual = time.monotonic() - began

    def _kill_in_turn(self, fates: Sequence[str], seed: int) -> list[int]:
        random = Random(seed)
        return [self._kill(fate, random.uniform(0, OVERTIME)) for fate in fates]

    def _kill(self, fate: str, share: float) -> int:
        """Let a runner run until its fate comes, or for a share of the time that a run takes; its exit code."""
        runner = self.context.Process(target=run_until_killed, args=(self.stage, PLACES.get(fate)))
        runner.start()
        assert runner.pid is not None
        if fate == SENDING:
            self.receiver.doomed.add(runner.pid)
        self.pace.release()
        runner.join(share * self._usual if fate == ANY_TIME else PATIENCE)
        if fate == ANY_TIME:
            os.kill(runner.pid, signal.SIGKILL)
        runner.join(PATIENCE)
        code = runner.exitcode
        assert code is not None, f"{fate}: the runner never came there"
        runner.close()
        return code

    def recover(self) -> None:
        """Run to the end, and see that everything is as if nothing had ever gone wrong."""
        last = story.end(self.chapters)
        told = retold(self.folder.with_name("retold"), self.chapters)
        with self.stage.evaluator() as evaluator:
            report = evaluator.run(as_of=last)
            again = evaluator.run(as_of=last)
            found = evaluator.as_of(last).values
        agree(found, oracle.values(told.predictions, told.facts, story.SETTINGS, us(last)))
        statuses = oracle.statuses(told.predictions, told.facts, story.SETTINGS, us(last))
        assert {**report.labels, "waiting": report.waiting} == {**statuses, "invalid": 0}
        assert (again.values, again.delivery.kept) == ((), 0)
        everything_arrived(self.ledger, self.receiver)


def retold(folder: Path, chapters: int) -> World:
    """The same world once more, for the oracle to know what is in it."""
    world = World(folder)
    for chapter in range(chapters):
        story.tell(world, chapter)
    return world


def everything_arrived(ledger: str, receiver: Receiver) -> None:
    """See that each point was accepted or superseded, and that nobody was told two values of one series and time."""
    committed: dict[Any, set[Any]] = defaultdict(set)
    newest: dict[Any, Any] = {}
    for point, status in outbox(ledger):
        assert status in {"accepted", "superseded"}
        key = (point.metric, *sorted(point.attributes.items()), point.time_unix_nano)
        newest[key] = said = (point.sum, *point.counts) if point.kind == "histogram" else point.value
        committed[key].add(said)
    received: dict[Any, set[Any]] = defaultdict(set)
    for each in receiver.points:
        key = (each.metric, *sorted(each.attributes.items()), each.time_unix_nano)
        received[key].add((each.value, *each.counts) if each.kind == "histogram" else each.value)
    assert received.keys() == committed.keys()
    assert all(said <= committed[key] for key, said in received.items())
    assert all(said in received[key] for key, said in newest.items())
    assert all(len(said) == 1 for key, said in received.items() if key[0].startswith("ml.evaluation"))


def outbox(ledger: str) -> list[tuple[LaggingPoint, str]]:
    """Every point that was ever committed, in order, with its status; read past the package."""
    engine = sa.create_engine(ledger)
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT point, status FROM outbox ORDER BY id")).all()
    engine.dispose()
    return [(LaggingPoint(**json.loads(point)), status) for point, status in rows]
