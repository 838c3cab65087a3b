"""One question to Prefect's API, by plain HTTP: Prefect itself takes seconds to import, and need not be installed."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

URL: Final = "PREFECT_API_URL"
KEY: Final = "PREFECT_API_KEY"
AUTH: Final = "PREFECT_API_AUTH_STRING"

_OK: Final = 200
_PATIENCE: Final = 5.0
_LONGEST: Final = 10_000_000


@dataclass(frozen=True)
class Heard:
    """An answer.

    Args:
        status: Of HTTP; 0 where nobody answered.
        text: Of the answer, or why there is none.
    """

    status: int
    text: str

    @property
    def is_ok(self) -> bool:
        """Whether the question was answered."""
        return self.status == _OK

    @property
    def said(self) -> Any:  # noqa: ANN401 - whatever JSON says
        """The content of the answer; None where it is no JSON."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    @property
    def told(self) -> str:
        """For messages."""
        return f"HTTP {self.status} {self.text}" if self.status else self.text


def address_of(environ: Mapping[str, str]) -> str:
    """Where the API is; empty where none is set."""
    return environ.get(URL, "").strip().rstrip("/")


def ask(path: str, environ: Mapping[str, str], *, content: object = None) -> Heard:
    """Ask the API that the environment names.

    Args:
        path: Behind its address.
        environ: `PREFECT_API_URL`, and `PREFECT_API_AUTH_STRING` or `PREFECT_API_KEY`.
        content: To post; None for a plain GET.
    """
    address = address_of(environ)
    if not address.startswith(("http://", "https://")):
        return Heard(0, f"{address!r} is no address of HTTP")
    body = None if content is None else json.dumps(content).encode()
    headers = {"Content-Type": "application/json"} | _credentials(environ)
    try:
        request = urllib.request.Request(f"{address}/{path}", data=body, headers=headers)  # noqa: S310 - it is http
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310 - the same
            return Heard(answer.status, answer.read(_LONGEST).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        with error:
            return Heard(error.code, str(error.reason))
    except (OSError, ValueError) as error:
        return Heard(0, str(getattr(error, "reason", error)))


def _credentials(environ: Mapping[str, str]) -> dict[str, str]:
    if auth := environ.get(AUTH):
        return {"Authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"}
    return {"Authorization": f"Bearer {environ[KEY]}"} if environ.get(KEY) else {}
