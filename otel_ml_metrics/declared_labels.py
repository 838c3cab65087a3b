"""What monitoring.yaml may say about labels: where they are, what their columns are, and whose labels they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.declared import check_names, choice, duration, items, path, refuse
from otel_ml_metrics.declared_sources import Queried, check_queried, function, without_password, zone

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from otel_ml_metrics.instants import Duration

    LabelsReceived = Callable[[datetime | None, datetime], object]

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


@dataclass(frozen=True, kw_only=True)
class LabelTable(Labels, Queried):
    """A table or query of a database, read by `received_at`: only rows received since the last run.

    A row without `received_at` has not been received. One that is committed later than it says it was received is
    missed: give runs an `as_of` that lies that long in the past. It is found, and told, when it lies within the
    attribution window, as are rows that were changed or deleted; a backfill repairs what they did.
    """


@dataclass(frozen=True)
class LabelFunction(Labels):
    """A Python function that gives labels.

    Args:
        function: Called with two aware datetimes, `(after, until)`, the first of which is None at first: gives every
            label received later than `after` and not later than `until`, as something tabular (an Arrow, pandas or
            Polars table, a mapping of columns, a list of mappings), or an iterable of such. Where nothing came, an
            empty one or None. As text, `package.module:name`.
    """

    function: LabelsReceived | str

    @property
    def call(self) -> LabelsReceived:
        """The function itself."""
        return function("labels.function", self.function) if isinstance(self.function, str) else self.function

    @property
    def shown(self) -> str:
        """As messages name it."""
        if isinstance(self.function, str):
            return f"function {self.function}"
        named = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return f"function {getattr(self.function, '__module__', None) or '__main__'}:{named}"


@dataclass(frozen=True)
class LabelsFrom(Labels):
    """Labels from a source of the user's own.

    Args:
        source: Says what there is to read; see `otel_ml_metrics.attribution.inputs.LabelSource`.
    """

    source: Any


_KINDS: Final[Mapping[str, type[Labels]]] = {
    "path": LabelFiles,
    "url": LabelTable,
    "function": LabelFunction,
    "source": LabelsFrom,
}


def labels(found: object, task: str) -> Labels:
    """Where labels are."""
    declared = _declared(found)
    _check_source(declared)
    _check_columns(declared, task)
    return declared


def _declared(found: object) -> Labels:
    if isinstance(found, Labels) and type(found) is not Labels:
        return replace(found)
    if hasattr(found, "survey") and hasattr(found, "again"):
        return LabelsFrom(found)
    if callable(found):
        return LabelFunction(found)
    if not isinstance(found, Mapping):
        refuse("labels", without_password(found) if isinstance(found, str) else found, _EXAMPLE)
    given = {name: value for name, value in found.items() if value is not None}
    kinds = [name for name in _KINDS if name in given]
    if len(kinds) != 1:
        everything = {each.name for kind in _KINDS.values() for each in fields(kind)}
        check_names("labels", found, everything)
        refuse("labels", sorted(found), "one of path: (of files), url: (of a database), function: and source:")
    kind = _KINDS[kinds[0]]
    check_names("labels", found, {each.name for each in fields(kind)})
    return kind(**{name: value if name in _NO_TEXT else path(f"labels.{name}", value) for name, value in given.items()})


_NO_TEXT: Final = frozenset({"key", "within", "function", "source", "url"})


def _check_source(found: Labels) -> None:
    """See that what is meant can be read from; files and databases are not opened."""
    if isinstance(found, LabelFiles):
        path("labels.path", found.path)
    elif isinstance(found, LabelTable):
        check_queried("labels", found)
    elif isinstance(found, LabelFunction) and not callable(found.function):
        function("labels.function", found.function)
    elif isinstance(found, LabelsFrom):
        for name in ("survey", "again"):
            if not callable(getattr(found.source, name, None)):
                refuse("labels.source", found.source, f"a source with the methods survey and again; {name} is missing")


def _check_columns(found: Labels, task: str) -> None:
    zone("labels.zone", found.zone)
    choice("labels.take", found.take, TAKES)
    choice("labels.aggregate", found.aggregate, AGGREGATES)
    fitting = {"any": "binary", "sum": "regression"}.get(found.aggregate, task)
    if task != fitting:
        refuse("labels.aggregate", found.aggregate, f"last for a {task} task; {found.aggregate} is for {fitting} ones")
    _check_key(found)


def _check_key(found: Labels) -> None:
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
