"""Serve all flows of one evaluation from one process, for one machine; work pools are in `prefect.yaml`.

    python -m otel_ml_metrics.flows.serve monitoring.yaml

Makes a deployment of each flow, named after the evaluation, and runs what is scheduled until it is told to stop.
Schedules stay when it stops: what came due meanwhile is late, and the first run takes it all.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.schedules import Cron
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType

from otel_ml_metrics.checks.asking import AUTH, KEY, URL
from otel_ml_metrics.checks.endpoint import look_at_endpoint
from otel_ml_metrics.checks.prefect_api import SUBJECT as PREFECT
from otel_ml_metrics.checks.prefect_api import look_at_prefect
from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.errors import OtelMLMetricsError
from otel_ml_metrics.instants import Duration

from .backfill import backfill
from .evaluate_labels import evaluate_labels
from .keep_alive import keep_alive
from .maintain_log import maintain_log
from .telling import slug
from .watch_coverage import watch_coverage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect import Flow
    from prefect.deployments.runner import RunnerDeployment

    from otel_ml_metrics.checks.findings import Finding

AT_ONCE: Final = 2
"""Runs at the same time: an evaluation, and one of the small ones beside it."""

ONE_AT_A_TIME: Final = ConcurrencyLimitConfig(
    limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW, grace_period_seconds=120
)


class Served(NamedTuple):
    """A flow that is served.

    Args:
        flow: What runs.
        cron: When, in UTC; None where only somebody starts it.
        takes_every: Whether it compares where the ledger stands with the interval of the evaluations.
    """

    flow: Flow[..., Any]
    cron: str | None
    takes_every: bool = False


SERVED: Final = (
    Served(evaluate_labels, "7 * * * *", takes_every=True),
    Served(watch_coverage, "37 * * * *", takes_every=True),
    Served(keep_alive, "*/3 * * * *"),
    Served(maintain_log, "17 3 * * *"),
    Served(backfill, None),
)

EVERY: Final = "1h"
"""Interval of the evaluations by the schedule above."""


def deployments(monitoring: str, *, crons: dict[str, str], every: str | None) -> list[RunnerDeployment]:
    """Make a deployment of each flow, named after the evaluation.

    Args:
        monitoring: Path of monitoring.yaml.
        crons: Schedule by name of the flow, where it is not to be the usual one.
        every: Interval of the evaluations; None reports no gaps.

    Raises:
        ConfigurationError: monitoring.yaml cannot be used.
    """
    name = slug(Evaluation.from_file(monitoring).name)
    given = {"monitoring": str(Path(monitoring).resolve())}
    made = []
    for served in SERVED:
        cron = crons.get(served.flow.name, served.cron)
        deployment = served.flow.to_deployment(
            name=name,
            schedules=[Cron(cron, timezone="UTC", slug="regular")] if cron else [],
            parameters=given | ({"every": every} if served.takes_every else {}),
            concurrency_limit=ONE_AT_A_TIME,
            entrypoint_type=EntrypointType.MODULE_PATH,  # by path, a flow could not import its neighbours
        )
        made.append(cast("RunnerDeployment", deployment))  # a coroutine in async code only
    return made


def main(arguments: Sequence[str]) -> int:
    """Serve until told to stop; 2 where a setting has to be fixed first."""
    given = vars(_parser().parse_args(arguments))
    crons = {served.flow.name: given[served.flow.name] for served in SERVED if given.get(served.flow.name)}
    every = given["every"] or (None if evaluate_labels.name in crons else EVERY)
    try:
        made = deployments(given["monitoring"], crons=crons, every=every)
        found = troubles(Evaluation.from_file(given["monitoring"]))
    except OtelMLMetricsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for each in found:
        sys.stderr.write(f"{each.subject}: {each.told}. {each.fix}\n")
    if any(each.subject == PREFECT for each in found):  # points that the endpoint does not take wait in the ledger
        return 2
    serve(*made, limit=AT_ONCE, pause_on_shutdown=False)
    return 0


def troubles(evaluation: Evaluation) -> list[Finding]:
    """What is wrong with Prefect's API and with the endpoint, each with what to change.

    Raises:
        EndpointError: A setting of the endpoint cannot be used as it is written.
    """
    found = (*look_at_prefect(_settings()), *look_at_endpoint(evaluation, os.environ))
    return [each for each in found if each.verdict == "fail"]


def _settings() -> dict[str, str]:
    """How Prefect's API is reached, be it set in the environment or in a profile.

    Empty where it takes more than plain HTTP to reach it, which Prefect does and our question does not.
    """
    api, client = get_current_settings().api, get_current_settings().client
    own_authority = api.ssl_cert_file not in {None, os.environ.get("SSL_CERT_FILE")}
    if own_authority or api.tls_insecure_skip_verify or client.custom_headers:
        return {}
    secrets = {AUTH: api.auth_string, KEY: api.key}
    found = {name: secret.get_secret_value() for name, secret in secrets.items() if secret is not None}
    return found | ({URL: api.url} if api.url else {})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m otel_ml_metrics.flows.serve",
        description="Serve all flows of one evaluation from one process. Schedules are crons in UTC.",
    )
    parser.add_argument("monitoring", help="path of monitoring.yaml")
    parser.add_argument(
        "--every",
        type=_interval,
        help=f"interval of the evaluations, whose gaps are reported; {EVERY} with the usual schedule",
    )
    for served in SERVED:
        if served.cron:
            told = f"when to run {served.flow.name} (default: {served.cron.replace('%', '%%')!r})"
            parser.add_argument(f"--{served.flow.name}", dest=served.flow.name, metavar="CRON", type=_cron, help=told)
    return parser


def _cron(text: str) -> str:
    try:
        Cron(text)
    except ValueError:
        message = f"{text!r} is no cron. Write minute, hour, day, month and weekday, such as '7 * * * *', in quotes."
        raise argparse.ArgumentTypeError(message) from None
    return text


def _interval(text: str) -> str:
    try:
        return str(Duration(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
