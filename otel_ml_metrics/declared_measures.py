"""What monitoring.yaml may say under `measures:`, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from otel_ml_metrics.declared import check_names, items, number, refuse, switch
from otel_ml_metrics.errors import ConfigurationError, ExpressionError
from otel_ml_metrics.expressions import Expression
from otel_ml_metrics.importable import imported
from otel_ml_metrics.measures import custom, profit
from otel_ml_metrics.measures.adapted import at_threshold
from otel_ml_metrics.measures.exact import Exact, exact_measure
from otel_ml_metrics.measures.facts import Facts
from otel_ml_metrics.measures.measure import Measure
from otel_ml_metrics.measures.named import SWITCHES, built_in, switched, unfit
from otel_ml_metrics.measures.score_bins import LOGGED, ScoreBins, bins_scores, rebinned, score_bins
from otel_ml_metrics.measures.table import MEASURES, factories_for, measures_for

_FACTS: Final = ("name", "unit", "description", "direction", "rows")
_PARTS: Final[dict[str, tuple[str, ...]]] = {
    "ratio": ("numerator", "denominator"),
    "weighted_mean": ("expression", "weight"),
    "quantile": ("expression", "q"),
    "value": profit.Matrix._fields,
    "best_value": profit.Matrix._fields,
    "best_threshold": profit.Matrix._fields,
}
"""Forms that take a mapping, and what it has."""

_MAKERS: Final[dict[str, Callable[..., Measure]]] = {
    "sum": custom.sum_measure,
    "mean": custom.mean_measure,
    "rate": custom.rate_measure,
    "ratio": custom.ratio_measure,
    "weighted_mean": custom.weighted_mean_measure,
    "quantile": custom.quantile_measure,
    "value": profit.value_measure,
    "best_value": profit.best_value_measure,
    "best_threshold": profit.best_threshold_measure,
}
_FORMS: Final = (*_MAKERS, "exact")
_ALSO_TAKES: Final[dict[str, set[str]]] = {
    "exact": {"of"},
    "quantile": set(),
    "value": {"threshold"},
    "best_value": set(),
    "best_threshold": set(),
}
"""What a form takes besides its facts; the others take `rows`."""


def measures(
    found: object, task: str, *, classes: Sequence[str] = (), weighted: bool = False, bins: ScoreBins = LOGGED
) -> tuple[tuple[Measure, ...], tuple[Exact, ...]]:
    """The measures, each name once: those made of sums, and the exact ones.

    Args:
        found: Names, `Measure` or `Exact` values, and mappings.
        task: What they have to fit.
        classes: Those of a multiclass task.
        weighted: Whether rows are weighted in every measure that does not say otherwise.
        bins: Of the scores, in every measure that bins them and does not say otherwise.
    """
    named: dict[str, Measure | Exact] = {}
    for at, item in enumerate(items("measures", found)):
        where = f"measures[{at}]"
        measure = _measure(where, item, task, classes, weighted=weighted, bins=bins)
        if measure.name in named:
            message = f"{measure.name!r} is there twice; give one of them another name."
            raise ConfigurationError(message, where)
        named[measure.name] = measure
    if not named:
        message = f"there is no measure. Fit for a {task} task: {', '.join(measures_for(task, classes))}."
        raise ConfigurationError(message, "measures")
    sums = tuple(each for each in named.values() if isinstance(each, Measure))
    return sums, tuple(each for each in named.values() if isinstance(each, Exact))


def _measure(
    where: str, found: object, task: str, classes: Sequence[str], *, weighted: bool, bins: ScoreBins
) -> Measure | Exact:
    if isinstance(found, Exact):
        return _exact(where, found, task, classes, weighted=weighted)
    if isinstance(found, Mapping):
        return _mapped(where, found, task, classes, weighted=weighted, bins=bins)
    known = measures_for(task, classes)
    if isinstance(found, str) and found not in known and found in factories_for(task, classes):
        return _mapped(where, {"measure": found}, task, classes, weighted=weighted, bins=bins)  # says what it needs
    if not isinstance(found, Measure) and (not isinstance(found, str) or found not in known):
        raise ConfigurationError(unfit(found, task, known), where)
    measure = found if isinstance(found, Measure) else known[found]
    measure = _binned(where, _fitting(where, measure, task, classes), {}, bins)
    return switched(measure, is_weighted=weighted, interval=None)


def _mapped(
    where: str, found: Mapping[str, Any], task: str, classes: Sequence[str], *, weighted: bool, bins: ScoreBins
) -> Measure | Exact:
    plain = {name: value for name, value in found.items() if name not in SWITCHES}
    is_weighted = switch(f"{where}.weighted", found.get("weighted", weighted))
    try:
        made = _made(where, plain, task, classes)
        if isinstance(made, Exact):
            check_names(where, found, {*_FACTS, "exact", "of", "weighted"})
            return made.fitted(task, classes, weighted=is_weighted)
        made = _binned(where, _fitting(where, made, task, classes), found, bins)
        return switched(made, is_weighted=is_weighted, interval=found.get("interval"))
    except ConfigurationError as error:
        inner = error.where if error.where.startswith(where) else f"{where}.{error.where}".rstrip(".")
        raise ConfigurationError(error.message, inner) from error


def _exact(where: str, found: Exact, task: str, classes: Sequence[str], *, weighted: bool) -> Exact:
    try:
        return found.fitted(task, classes, weighted=weighted)
    except ConfigurationError as error:
        raise ConfigurationError(error.message, where) from error


def _binned(where: str, measure: Measure, found: Mapping[str, Any], default: ScoreBins) -> Measure:
    """The measure over the bins that it asks for, or else, if it bins scores, over those of all measures."""
    if "bins" in found:
        return rebinned(measure, score_bins(found["bins"]))
    try:
        return rebinned(measure, default) if bins_scores(measure) else measure
    except ConfigurationError as error:
        message = f"{error.message} Say so for this one, such as bins: {LOGGED.name}, or leave it out."
        raise ConfigurationError(message, where) from error


def _made(where: str, plain: Mapping[str, Any], task: str, classes: Sequence[str]) -> Measure | Exact:
    if "measure" in plain:
        return built_in(plain, task, classes)
    if "additive" in plain:
        check_names(where, plain, {"additive"})
        return _additive(plain["additive"])
    return _custom(where, plain)


def _fitting(where: str, measure: Measure, task: str, classes: Sequence[str]) -> Measure:
    if task not in measure.tasks:
        message = (
            f"{measure.name!r} does not fit a {task} task: it is for {' or '.join(sorted(measure.tasks))}."
            f" Fit for it: {', '.join(measures_for(task, classes))}."
        )
        raise ConfigurationError(message, where)
    Facts(name=measure.name, unit=measure.unit, description=measure.description, direction=measure.direction)
    return measure


def _additive(found: object) -> Measure:
    """A `Measure` that somebody else's module holds."""
    if not isinstance(found, str) or ":" not in found:
        refuse("additive", found, "package.module:measure, the place of a Measure")
    measure = imported(found)
    if not isinstance(measure, Measure):
        refuse("additive", found, f"the place of a Measure, not of a {type(measure).__name__}")
    if measure.name in MEASURES:
        message = f"{measure.name!r} is a built-in measure; give this one another name."
        raise ConfigurationError(message, "additive")
    return measure


