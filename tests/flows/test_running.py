"""What the flows share, where it needs no API."""

from __future__ import annotations

import _thread
import signal
import threading
from typing import TYPE_CHECKING, cast

import pytest
from prefect.states import Failed

from otel_ml_metrics.errors import (
    ConfigurationError,
    LedgerBusyError,
    LedgerLostError,
    LedgerMismatchError,
    LedgerMovedError,
    OtelMLMetricsError,
)
from otel_ml_metrics.flows.running import another_run_is_at_it, patiently, pauses
from otel_ml_metrics.flows.telling import slug

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

    from otel_ml_metrics.evaluation_report import Report


class Interruptible:
    """Stands for an evaluator whose work ends when it is told to stop."""

    def __init__(self) -> None:
        self.told_to_stop = threading.Event()

    def interrupt(self) -> None:
        """Take note."""
        self.told_to_stop.set()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A main thread that takes interrupts, also where the tests run in the background of a shell that ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_what_stops_the_flow_stops_the_engine() -> None:
    """Prefect cancels by an exception in the main thread; the query in the helper thread must not run on."""
    evaluator = Interruptible()
    stopped_in_time = []

    def work() -> Report:
        for _ in range(6):  # Python swallows an exception that meets the main thread in a callback of its own
            _thread.interrupt_main()
            if evaluator.told_to_stop.wait(5):
                break
        stopped_in_time.append(evaluator.told_to_stop.is_set())
        raise RuntimeError

    with pytest.raises(KeyboardInterrupt):
        patiently(evaluator, work)

    assert stopped_in_time == [True]


@pytest.mark.usefixtures("interruptible")
def test_what_does_not_stop_is_left_behind() -> None:
    """A label source that never answers must not keep a cancelled run, and the place that it holds, for ever."""
    answered = threading.Event()

    def work() -> Report:
        while not answered.wait(0.1):
            _thread.interrupt_main()
        raise RuntimeError

    try:
        with pytest.raises(KeyboardInterrupt):
            patiently(Interruptible(), work, farewell=0)
    finally:
        answered.set()


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (LedgerBusyError("held"), True),
        (LedgerLostError("lost"), True),
        (LedgerMovedError("moved"), True),
        (LedgerMismatchError("of another evaluation"), False),
        (ConfigurationError("no such measure"), False),
    ],
)
def test_only_a_ledger_in_use_is_tried_again(error: OtelMLMetricsError, *, again: bool) -> None:
    """Waiting mends a ledger that another run holds, and nothing else."""
    state: State[object] = Failed(data=error)

    # The condition looks at the state alone; Prefect hands it the task and its run as well.
    assert another_run_is_at_it(cast("Task[..., object]", None), cast("TaskRun", None), state) is again


@pytest.mark.parametrize("seconds", [0, 1, 2, 10, 60, 3600])
def test_pauses_add_up_to_the_time_to_wait(seconds: int) -> None:
    """The operator gives seconds, and gets them."""
    assert sum(pauses(seconds)) == seconds


def test_names_become_keys_that_prefect_takes() -> None:
    """Artifact keys know lower-case letters, digits and dashes only."""
    assert slug("Flight-Delay API/flight_delay (v2)") == "flight-delay-api-flight-delay-v2"
