"""What monitoring.yaml may say about labels: where they are, what their columns are, and whose labels they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from otel_ml_metrics.declared import check_names, choice, duration, items, path, refuse, text
from otel_ml_metrics.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import timedelta

    from otel_ml_metrics.instants import Duration

TAKES: Final = ("last", "all")
AGGREGATES: Final = ("last", "any", "sum")
_EXAMPLE: Final = "a mapping such as {path: labels/*.parquet, label: late, received_at: landed_at}"


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What the columns of labels are, and which prediction a label is of.

    A label names its prediction by `id`. Or it names an entity by `key`, and an instant at which something happened to
    it: then it is the label of the last prediction about that entity before that instant, or of all of them.

    Args:
        id: Column of the prediction's id.
        label: Column of the ground truth.
        received_at: Column of the instant at which the label reached us.
        revision: Column of a whole number that orders labels received at the same instant.
        zone: IANA zone of instants that name none, such as `UTC`; without it they are refused.
        key: In place of `id`, the columns that name the entity, and the logged field of each; a text or a list means
            that both have the same name.
        occurred_at: With `key`: column of the instant of the outcome; default: `received_at`.
        within: With `key`: how long before the outcome a prediction may lie; default: the attribution window.
        take: With `key`: `last`, the last prediction before the outcome, or `all` of them.
        aggregate: What several labels of one prediction say together: the `last` one counts and the others were
            revised; or whether `any` was true; or their `sum`.
    """

    id: str = "prediction_id"
    label: str = "label"
    received_at: str = "received_at"
    revision: str | None = None
    zone: str | None = None
    key: str | Sequence[str] | Mapping[str, str] | None = None
    occurred_at: str | None = None
    within: str | timedelta | None = None
    take: str = "last"
    aggregate: str = "last"

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Column of the labels and field of the log for each part of the entity's name; none where ids join."""
        if self.key is None:
            return ()
        if isinstance(self.key, Mapping):
            return tuple(self.key.items())
        return tuple((name, name) for name in ([self.key] if isinstance(self.key, str) else self.key))

    @property
    def window(self) -> Duration | None:
        """`within`, if it was declared."""
        return None if self.within is None else duration("labels.within", self.within)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        named = [name for name, _ in self.keys] or [self.id]
        others = [self.occurred_at, self.revision]
        return (*named, self.label, self.received_at, *(name for name in others if name is not None))


@dataclass(frozen=True, kw_only=True)
class LabelFiles(Labels):
    """A folder of Parquet or CSV files that grows by new files.

    Args:
        path: A file, a folder or a pattern, or a URL of one in an object store; CSV if it ends in .csv or .csv.gz, else
            Parquet.
    """

    path: str


def labels(found: object, task: str) -> LabelFiles:
    """Where labels are."""
    if isinstance(found, LabelFiles):
        return _checked(replace(found, path=path("labels.path", found.path)), task)
    if not isinstance(found, Mapping):
        refuse("labels", found, _EXAMPLE)
    check_names("labels", found, {each.name for each in fields(LabelFiles)})
    if "path" not in found:
        refuse("labels", dict(found), "a path: of files with labels")
    given = {name: value for name, value in found.items() if value is not None}
    texts = {name: path(f"labels.{name}", value) for name, value in given.items() if name not in {"key", "within"}}
    return _checked(LabelFiles(**given | texts), task)


def _checked(found: LabelFiles, task: str) -> LabelFiles:
    _check_zone(found.zone)
    choice("labels.take", found.take, TAKES)
    choice("labels.aggregate", found.aggregate, AGGREGATES)
    fitting = {"any": "binary", "sum": "regression"}.get(found.aggregate, task)
    if task != fitting:
        refuse("labels.aggregate", found.aggregate, f"last for a {task} task; {found.aggregate} is for {fitting} ones")
    _check_key(found)
    return found


def _check_key(found: LabelFiles) -> None:
    if found.key is None:
        for name, value in (("occurred_at", found.occurred_at), ("within", found.within)):
            if value is not None:
                refuse(f"labels.{name}", value, "a key: beside it; with an id: the prediction is known")
        return
    if not isinstance(found.key, (str, Mapping)):
        items("labels.key", found.key)
    parts: list[Any] = [part for pair in found.keys for part in pair]
    if not parts or not all(isinstance(part, str) and part for part in parts):
        refuse("labels.key", found.key, "a column, a list of columns, or a mapping of columns to logged fields")
    if found.id != "prediction_id":
        refuse("labels.id", found.id, "either an id: or a key:, not both")
    if found.within is not None:
        duration("labels.within", found.within)


def _check_zone(found: str | None) -> None:
    if found is None:
        return
    try:
        ZoneInfo(text("labels.zone", found))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = get_close_matches(found, available_timezones(), n=1)
        message = (
            f"{found!r} is no time zone. Write one of IANA's names, such as {(near or ['Europe/Berlin'])[0]} or UTC."
        )
        raise ConfigurationError(message, "labels.zone") from error
