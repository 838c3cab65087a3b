"""Prefect's API: does it answer, does it know us, and is it of a version that ours can talk to?

Prefect itself is not imported: it takes seconds, and whoever only evaluates need not have it.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from otel_ml_metrics.checks.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

URL: Final = "PREFECT_API_URL"
KEY: Final = "PREFECT_API_KEY"
AUTH: Final = "PREFECT_API_AUTH_STRING"
PATIENCE: Final = 5.0
SUBJECT: Final = "Prefect"


@dataclass(frozen=True)
class _Heard:
    """An answer.

    Args:
        status: Of HTTP; 0 where nobody answered.
        text: Of the answer, or why there is none.
    """

    status: int
    text: str


def look_at_prefect(environ: Mapping[str, str]) -> Iterator[Finding]:
    """See whether flows can be deployed and run; says nothing where neither Prefect nor a setting of it is there.

    Args:
        environ: `PREFECT_API_URL`, and `PREFECT_API_AUTH_STRING` or `PREFECT_API_KEY`.
    """
    ours = _installed()
    address = environ.get(URL, "").strip().rstrip("/")
    if not address:
        if ours is not None:
            fix = f"Set {URL}, for `prefect server start` on this machine http://127.0.0.1:4200/api."
            yield Finding(SUBJECT, "warn", "no API is set, so nothing is scheduled", fix)
        return
    if urlsplit(address).scheme not in ("http", "https"):
        yield Finding(SUBJECT, "fail", f"{URL} is {address!r}", "Write it like http://127.0.0.1:4200/api.")
        return
    health = _get(f"{address}/health", environ)
    if health.status != 200:  # noqa: PLR2004 - HTTP's own number
        yield Finding(SUBJECT, "fail", f"{address} does not answer as Prefect: {_told(health)}", _reach(address))
        return
    yield _look_at_version(address, _get(f"{address}/admin/version", environ), ours, environ)


def _look_at_version(address: str, heard: _Heard, ours: str | None, environ: Mapping[str, str]) -> Finding:
    if heard.status in (401, 403):
        missing = not (environ.get(AUTH) or environ.get(KEY))
        fix = f"Set {AUTH}=user:password." if missing else f"Mend {AUTH if environ.get(AUTH) else KEY}."
        return Finding(SUBJECT, "fail", f"{address} refuses us: {_told(heard)}", fix)
    theirs = _version(heard.text)
    if heard.status != 200 or theirs is None:  # noqa: PLR2004 - HTTP's own number
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


def _installed() -> str | None:
    try:
        return version("prefect")
    except PackageNotFoundError:
        return None


def _get(url: str, environ: Mapping[str, str]) -> _Heard:
    request = urllib.request.Request(url, headers=_credentials(environ))  # noqa: S310 - http or https, see above
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - the same
            return _Heard(answer.status, answer.read(10_000).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        with error:
            return _Heard(error.code, str(error.reason))
    except (OSError, ValueError) as error:
        return _Heard(0, str(getattr(error, "reason", error)))


def _credentials(environ: Mapping[str, str]) -> dict[str, str]:
    if auth := environ.get(AUTH):
        return {"Authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"}
    return {"Authorization": f"Bearer {environ[KEY]}"} if environ.get(KEY) else {}


def _told(heard: _Heard) -> str:
    return f"HTTP {heard.status} {heard.text}" if heard.status else heard.text


def _reach(address: str) -> str:
    if not urlsplit(address).path.endswith("/api"):
        return f"Write {URL} with /api at its end, such as {address}/api."
    return f"Start the server with `prefect server start`, or mend {URL}."


def _version(text: str) -> str | None:
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, str) and said[:1].isdigit() else None


def _series(text: str, parts: int) -> tuple[int, ...]:
    """The first numbers of a version.

    >>> _series("3.8.8", 2)
    (3, 8)
    """
    found = text.split(".")[:parts]
    return tuple(int(part) if part.isdigit() else 0 for part in found)
