"""Every built-in measure, by name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.measures import binary, regression

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.measures.measure import Measure

MEASURES: Final[Mapping[str, Measure]] = MappingProxyType(
    {measure.name: measure for measure in (*binary.MEASURES, *regression.MEASURES)}
)


def measures_for(task: str) -> dict[str, Measure]:
    """The measures that fit a task, by name."""
    return {name: measure for name, measure in MEASURES.items() if task in measure.tasks}
