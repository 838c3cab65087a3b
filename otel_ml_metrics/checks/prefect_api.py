"""Prefect's API: does it answer, does it know us, can ours talk to its version, and does it remember who is at work?"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from otel_ml_metrics.checks.asking import AUTH, KEY, URL, address_of, ask
from otel_ml_metrics.checks.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_ml_metrics.checks.asking import Heard

SUBJECT: Final = "Prefect"
STORAGE: Final = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
_STORAGES: Final = "prefect.server.concurrency.lease_storage"


def look_at_prefect(environ: Mapping[str, str]) -> Iterator[Finding]:
    """See whether flows can be deployed and run; says nothing where neither Prefect nor a setting of it is there.

    Args:
        environ: `PREFECT_API_URL`, and `PREFECT_API_AUTH_STRING` or `PREFECT_API_KEY`.
    """
    ours = _installed()
    address = address_of(environ)
    if not address:
        if ours is not None:
            fix = f"Set {URL}, for `prefect server start` on this machine http://127.0.0.1:4200/api."
            yield Finding(SUBJECT, "warn", "no API is set, so nothing is scheduled", fix)
        return
    health = ask("health", environ)
    if health.is_ok:
        yield _look_at_version(address, ask("admin/version", environ), ours, environ)
        yield from _look_at_leases(ask("admin/settings", environ))
    else:
        yield Finding(SUBJECT, "fail", f"{address} does not answer as Prefect: {health.told}", _reach(address))


def _look_at_version(address: str, heard: Heard, ours: str | None, environ: Mapping[str, str]) -> Finding:
    if heard.status in (401, 403):
        missing = not (environ.get(AUTH) or environ.get(KEY))
        fix = f"Set {AUTH}=user:password." if missing else f"Mend {AUTH if environ.get(AUTH) else KEY}."
        return Finding(SUBJECT, "fail", f"{address} refuses us: {heard.told}", fix)
    theirs = heard.said
    if not heard.is_ok or not isinstance(theirs, str):
        return Finding(SUBJECT, "ok", f"{address} answers; it does not tell its version")
    if ours is None:
        fix = "pip install 'otel-ml-metrics[flows]' where flows are deployed and run."
        return Finding(SUBJECT, "warn", f"{address} answers with version {theirs}; Prefect is not installed here", fix)
    told = f"{address} answers with version {theirs}; {ours} is installed here"
    if _series(theirs, 1) != _series(ours, 1):
        fix = f"Run the same on both sides: a server of version {ours}, or another otel-ml-metrics for that one."
        return Finding(SUBJECT, "fail", told, fix)
    if _series(theirs, 2) < _series(ours, 2):
        return Finding(SUBJECT, "warn", told, f"Take the server to {ours}: one that is older may lack what flows use.")
    return Finding(SUBJECT, "ok", told)


def _look_at_leases(heard: Heard) -> Iterator[Finding]:
    """Warn of a server that forgets, when it stops, which runs hold the place of their deployment."""
    settings = heard.said if heard.is_ok else None
    for name in ("server", "concurrency", "lease_storage"):
        settings = settings.get(name) if isinstance(settings, dict) else None
    if settings == f"{_STORAGES}.memory":
        told = "its server keeps leases in memory: if it stops while a run is at work, all later runs may be cancelled"
        yield Finding("leases", "warn", told, f"Start it with {STORAGE}={_STORAGES}.filesystem.")


def _installed() -> str | None:
    try:
        return version("prefect")
    except PackageNotFoundError:
        return None


def _reach(address: str) -> str:
    if not address.startswith(("http://", "https://")):
        return f"Write {URL} like http://127.0.0.1:4200/api."
    if not urlsplit(address).path.endswith("/api"):
        return f"Write {URL} with /api at its end, such as {address}/api."
    return f"Start the server with `prefect server start`, or mend {URL}."


def _series(text: str, parts: int) -> tuple[int, ...]:
    """The first numbers of a version.

    >>> _series("3.8.8", 2)
    (3, 8)
    """
    found = text.split(".")[:parts]
    return tuple(int(part) if part.isdigit() else 0 for part in found)
