"""Programs with children, threads and tasks, run by the tests as `python -m tests.processes.programs NAME [WORD]`."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import threading
from typing import Final

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.telemetry.exporter import OTLPMLMetricExporter
from tests.processes.served import LOG, Model

ROWS: Final = 100


def work(times: int) -> None:
    """Record with a model of the process's own, and end without a word."""
    model = Model()
    for _ in range(times):
        model.answer("/predict")


def go_on(model: Model, times: int) -> None:
    """Record with a model that was there before."""
    for _ in range(times):
        model.answer("/predict")


def children(method: str) -> None:
    """Record here and in children, which have models of their own."""
    multiprocessing.set_start_method(method)
    processes = [multiprocessing.Process(target=work, args=(each * ROWS,)) for each in (1, 2)]
    for process in processes:
        process.start()
    work(3 * ROWS)
    for process in processes:
        process.join()


def heirs(_: str) -> None:
    """Record here and in forked children, with the model that they inherit: it has exported, and rows wait in it."""
    model = Model()
    go_on(model, 2 * ROWS)
    model.answer("/flush")
    go_on(model, ROWS)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=go_on, args=(model, each * ROWS)) for each in (1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def idle_heir(_: str) -> None:
    """Record here, and in a forked child nothing."""
    model = Model()
    go_on(model, ROWS)
    process = multiprocessing.get_context("fork").Process(target=go_on, args=(model, 0))
    process.start()
    process.join()


def late_provider(_: str) -> None:
    """Make the monitor first, as modules do on import, and then the meter provider that becomes the global one."""
    monitor = ModelMonitor("fraud", log=os.environ[LOG], interval=3600)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMLMetricExporter())]))
    monitor.record(score=0.5)
    monitor.force_flush()  # of its own accord the thread would take the rest along
    for row in range(ROWS - 1):
        monitor.record(score=row / ROWS)


def mixed(_: str) -> None:
    """Record in threads and in the tasks of an event loop at once."""
    model = Model()

    async def tasks() -> None:
        await asyncio.gather(*(asyncio.to_thread(go_on, model, ROWS) for _ in range(4)), *(task() for _ in range(4)))

    async def task() -> None:
        for _ in range(ROWS):
            model.answer("/predict")
            await asyncio.sleep(0)

    threads = [threading.Thread(target=go_on, args=(model, ROWS)) for _ in range(4)]
    for thread in threads:
        thread.start()
    asyncio.run(tasks())
    for thread in threads:
        thread.join()


def fork_amid_export(_: str) -> None:
    """Fork while the receiver keeps an export waiting, and record and export in the child."""
    model = Model()
    model.answer("/predict")
    exporting = threading.Thread(target=model.answer, args=("/flush",), daemon=True)
    exporting.start()
    sys.stdin.readline()  # the test has seen the request
    child = os.fork()
    if child == 0:
        go_on(model, ROWS)
        model.answer("/flush")
        os._exit(0)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2] if len(sys.argv) > 2 else "")
