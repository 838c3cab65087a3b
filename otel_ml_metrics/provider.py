"""A meter provider for servers that have none: the OpenTelemetry SDK, set up from its own `OTEL_*` variables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.errors import ConfigurationError, MissingExtraError, suggest
from otel_ml_metrics.telemetry.exporter import MLMetricExporter, otlp_exporter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

try:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExporter, PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
except ImportError as error:
    raise MissingExtraError("opentelemetry-sdk", "otlp", "Exporting metrics") from error  # noqa: EM101  # fields, no message

EXPORTER_VARIABLE: Final = "OTEL_METRICS_EXPORTER"


def meter_provider_from_environment(
    service: str | None = None, *, environ: Mapping[str, str] | None = None
) -> MeterProvider:
    """Set up a meter provider as the environment says.

    `OTEL_METRICS_EXPORTER` chooses `otlp` (default), `console` or `none`, `OTEL_EXPORTER_OTLP_PROTOCOL` chooses `grpc`
    or `http/protobuf` (default: what the endpoint's port suggests); endpoint, headers, temporality and export interval
    are read by the SDK. It does not become the global provider: pass it to the monitor, or to
    `opentelemetry.metrics.set_meter_provider`, and shut it down after the monitors.

    Args:
        service: Value of `service.name` where the environment gives none.
        environ: The environment; that of the process by default.

    Returns:
        A provider that exports in the background.

    Raises:
        ConfigurationError: A variable has a value that is not known.
        EndpointError: The endpoint cannot be used as it is written.
        MissingExtraError: The extra `otlp` is not installed.
    """
    environ = os.environ if environ is None else environ
    named = Resource({SERVICE_NAME: service} if service else {}).merge(OTELResourceDetector().detect())
    resource = Resource.create(named.attributes)
    chosen = environ.get(EXPORTER_VARIABLE, "").strip().lower() or "otlp"
    exporters: dict[str, Callable[[], MetricExporter | None]] = {
        "console": lambda: MLMetricExporter(ConsoleMetricExporter()),
        "none": lambda: None,
        "otlp": lambda: MLMetricExporter(otlp_exporter(environ)),
    }
    if chosen not in exporters:
        message = f"{chosen!r} is no exporter that can be used here. {suggest(chosen, exporters)}"
        raise ConfigurationError(message, where=EXPORTER_VARIABLE)
    exporter = exporters[chosen]()
    return MeterProvider([] if exporter is None else [PeriodicExportingMetricReader(exporter)], resource)
