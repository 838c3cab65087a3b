"""Checks of what a monitor is given, so that a mistake shows at set-up and says what would have worked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from otel_ml_metrics.batch import Task
from otel_ml_metrics.errors import ConfigurationError, FieldError, suggest
from otel_ml_metrics.semconv import (
    MODEL_NAME,
    MODEL_VARIANT,
    MODEL_VERSION,
    ONLINE_METRICS,
    OUTPUT_NAME,
    RESERVED_FIELDS,
    MetricDefinition,
)
from otel_ml_metrics.storage.locations import checked_location
from otel_ml_metrics.telemetry.custom import CustomMetric, checked_bounds, checked_unit

if TYPE_CHECKING:
    from otel_ml_metrics.expressions import Kind

RAISE_VARIABLE: Final = "OTEL_ML_METRICS_RAISE"
FieldKinds = Sequence[str] | Mapping[str, Literal["number", "string"]]

_ATTRIBUTES: Final = {"name": MODEL_NAME, "version": MODEL_VERSION, "variant": MODEL_VARIANT, "output": OUTPUT_NAME}
_FIELD_KINDS: Final = ("number", "string")
_TRUE: Final = frozenset({"1", "true", "yes", "on"})


def identity(texts: Mapping[str, object]) -> dict[str, str]:
    """The attributes that every value of a monitor carries, from `name`, `version`, `variant` and `output`."""
    attributes = {}
    for argument, text in texts.items():
        if text is None and argument != "name":
            continue
        if not isinstance(text, str) or not text:
            message = f"Expected a text that is not empty, found {text!r}."
            raise ConfigurationError(message, where=argument)
        attributes[_ATTRIBUTES[argument]] = text
    return attributes


def declared(slices: Sequence[str], fields: FieldKinds) -> tuple[tuple[str, ...], dict[str, Kind]]:
    """Names of the slices, and kind of each field.

    Raises:
        FieldError: A name is reserved, empty or declared twice.
    """
    for argument, names in (("slices", slices), ("fields", fields)):
        if isinstance(names, (str, bytes)):
            message = f"{argument}: expected a list of names, found the text {names!r}. Write {argument}=[{names!r}]."
            raise FieldError(message)
    kinds: dict[str, Kind] = {}
    for name, kind in fields.items() if isinstance(fields, Mapping) else ((name, "number") for name in fields):
        if kind not in _FIELD_KINDS:
            message = f"fields[{name!r}]: {kind!r} is no kind of a field. {suggest(str(kind), _FIELD_KINDS)}"
            raise FieldError(message)
        _check_new(name, kinds)
        kinds[name] = "number" if kind == "number" else "string"
    seen: dict[str, Kind] = dict(kinds)
    for name in slices:
        _check_new(name, seen)
        seen[name] = "string"
    return tuple(slices), kinds


def _check_new(name: object, seen: Mapping[str, Kind]) -> None:
    if not isinstance(name, str) or not name.strip():
        message = f"A field needs a name that is not empty, found {name!r}."
        raise FieldError(message)
    if name.lower() in RESERVED_FIELDS:
        taken = ", ".join(sorted(RESERVED_FIELDS))
        message = f"{name!r} is a name of the prediction log itself. Choose another one; taken are: {taken}."
        raise FieldError(message)
    if name.lower() in {known.lower() for known in seen}:  # SQL does not tell the case of columns apart
        message = f"{name!r} is declared twice in slices and fields; case does not count."
        raise FieldError(message)


def distinct(metrics: Sequence[Any]) -> Sequence[CustomMetric]:
    """The metrics, if their names differ from each other and from our own; OpenTelemetry ignores their case.

    Raises:
        ConfigurationError: They do not, or something else was passed.
    """
    seen = {definition.name: "the package itself" for definition in ONLINE_METRICS}
    for position, metric in enumerate(metrics):
        where = f"metrics[{position}]"
        if not isinstance(metric, CustomMetric):
            message = f"Expected what counter(), gauge() or histogram() returns, found {type(metric).__name__}."
            raise ConfigurationError(message, where=where)
        name = metric.definition.name.lower()
        if name in seen:
            message = f"The name {metric.definition.name!r} is taken by {seen[name]}. Choose another one."
            raise ConfigurationError(message, where=where)
        seen[name] = where
    return metrics


def built_in(definition: MetricDefinition, unit: str, bounds: Sequence[float] | None) -> MetricDefinition:
    """One of our own histograms with the unit of the model; its own bounds hold as long as the unit does."""
    if bounds is None:
        kept = definition.bounds if unit == definition.unit else ()
    else:
        kept = checked_bounds(bounds, definition.name)
    return replace(definition, unit=checked_unit(unit, definition.name), bounds=kept)


def checked_task(task: Task | None) -> Task | None:
    """The task, if there is such a one."""
    return None if task is None else _one_of("task", task, get_args(Task))


def check_positive(**numbers: object) -> None:
    """Raise ConfigurationError for a number that is not above 0."""
    for argument, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not number > 0:
            message = f"Expected a number above 0, found {number!r}."
            raise ConfigurationError(message, where=argument)


def raising(on_fault: Literal["count", "raise"] | None) -> bool:
    """Whether faults are raised; the environment says so where the argument does not."""
    if on_fault is None:
        return os.environ.get(RAISE_VARIABLE, "").strip().lower() in _TRUE
    chosen: str = _one_of("on_fault", on_fault, ("count", "raise"))
    return chosen == "raise"


def log_path(log: str | os.PathLike[str]) -> str:
    """The folder of the prediction log, or its URL."""
    path: object = os.fspath(log)
    if not isinstance(path, str) or not path:
        message = f"Expected a folder, or a URL such as s3://bucket/predictions, found {path!r}."
        raise ConfigurationError(message, where="log")
    return checked_location("log", path)


def _one_of(argument: str, value: Any, known: Sequence[str]) -> Any:  # a literal of either argument  # noqa: ANN401  # anything may be passed
    if value not in known:
        message = f"{value!r} is not known. {suggest(str(value), known)}"
        raise ConfigurationError(message, where=argument)
    return value
