"""What the flows share: a patient run of the evaluator, its retries, and its end.

The ledger is the lock and the correctness boundary, not Prefect: a run means "advance the ledger from where it stands
to `as_of`", so lost, late, doubled and cancelled runs are all harmless.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, wait
from contextvars import copy_context
from datetime import datetime
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed
from pydantic import Field

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.errors import LedgerBusyError, LedgerLostError, LedgerMovedError, OtelMLMetricsError
from otel_ml_metrics.evaluation_report import Report
from otel_ml_metrics.evaluator import Evaluator

from .paging import page
from .showing import publish
from .telling import told

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

STEP: Final = 0.25
"""Seconds between two looks at the helper thread: how long a cancellation may go unheard."""

FAREWELL: Final = 10.0
"""Seconds that the work has to stop once it is told to; Prefect kills a run 30 seconds after it was cancelled."""

BUSY_DELAYS: Final = [1.0, 5.0, 15.0, 30.0, 60.0]
"""Seconds before each new try at a ledger that another run holds or has just moved."""

LONGEST_PAUSE: Final = 30
"""Seconds between two tries at an endpoint that is down, at most; the first pauses are short, for a mere restart."""

POINTS_KEPT: Final = "PointsKept"
"""Name of the failed state of a run whose values are safe in the ledger but whose points wait for the endpoint."""


def another_run_is_at_it(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    """Say whether trying again can help: where another run was in the way or the ledger was lost, and nowhere else."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, (LedgerBusyError, LedgerLostError, LedgerMovedError))


LEDGER_TASK: Final[dict[str, Any]] = {
    "retries": len(BUSY_DELAYS),
    "retry_delay_seconds": BUSY_DELAYS,
    "retry_condition_fn": another_run_is_at_it,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
"""Options of a task that needs the ledger: it waits for another run, and not for ever."""

SendFor = Annotated[int, Field(ge=0, le=3600)]
"""Seconds for which a run keeps trying an endpoint that is down."""


class Interruptible(Protocol):
    """What can be told from another thread to stop its work; the evaluator can."""

    def interrupt(self) -> None:
        """Stop soon; telling it twice does no harm."""


def patiently(evaluator: Interruptible, work: Callable[[], Report], *, farewell: float = FAREWELL) -> Report:
    """Do `work` in a helper thread and wait in short steps, so that a cancellation is heard while the engine is busy.

    A query in the main thread would keep Prefect's signal from being seen until it ends. Whatever stops the wait
    interrupts the evaluator, again and again until the thread is done: the ledger commits whole or not at all. What
    cannot be interrupted, such as a label source that never answers, is left behind and dies with the process.

    Args:
        evaluator: Told to stop when the wait is broken off.
        work: What to do; its log lines land in the log of the current run.
        farewell: Seconds that the work has to stop once it is told to.

    Returns:
        What `work` returns.
    """
    future: Future[Report] = Future()
    context = copy_context()

    def fulfil() -> None:
        try:
            future.set_result(context.run(work))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)

    helper = Thread(target=fulfil, name="evaluator", daemon=True)
    try:
        helper.start()
        while not wait([future], timeout=STEP).done:
            pass
    except BaseException:
        latest = time.monotonic() + farewell
        while helper.is_alive() and time.monotonic() < latest:
            evaluator.interrupt()
            helper.join(STEP)
        raise
    helper.join()
    return future.result()


@task(name="send-kept-points", cache_policy=NO_CACHE, persist_result=False)
def send_kept_points(monitoring: str, as_of: datetime) -> Report:
    """Send what waits in the outbox; the ledger already stands at `as_of`, so nothing is evaluated again.

    Args:
        monitoring: Path of monitoring.yaml.
        as_of: Where the ledger stands.

    Returns:
        The report of the sending.

    Raises:
        ConnectionError: The endpoint is still down.
    """
    with Evaluator(Evaluation.from_file(monitoring)) as evaluator:
        report = patiently(evaluator, lambda: evaluator.run(as_of=as_of))
    if report.delivery.kept:
        raise ConnectionError(report.delivery.message)
    return report


def finish(report: Report, *, monitoring: str, send_for: int, remark: str = "") -> State[Report]:
    """Send what the endpoint did not take at once, tell of breaches, publish table and picture, and say how it went.

    Args:
        report: What the evaluator did.
        monitoring: Path of monitoring.yaml.
        send_for: Seconds, at least 0; how long to try an endpoint that is down.
        remark: What else there is to say; comes first.

    Returns:
        Completed; or failed and named `PointsKept` where the endpoint stayed down. The values are in the ledger all the
        same and the next run sends them, but somebody should look.
    """
    waits = report.delivery.kept > 0 and report.delivery.endpoint is not None and not report.read_only
    if waits and send_for:
        get_run_logger().warning("%d points wait for the endpoint: %s", report.delivery.kept, report.delivery.message)
        delays = pauses(send_for)
        patient = send_kept_points.with_options(retries=len(delays), retry_delay_seconds=delays)
        waits = patient(monitoring, report.as_of, return_state=True).is_failed()
    message = remark + told(report, kept=report.delivery.kept if waits else 0)
    for breach in page(report):
        get_run_logger().warning("alert %s (%s): %s", breach.alert.name, breach.alert.severity, breach.told)
    publish(report, message=message, monitoring=monitoring)
    if waits:
        return Failed(name=POINTS_KEPT, message=message)
    return Completed(message=message, data=report)


def pauses(seconds: int) -> list[float]:
    """Divide a time to wait into pauses that grow.

    >>> pauses(60)
    [1.0, 2.0, 4.0, 8.0, 16.0, 29.0]
    """
    found: list[float] = []
    pause = 1
    while seconds > 0:
        found.append(float(min(pause, seconds)))
        seconds -= pause
        pause = min(2 * pause, LONGEST_PAUSE)
    return found


def model_of(monitoring: str) -> str:
    """Name the model of a monitoring.yaml; one that cannot be read shows as its path, and its run says why it fails."""
    try:
        return Evaluation.from_file(monitoring).model
    except OtelMLMetricsError:
        return monitoring