def _custom(where: str, found: Mapping[str, Any]) -> Measure | Exact:
    """A measure declared by expressions, or by a callable."""
    check_names(where, found, {*_FACTS, "of", "threshold", *_FORMS, "measure", "additive"})
    forms = [form for form in _FORMS if form in found]
    if len(forms) != 1:
        refuse(where, sorted(found), f"a name, a unit, a description and one of {', '.join(_FORMS)}; or a measure")
    for required in ("name", "unit", "description"):
        if required not in found:
            message = f"{required!r} is missing: dashboards show it."
            raise ConfigurationError(message, where)
        if not isinstance(found[required], str):
            refuse(f"{where}.{required}", found[required], 'a text; a unit of 1 is written in quotes, "1"')
    if found["name"] in MEASURES:
        message = f"{found['name']!r} is a built-in measure; give this one another name."
        raise ConfigurationError(message, f"{where}.name")
    facts = {name: value for name, value in found.items() if name not in _FORMS}
    own = _ALSO_TAKES.get(forms[0], {"rows"})
    check_names(where, facts, {"name", "unit", "description", "direction", *own})
    try:
        return _formed(where, forms[0], found[forms[0]], facts)
    except ExpressionError as error:
        raise ConfigurationError(str(error), f"{where}.{forms[0]}") from error


def _formed(where: str, form: str, given: object, facts: dict[str, Any]) -> Measure | Exact:
    place = f"{where}.{form}"
    if form == "exact":
        return exact_measure(**facts, exact=given)
    threshold = facts.pop("threshold", None)
    if form not in _PARTS:
        expression = _expression(place, given)
        named = {"condition": expression} if form == "rate" else {"expression": expression}
        return _MAKERS[form](**facts, **named)
    wanted = _PARTS[form]
    is_whole = isinstance(given, Mapping) and (wanted is profit.Matrix._fields or len(given) == len(wanted))
    if not isinstance(given, Mapping) or not is_whole or not set(given) <= set(wanted):
        refuse(place, given, f"a mapping with {', '.join(wanted[:-1])} and {wanted[-1]}")
    if form == "quantile":
        number(f"{place}.q", given["q"])
    parts = {part: value if part == "q" else _expression(f"{place}.{part}", value) for part, value in given.items()}
    made = _MAKERS[form](**facts, **parts)
    return made if threshold is None else at_threshold(made, number(f"{where}.threshold", threshold))


def _expression(where: str, found: object) -> Expression | str:
    """An expression; YAML reads `sum: 1` as a number."""
    if isinstance(found, (bool, int, float)):
        return str(found)
    if not isinstance(found, (str, Expression)):
        refuse(where, found, "an expression")
    return found
