"""Evaluates a world again and again, in a process of its own that dies where it is told to, or when it is killed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.errors import LedgerBusyError, LedgerMovedError
from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation.material import World
from tests.faults import story

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event

DIED: Final = 9
"""Exit code of a runner that came to its place."""

RUNNER: Final = "x-runner"
"""Header with the process of the sender."""


@dataclass(frozen=True)
class Stage:
    """What a runner works on.

    Args:
        folder: Of the world.
        ledger: URL.
        endpoint: Settings of the receiver.
    """

    folder: str
    ledger: str
    endpoint: Mapping[str, str]

    def evaluator(self, place: tuple[str, int] | None = None) -> Evaluator:
        """An evaluator that ends its process at a place."""

        def die(stage: str, done: int, _total: int) -> None:
            if (stage, done) == place:
                os._exit(DIED)

        evaluation = World(Path(self.folder), ledger=self.ledger).evaluation(story.SETTINGS, timestamps="event")
        header = {"OTEL_EXPORTER_OTLP_HEADERS": f"{RUNNER}={os.getpid()}"}
        return Evaluator(evaluation, environ={**self.endpoint, **header}, progress=die)


def run_until_killed(stage: Stage, place: tuple[str, int] | None) -> None:
    """Run up to now, again and again."""
    while True:
        run_once(stage, place)


def run_until_told(stage: Stage, enough: Event, told: Connection) -> None:
    """Run up to now, again and again; tell how often it went well, and what was said when it did not."""
    runs, messages = 0, []
    while not enough.is_set():
        message = run_once(stage, None)
        runs += not message
        messages += [message] if message else []
    told.send((runs, messages))


def run_once(stage: Stage, place: tuple[str, int] | None) -> str:
    """Run up to now; what was said to a run that another one was in the way of."""
    try:
        with stage.evaluator(place) as evaluator:
            evaluator.run(as_of=story.now(Path(stage.folder)))
    except (LedgerBusyError, LedgerMovedError) as error:
        return str(error)
    return ""
