"""The deployments in a prefect.yaml: can their schedules be read, are their flows there, are their variables set?"""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from otel_ml_metrics.checks.cron import trouble_of
from otel_ml_metrics.checks.findings import Finding
from otel_ml_metrics.yaml_source import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from otel_ml_metrics.yaml_source import YamlSource

_VARIABLE: Final = re.compile(r"\{\{\s*\$(\w+)\s*\}\}")


def look_at_deployments(path: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """See whether the deployments of a prefect.yaml can work; says nothing where there is no such file.

    Args:
        path: Of prefect.yaml.
        environ: Of whoever deploys.

    Yields:
        What is wrong, each with its line; or one finding that nothing is.

    Raises:
        ConfigurationError: It is no YAML.
    """
    if not path.exists():
        return
    source = read_yaml(path)
    deployments = source.content.get("deployments") if isinstance(source.content, dict) else None
    if not isinstance(deployments, list) or not all(isinstance(each, dict) for each in deployments):
        yield Finding("deployments", "fail", f"{path} has no list deployments:", "Write one, or remove the file.")
        return
    wrong = [finding for at, each in enumerate(deployments) for finding in _look_at(source, at, each)]
    yield from wrong
    unset = sorted({name for name in _VARIABLE.findall(str(deployments)) if not environ.get(name)})
    if unset:
        fix = f"Set {' and '.join(unset)} where `prefect deploy` runs."
        yield Finding("deployments", "warn", f"{path} takes {', '.join(unset)} from the environment: not set here", fix)
    elif not wrong:
        names = ", ".join(str(each.get("name")) for each in deployments)
        yield Finding("deployments", "ok", f"{path}: {names}")


def _look_at(source: YamlSource, at: int, deployment: dict[str, Any]) -> Iterator[Finding]:
    """See what is wrong with one deployment."""

    def wrong(where: str, told: str, fix: str) -> Finding:
        place = f"{source.path}:{source.line_of(where)}: {deployment.get('name', where)}"
        return Finding("deployments", "fail", f"{place}: {told}", fix)

    single = deployment.get("schedule")
    several = deployment.get("schedules")
    schedules: dict[str, Any] = {f"deployments[{at}].schedule": single} if single else {}
    if isinstance(several, list):
        schedules |= {f"deployments[{at}].schedules[{place}]": each for place, each in enumerate(several)}
    for where, schedule in schedules.items():
        for told, fix in _troubles(schedule if isinstance(schedule, dict) else {}):
            yield wrong(where, told, fix)
    entrypoint = str(deployment.get("entrypoint", ""))
    if ":" not in entrypoint and not _is_there(entrypoint):
        yield wrong(
            f"deployments[{at}].entrypoint",
            f"there is no flow {entrypoint!r}",
            "Install what has it: pip install 'otel-ml-metrics[flows]'; or mend entrypoint.",
        )


def _troubles(schedule: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    cron, zone = schedule.get("cron"), schedule.get("timezone")
    if cron is not None and (trouble := trouble_of(str(cron))):
        yield f"{str(cron)!r} is no cron: {trouble}", "Mend cron, in quotes if it starts with *."
    if zone is not None and not _is_zone(str(zone)):
        yield f"{zone!r} is no time zone", "Write one of IANA's names, such as Europe/Berlin, or UTC."


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _is_there(entrypoint: str) -> bool:
    """Whether the module of an entrypoint by module path can be found; it is not imported, its packages are."""
    module = entrypoint.rpartition(".")[0]
    try:
        return bool(module) and find_spec(module) is not None
    except (ImportError, ValueError):
        return False
