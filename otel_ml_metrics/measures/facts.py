"""What users say about a measure of their own, checked when it is made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, get_args

from otel_ml_metrics.errors import ConfigurationError, suggest
from otel_ml_metrics.measures.measure import Direction
from otel_ml_metrics.measures.sums import Rows
from otel_ml_metrics.semconv import LAGGING_METRICS, evaluation_metric

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,99}")
_UNIT: Final = re.compile(r"(?:[!-z|~]|\{[!-z|~]*\}){1,63}")  # printable ASCII, braces in pairs around an annotation
_OURS: Final = frozenset(metric.name for metric in LAGGING_METRICS)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Name, unit, description, direction and rows of a measure.

    Raises:
        ConfigurationError: One of them cannot be used.
    """

    name: str
    unit: str
    description: str
    direction: Direction
    rows: Rows = "labelled"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            message = (
                f"{self.name!r} cannot be a measure's name. Use letters, digits, _ and ., a letter first, 100 at most."
            )
            raise ConfigurationError(message, "name")
        if evaluation_metric(self.name) in _OURS or self.name.endswith((".lower", ".upper")):
            message = f"The name {self.name!r} would make a metric that goes with every measure. Choose another."
            raise ConfigurationError(message, "name")
        if not _UNIT.fullmatch(self.unit):
            message = (
                f"{self.unit!r} is no unit. Write UCUM, such as USD, s, 1 for a fraction, or {{flight}} for a count."
            )
            raise ConfigurationError(message, "unit")
        if not self.description.strip():
            message = f"The measure {self.name!r} needs a description: one sentence that dashboards can show."
            raise ConfigurationError(message, "description")
        _check_choice("direction", self.direction, get_args(Direction))
        _check_choice("rows", self.rows, get_args(Rows))


def _check_choice(field: str, found: str, choices: tuple[str, ...]) -> None:
    if found not in choices:
        message = f"{field} is {found!r}, but has to be one of {', '.join(choices)}. {suggest(found, choices)}"
        raise ConfigurationError(message, field)
