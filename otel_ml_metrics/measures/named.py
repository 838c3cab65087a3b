"""Built-in measures by name, with parameters, at a threshold, weighted, or with a bootstrap interval."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.errors import ConfigurationError, suggest
from otel_ml_metrics.measures.adapted import at_threshold, weighted
from otel_ml_metrics.measures.bootstrap import bootstrapped
from otel_ml_metrics.measures.facts import Facts
from otel_ml_metrics.measures.table import FACTORIES, FAMILIES, factories_for, measures_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from otel_ml_metrics.measures.measure import Measure

_NEEDED: Final = {"of": "the class that it is of", "over": "the slice whose values are the groups that it compares"}
SWITCHES: Final = ("weighted", "interval", "bins")


def unfit(name: object, task: str, fitting: Collection[str]) -> str:
    """What to say of a name that is no measure of a task: the nearest ones; all that fit, if it is one of another task.

    >>> unfit("accurracy", "binary", ["accuracy", "recall"])
    "'accurracy' is no measure of a binary task. Did you mean 'accuracy'?"
    >>> unfit("r2", "binary", ["accuracy", "recall"])
    "'r2' is no measure of a binary task. Known are: accuracy, recall."
    """
    is_another_task_s = any(name == each.name for family in FAMILIES.values() for each in family)
    hint = f"Known are: {', '.join(sorted(fitting))}." if is_another_task_s else suggest(str(name), fitting)
    return f"{name!r} is no measure of a {task} task. {hint}"


def built_in(found: Mapping[str, Any], task: str, classes: Sequence[str] = ()) -> Measure:
    """A measure of the table, changed as a mapping says.

    Args:
        found: `measure`, its name in the table; and as they are wanted, `name` (default: told from the rest), its own
            parameters, `threshold`, `unit`, `description`.
        task: What it has to fit.
        classes: Those of a multiclass task.

    Raises:
        ConfigurationError: There is none of that name for the task, or it does not take what is given.

    >>> built_in({"measure": "fbeta", "beta": 0.5}, "binary").name
    'fbeta_0.5'
    >>> built_in({"measure": "precision", "threshold": 0.8}, "binary").name
    'precision_at_0.8'
    """
    name = found["measure"]
    known, factories = measures_for(task, classes), factories_for(task, classes)
    fitting = {*known, *(factories.keys() - FACTORIES.keys())}  # the defaults of those in it are known, if they fit
    if name not in fitting:
        raise ConfigurationError(unfit(name, task, fitting), "measure")
    given = {key: value for key, value in found.items() if key not in {"measure", "name", "unit", "description"}}
    threshold = given.pop("threshold", None)
    measure = _made(name, given, known, factories)
    ending = "".join(f"_{value}" for value in given.values())
    if threshold is not None:
        measure = at_threshold(measure, _number("threshold", threshold))
        ending += f"_at_{threshold}"
    facts = {"name": f"{name}{ending}"} | {key: found[key] for key in ("name", "unit", "description") if key in found}
    measure = replace(measure, **facts)
    Facts(name=measure.name, unit=measure.unit, description=measure.description, direction=measure.direction)
    return measure


def switched(measure: Measure, *, is_weighted: bool, interval: str | None) -> Measure:
    """The measure with weighted rows, and with an interval by `bootstrap`, as they are asked for."""
    if interval not in {None, "bootstrap"}:
        message = f"found {interval!r}, expected bootstrap, or nothing: where a formula gives an interval, it is there."
        raise ConfigurationError(message, "interval")
    measure = weighted(measure) if is_weighted else measure
    return bootstrapped(measure) if interval else measure


def _made(
    name: str,
    given: Mapping[str, Any],
    known: Mapping[str, Measure],
    factories: Mapping[str, Callable[..., Measure]],
) -> Measure:
    factory = factories.get(name)
    takes = _parameters(factory) if factory else {}
    for key, value in given.items():
        if key not in takes:
            message = f"{name!r} does not take {key!r}. {suggest(key, [*takes, 'threshold', 'name', *SWITCHES])}"
            raise ConfigurationError(message, key)
        if isinstance(takes[key], float):
            _number(key, value)
        elif not isinstance(takes[key], int) and not isinstance(value, str):
            message = f"found {value!r}, expected a text."
            raise ConfigurationError(message, key)
    missing = [key for key, default in takes.items() if default is inspect.Parameter.empty and key not in given]
    if missing:
        message = f"{name!r} needs {missing[0]!r} here: {_NEEDED[missing[0]]}."
        raise ConfigurationError(message, missing[0])
    return factory(**given) if factory else known[name]


def _parameters(factory: Callable[..., Measure]) -> dict[str, Any]:
    """Name and default of each parameter."""
    parameters = inspect.signature(factory).parameters.items()
    return {name: parameter.default for name, parameter in parameters if name != "classes"}


def _number(key: str, found: object) -> float:
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        message = f"found {found!r}, expected a number."
        raise ConfigurationError(message, key)
    return float(found)
