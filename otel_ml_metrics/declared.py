"""What monitoring.yaml may say, value by value: checked, or refused with what was found and what was expected."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from otel_ml_metrics.columns import SET_BAR
from otel_ml_metrics.errors import ConfigurationError, suggest
from otel_ml_metrics.instants import Duration
from otel_ml_metrics.measures import multiclass, multilabel
from otel_ml_metrics.measures.quantile_forecasts import LEVELS_AT_MOST
from otel_ml_metrics.semconv import RESERVED_FIELDS
from otel_ml_metrics.storage.locations import checked_location

_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_PASSWORD: Final = re.compile(r"(?<=:)[^:/@]+(?=@)")
_OF_LABELS: Final = frozenset(
    {"entity", "file_row_number", "filename", "label", "occurred_us", "received_us", "revision"}
)
TOP_SLICES: Final = 1_000
"""Slices of one field, or of fields that are crossed, that are told apart in a window unless more are asked for."""

MOST_SLICES: Final = 10_000
"""As many as can be asked for, and as the ledger tells apart."""

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class HoldBack:
    """How labels may wait for company of the same date.

    Args:
        below: A date with so many new labels is evaluated at once.
        at_most: How long a label waits.
    """

    below: int
    at_most: Duration


def check_names(where: str, found: Mapping[str, Any], allowed: set[str]) -> None:
    """Refuse a name that is not known, and offer those that are."""
    for name in found:
        if name not in allowed:
            message = f"{name!r} is not known here. {suggest(name, allowed)}"
            raise ConfigurationError(message, f"{where}.{name}" if where else name)


def refuse(where: str, found: object, expected: str) -> NoReturn:
    """Say what was found and what was expected."""
    message = f"found {found!r}, expected {expected}."
    raise ConfigurationError(message, where)


def text(where: str, found: object) -> str:
    """A text that is not empty."""
    if not isinstance(found, str) or not found.strip():
        refuse(where, found, "a text that is not empty")
    return found


def path(where: str, found: object) -> str:
    """A path as text, or a URL of an object store."""
    if isinstance(found, os.PathLike):
        found = os.fspath(found)
    return checked_location(where, text(where, found))


def choice(where: str, found: object, choices: Sequence[str]) -> str:
    """One of a few texts."""
    if not isinstance(found, str) or found not in choices:
        hint = suggest(found, choices) if isinstance(found, str) else ""
        refuse(where, found, f"one of {', '.join(choices)}; {hint}".rstrip("; ."))
    return found


def switch(where: str, found: object) -> bool:
    """True or false."""
    if not isinstance(found, bool):
        refuse(where, found, "true or false")
    return found


def number(where: str, found: object) -> float:
    """A number; true and false are none."""
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        refuse(where, found, "a number")
    return found


def whole(where: str, found: object, *, least: int, most: int) -> int:
    """A whole number in a range."""
    if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
        refuse(where, found, f"a whole number from {least:,} to {most:,}")
    return found


def items(where: str, found: object) -> Sequence[Any]:
    """A list; a text is none."""
    if isinstance(found, (str, Mapping)) or not isinstance(found, Sequence):
        refuse(where, found, "a list")
    return found


def duration(where: str, found: object) -> Duration:
    """A duration with its unit."""
    if not isinstance(found, (str, timedelta)):
        refuse(where, found, "a duration with its unit, such as 6h or 1d")
    try:
        return Duration(found)
    except ValueError as error:
        raise ConfigurationError(str(error), where) from error


def window_offset(found: object, window: Duration) -> timedelta:
    """The shift of the windows; none by default."""
    if found in (None, "0", "0s", 0) or found == timedelta():
        return timedelta()
    offset = duration("window_offset", found)
    if offset >= window:
        refuse("window_offset", str(offset), f"less than the window, {window}")
    return timedelta(seconds=offset.seconds_whole)


def classes(found: object, task: str) -> tuple[str, ...]:
    """The classes of a multiclass or multilabel task, in the order of its scores; none of any other."""
    most = {"multiclass": multiclass.CLASSES_AT_MOST, "multilabel": multilabel.CLASSES_AT_MOST}.get(task)
    if found is None and most is None:
        return ()
    if most is None:
        refuse("classes", found, f"none, since a {task} task has no list of classes")
    if found is None:
        refuse("classes", found, "the list of the classes, in the order of the scores")
    named = tuple(text(f"classes[{at}]", each) for at, each in enumerate(items("classes", found)))
    if not 1 < len(set(named)) == len(named) <= most:
        refuse("classes", list(named), f"2 to {most} different classes")
    for at, each in enumerate(named):
        if task == "multilabel" and (SET_BAR in each or each != each.strip()):
            refuse(
                f"classes[{at}]", each, f"a name without {SET_BAR}, which parts the names in a set, and no blank ends"
            )
    return named


def quantiles(found: object, task: str) -> tuple[float, ...]:
    """The levels of a quantile task, in the order of its scores; none of any other."""
    if task != "quantile":
        if found is not None:
            refuse("quantiles", found, f"none, since a {task} task predicts no quantiles")
        return ()
    if found is None:
        refuse("quantiles", found, "the list of the predicted levels, in the order of the scores, such as [0.1, 0.9]")
    levels = tuple(number(f"quantiles[{at}]", each) for at, each in enumerate(items("quantiles", found)))
    rises = all(low < high for low, high in pairwise((0.0, *levels, 1.0)))
    if not rises or not 1 < len(levels) <= LEVELS_AT_MOST:
        refuse("quantiles", list(levels), f"2 to {LEVELS_AT_MOST} rising numbers above 0 and below 1")
    return tuple(map(float, levels))


def query(found: object, task: str) -> str | None:
    """The field that says which query a row of a ranking task is of; none of any other."""
    if task != "ranking":
        if found is not None:
            refuse("query", found, f"none, since a {task} task has no queries")
        return None
    if not isinstance(found, str) or not _FIELD.fullmatch(found) or found in RESERVED_FIELDS:
        refuse("query", found, "the declared field that says which query a row is of, such as search_id")
    return found


def grace(found: object, task: str) -> Duration | None:
    """The grace of implicit negatives; None where silence means nothing."""
    if found is None:
        return None
    if not isinstance(found, Mapping):
        refuse("implicit_negative", found, "a mapping such as {grace: 1d}")
    check_names("implicit_negative", found, {"grace"})
    if task != "binary":
        refuse("implicit_negative", task, "a binary task, since only there silence can mean no")
    if "grace" not in found:
        refuse("implicit_negative", dict(found), "a mapping such as {grace: 1d}")
    return duration("implicit_negative.grace", found["grace"])


def hold_back(found: object) -> HoldBack | None:
    """How sparse dates wait; None where every label is taken at once."""
    if found is None:
        return None
    expected = "a mapping such as {below: 1000, at_most: 1d}"
    if not isinstance(found, Mapping):
        refuse("hold_back", found, expected)
    check_names("hold_back", found, {"below", "at_most"})
    below = found.get("below")
    if isinstance(below, bool) or not isinstance(below, int) or below < 1:
        refuse("hold_back.below", below, f"a number of labels, from 1 on, in {expected}")
    return HoldBack(below, duration("hold_back.at_most", found.get("at_most", "1d")))


def maturities(found: object, attribution: Duration, grace: Duration | None) -> tuple[Duration, ...]:
    """The maturities, ascending; the attribution window is always among them, and the grace comes after it."""
    ages = {attribution.seconds_whole: attribution}
    for at, item in enumerate(items("maturities", found)):
        age = duration(f"maturities[{at}]", item)
        if age > attribution:
            refuse(f"maturities[{at}]", str(age), f"at most the attribution window, {attribution}")
        ages[age.seconds_whole] = age
    if grace is not None:
        last = Duration(timedelta(seconds=attribution.seconds_whole + grace.seconds_whole))
        ages[last.seconds_whole] = last
    return tuple(ages[seconds] for seconds in sorted(ages))


def slices(found: object) -> dict[tuple[str, ...], int]:
    """Fields, and lists of fields to cross, each once; and how many slices of each are told apart in a window."""
    crossed: dict[tuple[str, ...], int] = {}
    for at, item in enumerate(items("slices", found)):
        where = f"slices[{at}]"
        fields, top = _with_top(where, item) if isinstance(item, Mapping) else (item, TOP_SLICES)
        names = [fields] if isinstance(fields, str) else list(items(where, fields))
        for name in names:
            _check_slice_field(where, name)
        if not names or len(set(names)) < len(names):
            refuse(where, item, "a field, or a list of different fields")
        if crossed.setdefault(tuple(sorted(names)), top) != top:
            refuse(where, item, f"one top for {', '.join(names)}: it is there before with another one")
    return crossed


def _with_top(where: str, found: Mapping[Any, Any]) -> tuple[object, int]:
    """What a mapping says: one field or several to cross, and their top."""
    check_names(where, found, {"field", "fields", "top"})
    if len(found.keys() & {"field", "fields"}) != 1:
        refuse(
            where, dict(found), "a mapping such as {field: merchant, top: 50} or {fields: [carrier, origin], top: 50}"
        )
    if "field" in found and not isinstance(found["field"], str):
        refuse(f"{where}.field", found["field"], "the name of one field; several stand under fields:")
    top = whole(f"{where}.top", found.get("top", TOP_SLICES), least=1, most=MOST_SLICES)
    return found.get("field", found.get("fields")), top


def _check_slice_field(where: str, name: object) -> None:
    if not isinstance(name, str) or not _FIELD.fullmatch(name):
        refuse(where, name, "the name of a field: letters, digits and _, a letter first")
    if name in _OF_LABELS:
        message = f"{name!r} is the name of a column that labels have here. Log the field under another name."
        raise ConfigurationError(message, where)
    if name in RESERVED_FIELDS:
        message = f"{name!r} is a name of our own and no slice; version and variant split values under by:."
        raise ConfigurationError(message, where)


def with_environment(where: str, found: str) -> str:
    """A text whose parts `${NAME}` are read from the environment."""

    def fill(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            message = f"the environment variable {match[1]} is not set. Set it; a secret does not belong in this file."
            raise ConfigurationError(message, where)
        return os.environ[match[1]]

    return _VARIABLE.sub(fill, found)


def web_address(where: str, found: object) -> str | None:
    """An http(s) URL that people open; None where there is none. `${NAME}` is read from the environment."""
    if found is None:
        return None
    url = with_environment(where, text(where, found))
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or any(mark in url for mark in ' \t\n"<>()'):
        refuse(where, found, "a URL to open, such as https://grafana.example.com/d/flight-delay")
    return url


def ledger_url(found: object) -> str:
    """The URL of the ledger; `${NAME}` is read from the environment."""
    url = with_environment("ledger", text("ledger", found))
    if not url.startswith(("sqlite:///", "postgresql")) or url.endswith((":///", ":memory:")):
        hidden = _PASSWORD.sub("***", str(found))
        refuse("ledger", hidden, "a URL such as sqlite:///data/ledger.db or postgresql+psycopg://user@host/name")
    return url
