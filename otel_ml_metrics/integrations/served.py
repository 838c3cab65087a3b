"""The one model of a process, as its environment names it: what zero code records with."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.errors import ConfigurationError, suggest
from otel_ml_metrics.monitor import ModelMonitor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.metrics import MeterProvider

    from otel_ml_metrics.batch import Task

METHODS: Final = ("predict", "predict_proba")
VARIABLE_PREFIX: Final = "OTEL_ML_METRICS_"
_LISTS: Final = frozenset({"slices", "fields", "methods"})


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """The one model of a process, as the environment or a configuration file names it.

    Args:
        model: Its name.
        version: Its version.
        variant: The arm that serves.
        log: Folder or URL of the prediction log.
        slices: Slices, read from the columns of that name if the features are a table.
        fields: Names of numbers, read likewise.
        methods: Which calls are predictions: `predict`, `predict_proba` or both; one of them, if the server calls both
            for one answer.
    """

    model: str
    version: str | None = None
    variant: str | None = None
    log: str | None = None
    slices: Sequence[str] = ()
    fields: Sequence[str] = ()
    methods: Sequence[str] = METHODS

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                message = f"{method!r} is no method whose calls can be recorded. {suggest(method, METHODS)}"
                raise ConfigurationError(message, where="methods")

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], environ: Mapping[str, str]) -> ServedModel | None:
        """Read what `instrument` was given, and then the environment; None if neither names a model."""
        found = {
            each.name: settings.get(each.name) or _variable(each.name, environ) for each in dataclasses.fields(cls)
        }
        given: dict[str, Any] = {name: value for name, value in found.items() if value}
        return cls(**given) if "model" in given else None

    def monitor(self, task: Task, meter_provider: MeterProvider | None) -> ModelMonitor:
        """A monitor for it."""
        return ModelMonitor(
            self.model,
            version=self.version,
            variant=self.variant,
            log=self.log,
            slices=self.slices,
            fields=self.fields,
            task=task,
            meter_provider=meter_provider,
        )


def _variable(name: str, environ: Mapping[str, str]) -> str | tuple[str, ...] | None:
    text = environ.get(VARIABLE_PREFIX + name.upper(), "").strip()
    if name not in _LISTS:
        return text or None
    return tuple(part.strip() for part in text.split(",") if part.strip())
