"""The schedule: does a deployment evaluate these settings, does it run by itself, and is somebody there to run it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.checks.asking import address_of, ask
from otel_ml_metrics.checks.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SUBJECT: Final = "schedule"
EVALUATING: Final = ("evaluate-labels", "evaluate-all")
"""Names of the flows that evaluate."""

_ASKED: Final = {"flows": {"name": {"any_": list(EVALUATING)}}, "limit": 200}


def look_at_schedule(monitoring: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """See whether the evaluation runs by itself; says nothing where Prefect's API does not answer.

    Args:
        monitoring: Path of monitoring.yaml; deployments name it as their workers see it.
        environ: Settings of Prefect.
    """
    heard = ask("deployments/filter", environ, content=_ASKED) if address_of(environ) else None
    if heard is None or not heard.is_ok or not isinstance(heard.said, list):
        return
    deployments: list[dict[str, Any]] = heard.said
    here = [each for each in deployments if str(monitoring.resolve()) in _evaluated(each)]
    if not here:
        elsewhere = sorted({path for each in deployments for path in _evaluated(each)})
        others = f"; those that are there evaluate {', '.join(elsewhere)}" if elsewhere else ""
        fix = (
            f"Run `python -m otel_ml_metrics.flows.serve {monitoring}`, or `prefect deploy --all` beside prefect.yaml."
        )
        yield Finding(SUBJECT, "warn", f"no deployment evaluates {monitoring.resolve()}{others}", fix)
        return
    best = min((_look_at(each) for each in here), key=lambda finding: finding.verdict != "ok")
    yield best


def _evaluated(deployment: Mapping[str, Any]) -> list[str]:
    """The settings that a deployment evaluates."""
    found = (deployment.get("parameters") or {}).get("monitoring")
    return [str(each) for each in (found if isinstance(found, list) else [found]) if each]


def _look_at(deployment: Mapping[str, Any]) -> Finding:
    name, pool = deployment.get("name"), deployment.get("work_pool_name")
    active = [each for each in deployment.get("schedules") or [] if each.get("active")]
    if deployment.get("paused") or not active:
        return Finding(SUBJECT, "warn", f"the deployment {name} has no active schedule", "Resume it, or give it one.")
    if deployment.get("status") != "READY":
        start = f"prefect worker start --pool {pool}" if pool else "python -m otel_ml_metrics.flows.serve"
        return Finding(SUBJECT, "warn", f"nobody is there to run the deployment {name}", f"Start one: {start}.")
    return Finding(SUBJECT, "ok", f"the deployment {name} is scheduled, and somebody is there to run it")
