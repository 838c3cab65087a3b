"""Every built-in measure, by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.measures import calibration, curves, decisions, probabilities, quantiles, regression

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_ml_metrics.measures.measure import Measure

FAMILIES: Final[Mapping[str, tuple[Measure, ...]]] = MappingProxyType(
    {
        "Decisions, yes or no": decisions.MEASURES,
        "Probabilities": probabilities.MEASURES,
        "The whole curve": curves.MEASURES,
        "Calibration": calibration.MEASURES,
        "Regression": (*regression.MEASURES, *quantiles.MEASURES),
    }
)

MEASURES: Final[Mapping[str, Measure]] = MappingProxyType(
    {measure.name: measure for family in FAMILIES.values() for measure in family}
)

FACTORIES: Final[Mapping[str, Callable[..., Measure]]] = MappingProxyType(
    {
        "fbeta": decisions.fbeta,
        "precision_at_top": curves.precision_at_top,
        "lift": curves.lift,
        "pinball_loss": regression.pinball_loss,
        "interval_coverage": regression.interval_coverage,
        "error_quantile": quantiles.error_quantile,
        "absolute_error_quantile": quantiles.absolute_error_quantile,
    }
)
"""What takes parameters, all of which have defaults."""


def measures_for(task: str) -> dict[str, Measure]:
    """The measures that fit a task, by name."""
    return {name: measure for name, measure in MEASURES.items() if task in measure.tasks}
