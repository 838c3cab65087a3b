"""What sources of labels and predictions have in common: a database, a time zone, a share of the rows, a function."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from otel_ml_metrics.declared import refuse, text, with_environment
from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.importable import imported

if TYPE_CHECKING:
    from collections.abc import Callable

_DIALECT: Final = re.compile(r"(\$\{\w+\}|[a-z0-9_]+(\+[a-z0-9_]+)?:/)")
_PASSWORD: Final = re.compile(r"(://[^:@/?]*):.*@")
_OPTIONS: Final = re.compile(r"\?.*")


@dataclass(frozen=True, kw_only=True)
class Queried:
    """Rows of a table or a query of a database, reached by SQLAlchemy.

    Args:
        url: SQLAlchemy URL, such as `postgresql+psycopg://reader:${PASSWORD}@db/shop`. A part `${NAME}` is read from
            the environment whenever the database is opened; no message shows it.
        table: Name of the table or view, with its schema if need be: `shop.outcomes`.
        query: In place of a table, a SELECT; what is read of it is chosen around it, so it needs no WHERE for that.
    """

    url: str = field(repr=False)
    table: str | None = None
    query: str | None = None

    @property
    def shown(self) -> str:
        """As messages name the rows."""
        return f"table {self.table}" if self.table is not None else "query"

    @property
    def shown_url(self) -> str:
        """The URL as it was written, without a password or options."""
        return without_password(self.url)


def without_password(url: str) -> str:
    """A URL, or a text that may be one, without the password and options.

    >>> without_password("postgresql://reader:secret@db/shop?sslpassword=other")
    'postgresql://reader:***@db/shop?***'
    """
    return _OPTIONS.sub("?***", _PASSWORD.sub(r"\1:***@", url)) if "://" in url else url


def check_queried(where: str, found: Queried) -> None:
    """See that a database can be what is meant; it is not opened."""
    if not _DIALECT.match(str(found.url)):
        message = (
            "this is no SQLAlchemy URL. Write one such as postgresql+psycopg://reader:${PASSWORD}@host/name, or"
            " sqlite:///outcomes.db."
        )
        raise ConfigurationError(message, f"{where}.url")
    with_environment(f"{where}.url", found.url)
    if (found.table is None) == (found.query is None):
        given = "both" if found.table is not None else "neither"
        message = f"found {given} of table: and query:, expected one of them beside url:."
        raise ConfigurationError(message, f"{where}.query" if given == "both" else where)
    text(f"{where}.table" if found.query is None else f"{where}.query", found.table or found.query)


def zone(where: str, found: str | None) -> None:
    """See that a time zone exists."""
    if found is None:
        return
    try:
        ZoneInfo(text(where, found))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = get_close_matches(found, available_timezones(), n=1)
        message = (
            f"{found!r} is no time zone. Write one of IANA's names, such as {(near or ['Europe/Berlin'])[0]} or UTC."
        )
        raise ConfigurationError(message, where) from error


def share(where: str, found: object) -> float:
    """A share of the rows."""
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 < found <= 1:
        refuse(where, found, "a share above 0 and at most 1, such as 0.1")
    return float(found)


def function(where: str, found: str) -> Callable[..., Any]:
    """A function by its name, `package.module:name`."""
    if ":" not in text(where, found):
        refuse(where, found, "package.module:name, a colon before the name of the function")
    try:
        named: Any = imported(found)
    except ConfigurationError as error:
        raise ConfigurationError(error.message, where) from error.__cause__
    if not callable(named):
        refuse(where, found, f"a function under that name, not a value of type {type(named).__name__}")
    return named  # type: ignore[no-any-return]  # whatever a user's module has there
