"""Metrics that users declare: name, unit, description, and a value per prediction."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from otel_ml_metrics.columns import as_column, is_scalar, read_numbers
from otel_ml_metrics.errors import BatchShapeError, ConfigurationError, ExpressionError, suggest
from otel_ml_metrics.expressions import Expression, Kind, col, parse
from otel_ml_metrics.presence import evaluate
from otel_ml_metrics.semconv import MetricDefinition

if TYPE_CHECKING:
    from otel_ml_metrics.batch import PredictionBatch
    from otel_ml_metrics.reading import RowSchema

Value = Expression | str | Callable[[Mapping[str, NDArray[Any]]], object]

EXPONENTIAL: Final = "exponential"
_NAME: Final = re.compile(r"[A-Za-z][-_./A-Za-z0-9]{0,254}")
_UNIT: Final = re.compile(r"[\x21-\x7e]{0,63}")


@dataclass(frozen=True)
class CustomMetric:
    """One declared metric; made by `counter`, `gauge` and `histogram`.

    Args:
        definition: What is emitted: exactly the name and unit that the user gave.
        value: An expression, its text, the name of a column, or a callable on the columns of some rows, such as
            a part of a long batch. It gives a value per row, which may depend on that row alone.
    """

    definition: MetricDefinition
    value: Value


def counter(name: str, *, unit: str, value: Value, description: str = "") -> CustomMetric:
    """Declare a sum that only grows: the value of every prediction is added; a boolean counts the rows where it holds.

    A negative value is a fault: it is left out and counted.

    Args:
        name: OpenTelemetry instrument name.
        unit: UCUM, such as `USD`, `s`, `{flight}`, or `1` for a true fraction.
        value: `col("score") > 0.8`, the same as text, the name of a column, or a callable on the columns.
        description: One sentence that backends show.

    Raises:
        ConfigurationError: OpenTelemetry would refuse the name or the unit.
    """
    return _declared(MetricDefinition(name, "counter", unit, description), value)


def gauge(name: str, *, unit: str, value: Value, description: str = "") -> CustomMetric:
    """Declare a current value: the last prediction with a value wins, per set of attributes.

    Args:
        name: OpenTelemetry instrument name.
        unit: UCUM, such as `USD`, `s`, `{flight}`, or `1` for a true fraction.
        value: `col("score") * 100`, the same as text, the name of a column, or a callable on the columns.
        description: One sentence that backends show.

    Raises:
        ConfigurationError: OpenTelemetry would refuse the name or the unit.
    """
    return _declared(MetricDefinition(name, "gauge", unit, description), value)


def histogram(
    name: str,
    *,
    unit: str,
    value: Value,
    description: str = "",
    bounds: Sequence[float] | Literal["exponential"] | None = None,
) -> CustomMetric:
    """Declare a distribution of values.

    Args:
        name: OpenTelemetry instrument name.
        unit: UCUM, such as `USD`, `s`, `{flight}`, or `1` for a true fraction.
        value: `col("score") * col("fare")`, the same as text, the name of a column, or a callable on the columns.
        description: One sentence that backends show.
        bounds: Upper bounds of the buckets, in the unit, ascending; `exponential` for base-2 exponential buckets, which
            fit themselves to the values; None leaves them to the OpenTelemetry SDK. Without a wrapped exporter the SDK
            keeps the histogram, and its views say whether that is exponential: there is no other way to ask for it.

    Raises:
        ConfigurationError: OpenTelemetry would refuse the name or the unit, or the bounds do not ascend.
    """
    if isinstance(bounds, str):
        definition = MetricDefinition(name, "histogram", unit, description, exponential=_is_exponential(bounds, name))
    else:
        definition = MetricDefinition(name, "histogram", unit, description, checked_bounds(bounds, name))
    return _declared(definition, value)


def _is_exponential(bounds: str, name: str) -> bool:
    if bounds != EXPONENTIAL:
        message = f"Expected numbers that ascend, or {EXPONENTIAL!r}, found {bounds!r}."
        raise ConfigurationError(message, where=f"{name}.bounds")
    return True


def checked_bounds(bounds: Sequence[float] | None, name: str) -> tuple[float, ...]:
    """Bounds as floats.

    Raises:
        ConfigurationError: They are not finite or do not ascend.
    """
    numbers = tuple(float(bound) for bound in bounds or ())
    ascending = all(low < high for low, high in pairwise(numbers))
    if not ascending or not all(map(math.isfinite, numbers)):
        message = f"Bounds must be finite and ascend, found {list(numbers)}."
        raise ConfigurationError(message, where=f"{name}.bounds")
    return numbers


def checked_unit(unit: object, name: str) -> str:
    """The unit, if OpenTelemetry takes it.

    Raises:
        ConfigurationError: It does not.
    """
    if not isinstance(unit, str) or not _UNIT.fullmatch(unit):
        message = (
            f"{unit!r} is no unit: expected at most 63 ASCII characters of UCUM, such as USD, s, By or {{flight}}."
        )
        raise ConfigurationError(message, where=f"{name}.unit")
    return unit


def _declared(definition: MetricDefinition, value: Any) -> CustomMetric:  # checked here  # noqa: ANN401  # anything may be passed
    name: object = definition.name
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = f"{name!r} is no metric name: expected a letter, then at most 254 letters, digits, or any of _ . - /"
        raise ConfigurationError(message, where="name")
    checked_unit(definition.unit, name)
    if not isinstance(value, (Expression, str)) and not callable(value):
        message = f"Expected an expression, its text, the name of a column or a callable, found {type(value).__name__}."
        raise ConfigurationError(message, where=f"{name}.value")
    return CustomMetric(definition, value)


@dataclass(frozen=True)
class BoundMetric:
    """A declared metric, checked against the columns of a model.

    Args:
        definition: What is emitted.
        whole: Whether the values are whole numbers, so that the sum is one.
        read: Values of a batch, shape (n,), and where there is one.
    """

    definition: MetricDefinition
    whole: bool
    read: Callable[[PredictionBatch], tuple[NDArray[np.float64], NDArray[np.bool_]]]


def bind(metric: CustomMetric, schema: RowSchema) -> BoundMetric:
    """Check a metric against the declared columns.

    Raises:
        ExpressionError: It names a column that does not exist, or its parts do not fit together.
    """
    value, name = metric.value, metric.definition.name
    if isinstance(value, str):
        value = col(value) if value in schema.kinds() else _parsed(value, name)
    if not isinstance(value, Expression):
        return BoundMetric(metric.definition, whole=False, read=_CallableValues(value))
    kind = _checked_kind(value, name, schema)
    return BoundMetric(metric.definition, whole=kind == "boolean", read=_ExpressionValues(value))


def _parsed(text: str, name: str) -> Expression:
    try:
        return parse(text)
    except ExpressionError as error:
        message = f"{name}.value: {error}"
        raise ExpressionError(message) from error


def _checked_kind(expression: Expression, name: str, schema: RowSchema) -> Kind:
    known = schema.kinds()
    for column in sorted(expression.columns() - known.keys()):
        hint = (
            "The label is not known when a prediction is made: declare the measure in the evaluation."
            if column == "label"
            else f"{suggest(column, known)} Declare it in `fields` or `slices`."
        )
        message = f"{name}.value: {expression} uses the column {column!r}, which the model does not declare. {hint}"
        raise ExpressionError(message)
    settled = schema.prediction_kind
    candidates: Sequence[Kind] = [settled] if settled else get_args(Kind)
    failure: ExpressionError | None = None
    for prediction in candidates:  # what `prediction` is may only show at run time: one reading that fits is enough
        try:
            kind = expression.kind(schema.kinds(prediction))
        except ExpressionError as error:
            failure = failure or error
            continue
        if kind != "string":
            return kind
        failure = failure or ExpressionError(f"{expression} is a text")
    message = f"{name}.value: expected a number or a boolean per row. {failure}"
    raise ExpressionError(message)


@dataclass(frozen=True)
class _ExpressionValues:
    expression: Expression

    def __call__(self, batch: PredictionBatch) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        return evaluate(self.expression, batch.columns(), batch.kinds)


@dataclass(frozen=True)
class _CallableValues:
    function: Callable[[Mapping[str, NDArray[Any]]], object]

    def __call__(self, batch: PredictionBatch) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        result = self.function(batch.columns())
        values = read_numbers([result] if is_scalar(result) else as_column(result)).values
        if len(values) != len(batch):
            if len(values) != 1:
                raise BatchShapeError({"batch": len(batch), "values": len(values)})
            values = np.repeat(values, len(batch))
        return values, np.isfinite(values)
