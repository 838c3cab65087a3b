"""Every built-in measure, by name."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.measures import (
    calibration,
    curves,
    decisions,
    fairness,
    multiclass,
    multilabel,
    probabilities,
    quantile_forecasts,
    quantiles,
    regression,
)
from otel_ml_metrics.measures.per_class import RATES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from otel_ml_metrics.measures.measure import Measure

FAMILIES: Final[Mapping[str, tuple[Measure, ...]]] = MappingProxyType(
    {
        "Decisions, yes or no": decisions.MEASURES,
        "Probabilities": probabilities.MEASURES,
        "The whole curve": curves.MEASURES,
        "Calibration": calibration.MEASURES,
        "Fairness": fairness.fairness_measures(fairness.EXAMPLE),
        "Multiclass": multiclass.multiclass_measures(multiclass.EXAMPLE),
        "Multilabel": multilabel.SetCounts(multiclass.EXAMPLE).measures,
        "Quantile forecasts": quantile_forecasts.Forecasts(quantile_forecasts.EXAMPLE).measures,
        "Regression": (*regression.MEASURES, *quantiles.MEASURES),
    }
)

_OF_A_MODEL: Final = frozenset({"Fairness", "Multiclass", "Multilabel", "Quantile forecasts"})
MEASURES: Final[Mapping[str, Measure]] = MappingProxyType(
    {measure.name: measure for name, family in FAMILIES.items() if name not in _OF_A_MODEL for measure in family}
)
"""Those that are the same for every model; others depend on its classes, levels or slices."""

FACTORIES: Final[Mapping[str, Callable[..., Measure]]] = MappingProxyType(
    {
        "fbeta": decisions.fbeta,
        "precision_at_top": curves.precision_at_top,
        "lift": curves.lift,
        "pinball_loss": regression.pinball_loss,
        "interval_coverage": regression.interval_coverage,
        "error_quantile": quantiles.error_quantile,
        "absolute_error_quantile": quantiles.absolute_error_quantile,
        **fairness.FACTORIES,
    }
)
"""What takes parameters."""


def factories_for(task: str, classes: Sequence[str] = ()) -> Mapping[str, Callable[..., Measure]]:
    """What takes parameters, by name; classes of a quantile task are its levels as texts."""
    if task == "quantile":
        return quantile_forecasts.Forecasts(list(map(float, classes))).factories
    if task == "multilabel":
        sets = multilabel.SetCounts(classes)
        return {name: partial(sets.of_class, name) for name in RATES}
    if task != "multiclass":
        return FACTORIES
    by_class: dict[str, Callable[..., Measure]] = {
        name: partial(multiclass.of_class, name, classes=classes) for name in RATES
    }
    return by_class | {"top_k_accuracy": partial(multiclass.top_k_accuracy, classes)}


def measures_for(task: str, classes: Sequence[str] = ()) -> dict[str, Measure]:
    """The measures that fit a task, by name: those of its classes, or of its levels, where it has any."""
    if task == "multiclass":
        return {measure.name: measure for measure in multiclass.multiclass_measures(classes)}
    if task == "multilabel":
        return {measure.name: measure for measure in multilabel.SetCounts(classes).measures}
    if task == "quantile":
        return {each.name: each for each in quantile_forecasts.Forecasts(list(map(float, classes))).measures}
    return {name: measure for name, measure in MEASURES.items() if task in measure.tasks}
