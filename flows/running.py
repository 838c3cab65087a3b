"""What the flows share: a patient run of the evaluator, its retries, and its report in the words of an operator.

The ledger is the lock and the correctness boundary, not Prefect: a run means "advance the ledger from where it stands
to `as_of`", so lost, late, doubled and cancelled runs are all harmless.
"""

from __future__ import annotations

import re
from concurrent.futures import Future, wait
from contextvars import copy_context
from datetime import datetime
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Final, Protocol

from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed
from pydantic import Field

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.errors import LedgerBusyError, LedgerMovedError, OtelMLMetricsError
from otel_ml_metrics.evaluation_report import Report, Value
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.instants import iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

STEP: Final = 0.25
"""Seconds between two looks at the helper thread: how long a cancellation may go unheard."""

BUSY_DELAYS: Final = [1.0, 5.0, 15.0, 30.0, 60.0]
"""Seconds before each new try at a ledger that another run holds or has just moved."""

LONGEST_PAUSE: Final = 30
"""Seconds between two tries at an endpoint that is down, at most; the first pauses are short, for a mere restart."""

MOST_ROWS: Final = 99
"""Rows of a table artifact: every run leaves its own in Prefect's database."""

POINTS_KEPT: Final = "PointsKept"
"""Name of the failed state of a run whose values are safe in the ledger but whose points wait for the endpoint."""

SendFor = Annotated[int, Field(ge=0, le=3600)]
"""Seconds for which a run keeps trying an endpoint that is down."""


class Interruptible(Protocol):
    """What can be told from another thread to stop its work; the evaluator can."""

    def interrupt(self) -> None:
        """Stop soon; telling it twice does no harm."""


def patiently(evaluator: Interruptible, work: Callable[[], Report]) -> Report:
    """Do `work` in a helper thread and wait in short steps, so that a cancellation is heard while the engine is busy.

    A query in the main thread would keep Prefect's signal from being seen until it ends. Whatever stops the wait
    interrupts the evaluator, again and again until the thread is done: the ledger commits whole or not at all.

    Args:
        evaluator: Told to stop when the wait is broken off.
        work: What to do; its log lines land in the log of the current run.

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

    helper = Thread(target=fulfil, name="evaluator")
    try:
        helper.start()
        while not wait([future], timeout=STEP).done:
            pass
    except BaseException:
        while helper.is_alive():
            evaluator.interrupt()
            helper.join(STEP)
        raise
    helper.join()
    return future.result()


def another_run_is_at_it(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    """Say whether trying again can help: it does where another run holds or moved the ledger, and nowhere else."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, (LedgerBusyError, LedgerMovedError))


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


def finish(report: Report, *, monitoring: str, send_for: int) -> State[Report]:
    """Send what the endpoint did not take at once, publish the table, and say in the final state how it went.

    Args:
        report: What the evaluator did.
        monitoring: Path of monitoring.yaml.
        send_for: Seconds, at least 0; how long to try an endpoint that is down.

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
    message = told(report, kept=report.delivery.kept if waits else 0)
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


def told(report: Report, *, kept: int) -> str:
    """Say in one line what a run did: the message of its final state."""
    delivery = report.delivery
    parts = [f"{len(report.values)} values became final or changed as of {at(report.as_of)}"]
    if report.read_only:
        parts.append("nothing was written")
    elif delivery.endpoint is None:
        parts.append("no OTLP endpoint is set, so points stay in the outbox")
    elif kept:
        parts.append(
            f"{kept} points are safe in the outbox, because {delivery.endpoint} did not take them"
            f" ({delivery.message}); the next run sends them"
        )
    else:
        parts.append(f"{delivery.sent + delivery.kept} points sent to {delivery.endpoint}")
    if delivery.rejected:
        parts.append(f"{delivery.rejected} points refused for good: {delivery.message}")
    if report.rejected_rows_file:
        parts.append(f"bad label rows are kept aside in {report.rejected_rows_file}")
    return "; ".join(parts)


def publish(report: Report, *, message: str, monitoring: str) -> None:
    """Leave a table of the values as an artifact, keyed by the evaluation, so that its runs line up in the UI."""
    if not report.values:
        return
    shown = sorted(report.values, key=whole_first)[:MOST_ROWS]
    labels = ", ".join(f"{count} {status}" for status, count in report.labels.items() if count)
    lines = [
        f"**{report.evaluation}** (model `{report.model}`), ledger version {report.ledger_version}.",
        f"{message}.",
        f"Labels so far: {labels or 'none'}; {report.waiting} wait for their prediction.",
    ]
    if len(shown) < len(report.values):
        lines.append(
            f"The first {len(shown)} of {len(report.values)} values, whole windows first. All of them:"
            f" `otel-ml-metrics evaluate {monitoring} --as-of {at(report.as_of)} --format json`"
        )
    create_table_artifact(
        key=slug(report.evaluation), table=[row(value) for value in shown], description="\n\n".join(lines)
    )


def whole_first(value: Value) -> tuple[int, float, str, str, str, str]:
    """Sort key of the table: values of all rows before slices, new windows before old ones."""
    return (
        len(value.slice),
        -value.window_end.timestamp(),
        value.measure,
        value.maturity,
        value.variant or "",
        str(sorted(value.slice.items())),
    )


def row(value: Value) -> dict[str, object]:
    """Give one value as a row of the table."""
    return {
        "window": f"{at(value.window_start)} to {at(value.window_end)}",
        "maturity": value.maturity,
        "slice": ", ".join(f"{field}={name}" for field, name in value.slice.items()) or "all",
        "version": value.version or "",
        "variant": value.variant or "",
        "measure": value.measure,
        "value": value.value,
        "lower": value.lower,
        "upper": value.upper,
        "unit": value.unit,
        "coverage": value.coverage,
        "support": value.support,
        "stage": value.stage,
    }


def slug(name: str) -> str:
    """Spell a name with what artifact keys allow: lower-case letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def at(instant: datetime) -> str:
    """Write an instant in UTC to the second."""
    return iso(instant.replace(microsecond=0))


def model_of(monitoring: str) -> str:
    """Name the model of a monitoring.yaml; one that cannot be read shows as its path, and its run says why it fails."""
    try:
        return Evaluation.from_file(monitoring).model
    except OtelMLMetricsError:
        return monitoring
