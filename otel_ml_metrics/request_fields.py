"""Fields that a request brings along: they travel in the OpenTelemetry context to every prediction made in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import create_key, set_value

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from opentelemetry.context import Context

_KEY: Final = create_key("otel_ml_metrics.request_fields")


def with_request_fields(fields: Mapping[str, str], context: Context | None = None) -> Context:
    """A context in which predictions have these fields, where a monitor declares them and the call says nothing else.

    Args:
        fields: By the name of a slice or of a field.
        context: What it extends; the current one by default.
    """
    return set_value(_KEY, dict(fields), context)


def completed(fields: Mapping[str, Any], context: Any, known: Container[str]) -> Mapping[str, Any]:  # noqa: ANN401  # an OpenTelemetry context, which batches do not know
    """The fields of a prediction, and those of its request that are known and that it lacks.

    >>> request = with_request_fields({"country": "NL", "channel": "web"})
    >>> completed({"score": 0.5, "channel": "app"}, request, {"score", "country", "channel"})
    {'country': 'NL', 'score': 0.5, 'channel': 'app'}
    """
    if not context or _KEY not in context:
        return fields
    brought: Mapping[str, str] = context[_KEY]
    return {name: text for name, text in brought.items() if name in known and name not in fields} | dict(fields)
