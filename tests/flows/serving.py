"""A real Prefect server beside a test, and what is asked of its deployments."""

from __future__ import annotations

import os
import socket
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prefect.events.worker import EventsWorker
from prefect.exceptions import ObjectNotFound
from prefect.settings import temporary_settings

from tests.patience import eventually
from tests.programs import CHECKOUT, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.settings.legacy import Setting

PREFECT: Final = str(Path(sys.executable).with_name("prefect"))
DEADLINE: Final = 90.0
POLL: Final = 0.2
PATIENCE: Final = 10.0
"""Seconds in which events that wait can still be sent."""
SERVED: Final = "evaluate-labels/flight-delay-api-flight-delay"


@contextmanager
def led_to(settings: Mapping[Setting, str]) -> Iterator[None]:
    """Lead this process to a server, and its events too: their worker keeps to the server that it was made for.

    Left alone it would go on sending to one that is gone, and whoever waits for later events would wait for ever.
    """
    with temporary_settings(settings):
        EventsWorker.drain_all(timeout=PATIENCE, at_exit=False)
        try:
            yield
        finally:
            EventsWorker.drain_all(timeout=PATIENCE, at_exit=False)


def server_environment(home: Path, **settings: str) -> dict[str, str]:
    """The environment of a Prefect server with a home and a free port of its own, and of those who talk to it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return inherited | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        **settings,
    }


@contextmanager
def running_prefect(environ: Mapping[str, str]) -> Iterator[int]:
    """Run `prefect server` until the block ends; gives its process id once it answers."""
    log = Path(environ["PREFECT_HOME"]) / "server.log"
    with running([PREFECT, "server", "start", "--host", "127.0.0.1"], environ=environ, log=log) as process:

        def healthy() -> bool | None:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            try:
                with urllib.request.urlopen(f"{environ['PREFECT_API_URL']}/health", timeout=5) as answer:  # noqa: S310 - http, our own
                    return bool(answer.status == 200)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return None

        eventually(healthy, within=DEADLINE, poll=POLL)
        yield process.pid


def deployment_of(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    """Find a deployment, None while there is none."""
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None
