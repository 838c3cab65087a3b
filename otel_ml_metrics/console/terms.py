"""What the commands agree on: exit codes, how a TIME is written, what a missing extra says."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from otel_ml_metrics.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Command = TypeVar("Command", bound="Callable[..., Any] | click.Command")

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class Exit(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    UNEXPECTED = 1
    FIX = 2
    POINTS_KEPT = 3


class Instant(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """An instant as ISO 8601 with its zone, or a date, which means its midnight in UTC."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read the text; click calls this with a value that is converted already, too."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            instant = datetime.fromisoformat(text)
        except ValueError:
            message = f"{text!r} is no time. Write it like 2013-04-09T06:00Z, or 2013-04-09 for midnight UTC."
            self.fail(message, param, ctx)
        if _DATE.fullmatch(text):
            return instant.replace(tzinfo=UTC)
        if instant.tzinfo is None:
            message = f"{text!r} has no time zone, so it names no instant. Write {text}Z for UTC, or {text}+02:00."
            self.fail(message, param, ctx)
        return instant


INSTANT: Final = Instant()

monitoring_argument: Final = click.argument("monitoring", type=click.Path())


def format_option(*, json: str, table: str = "for people", markdown: str | None = None) -> Callable[[Command], Command]:
    """The option `--format`, which a command takes as `form`; the texts say what each form holds."""
    forms = {"table": table, "markdown": markdown, "json": json}
    told = {form: text for form, text in forms.items() if text is not None}
    return click.option(
        "--format",
        "form",
        type=click.Choice(list(told)),
        default="table",
        show_default=True,
        help=" ".join(f"{form}: {text}." for form, text in told.items()),
    )


@contextmanager
def needing(extra: str, purpose: str) -> Iterator[None]:
    """Import what an extra brings in this block; what is missing becomes an error that prints the install line."""
    try:
        yield
    except ModuleNotFoundError as missing:
        name = missing.name or extra
        if name.partition(".")[0] == "otel_ml_metrics":
            raise
        raise MissingExtraError(name, extra, purpose) from missing
