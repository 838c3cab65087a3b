"""Zero code for scikit-learn: what estimators predict is recorded, once the model has a name.

The environment names it, for `opentelemetry-instrument python app.py` of a process that serves one model:
`OTEL_ML_METRICS_MODEL`, and `OTEL_ML_METRICS_VERSION`, `_VARIANT`, `_LOG`, `_SLICES`, `_FIELDS`, `_METHODS`. Or code
does, for any number of models: `SklearnInstrumentor().register(estimator, monitor)`. Without a name nothing is wrapped,
and scikit-learn is not even imported.

A prediction is what code outside scikit-learn asks an estimator for. What scikit-learn asks itself, in pipelines,
forests, cross-validation and scoring, in whatever thread or process, is none, nor is what one prediction calls inside.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import WeakKeyDictionary

import numpy as np

from otel_ml_metrics.errors import MissingExtraError, OtelMLMetricsError
from otel_ml_metrics.integrations.served import METHODS, ServedModel
from otel_ml_metrics.integrations.wrapping import MethodWrapping

try:
    from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # it hides its types
except ImportError as error:
    raise MissingExtraError("opentelemetry-instrumentation", "instrument", "Zero-code instrumentation") from error  # noqa: EM101  # fields, no message

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray
    from opentelemetry.metrics import MeterProvider

    from otel_ml_metrics.batch import Task
    from otel_ml_metrics.monitor import ModelMonitor

_logger: Final = logging.getLogger("otel_ml_metrics")
_inside: Final[ContextVar[bool]] = ContextVar("otel_ml_metrics_inside", default=False)


class SklearnInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the same
    """Records what scikit-learn's estimators predict; the entry point `sklearn_ml`.

    `instrument()` takes `meter_provider`, and the fields of `ServedModel`, which outrank the environment. Of a binary
    classifier `predict_proba` gives the score, the probability of `classes_[1]`, and `predict` the decision, whether it
    is that class; with more classes a score per class, and the class as text; of a regressor the number. Estimators
    that are neither, and what nobody named, are left alone. A fault of ours never reaches the caller of `predict`.
    """

    # The base class makes one instance, and would call __init__ each time that it is asked for.
    _served: ServedModel | None = None
    _meter_provider: MeterProvider | None = None
    _wrapping: MethodWrapping | None = None
    _own: dict[Task, ModelMonitor | None]
    _registered: ClassVar[WeakKeyDictionary[object, tuple[ModelMonitor, tuple[str, ...]]]] = WeakKeyDictionary()

    def instrumentation_dependencies(self) -> Collection[str]:
        """What is instrumented."""
        return ("scikit-learn >= 1.5",)

    def register(self, estimator: object, monitor: ModelMonitor, *, methods: Sequence[str] = METHODS) -> None:
        """Record what one estimator predicts with a monitor of its own, while the instrumentor is on.

        Register what your code calls: the pipeline, not its last step. The estimator is not changed, nor kept alive.
        Slices and fields of the monitor are read from the columns of that name if the features are a table.

        Args:
            estimator: A scikit-learn estimator.
            monitor: What records.
            methods: As in `ServedModel`.
        """
        self._registered[estimator] = monitor, tuple(methods)
        if self.is_instrumented_by_opentelemetry:
            self._wrap()

    def _instrument(self, **kwargs: Any) -> None:  # noqa: ANN401  # of the base class
        self._own, self._meter_provider = {}, kwargs.get("meter_provider")
        try:
            self._served = ServedModel.from_settings(kwargs, os.environ)
        except OtelMLMetricsError as error:  # a server starts, whatever its telemetry is told
            _say_once(str(error))
        if self._served or self._registered:
            self._wrap()

    def _uninstrument(self, **_: Any) -> None:  # noqa: ANN401  # of the base class
        if self._wrapping is not None:
            self._wrapping.undo()
        for made in self._own.values():
            if made is not None:
                made.shutdown()
        self._served, self._wrapping = None, None

    def _wrap(self) -> None:
        if self._wrapping is not None:
            return
        from sklearn.base import BaseEstimator  # noqa: PLC0415  # seconds, for those alone who named a model

        self._wrapping = MethodWrapping(BaseEstimator, METHODS, self._observe)
        self._wrapping.apply()

    def _observe(self, owner: Any, method: str, call: Callable[[], Any], features: Any) -> Any:  # noqa: ANN401  # of scikit-learn
        caller = str(sys._getframe(2).f_globals.get("__name__"))  # noqa: SLF001  # CPython's only way to see who asks
        nested = _inside.get() or caller.startswith("sklearn.")
        monitor = None if nested else self._monitor_of(owner, method)
        started = time.perf_counter()
        result = _called_inside(call) if nested or monitor else call()
        if monitor is None:
            return result
        seconds = time.perf_counter() - started
        try:
            columns = predictions(owner, method, result) | _declared(monitor, features)
        except Exception as error:  # noqa: BLE001  # the fence: an estimator may give anything
            monitor.refuse(error)
        else:
            monitor.record_batch(**columns, duration=seconds)
        return result

    def _monitor_of(self, estimator: Any, method: str) -> ModelMonitor | None:  # noqa: ANN401  # of scikit-learn
        try:
            registered = self._registered.get(estimator)
            if registered is not None:
                return registered[0] if method in registered[1] else None
            return self._own_monitor(estimator, method)
        except Exception as error:  # noqa: BLE001  # the fence: the server answers, whatever becomes of its telemetry
            _say_once(f"{type(estimator).__name__} does not say what it is: {type(error).__name__}")
            return None

    def _own_monitor(self, estimator: Any, method: str) -> ModelMonitor | None:  # noqa: ANN401  # of scikit-learn
        served = self._served
        task = None if served is None or method not in served.methods else task_of(estimator)
        if served is None or task is None:
            return None
        if task not in self._own:
            made = None if self._own else self._made(served, task)
            self._own.setdefault(task, made)  # atomic: of two threads the first
            if len(self._own) > 1:
                _say_once(_SEVERAL.format(served.model, task, type(estimator).__name__))
        return self._own[task]

    def _made(self, served: ServedModel, task: Task) -> ModelMonitor | None:
        try:
            return served.monitor(task, self._meter_provider)
        except OtelMLMetricsError as error:
            _say_once(str(error))
            return None


_SEVERAL: Final = (
    "the model {!r} is of another kind than {}, which {} is. "
    "Register the estimators of a process that serves several models."
)


@cache
def _say_once(message: str) -> None:
    _logger.warning("Predictions of scikit-learn are not recorded: %s", message)


def _called_inside(call: Callable[[], Any]) -> Any:  # noqa: ANN401  # of scikit-learn
    token = _inside.set(True)
    try:
        return call()
    finally:
        _inside.reset(token)


def task_of(estimator: Any) -> Task | None:  # noqa: ANN401  # of scikit-learn
    """What a fitted estimator does; None if it is neither a classifier of one output nor a regressor."""
    from sklearn.base import is_classifier, is_regressor  # noqa: PLC0415  # loaded by then

    if is_regressor(estimator):
        return "regression"
    classes = getattr(estimator, "classes_", None)
    if not is_classifier(estimator) or classes is None or isinstance(classes, list):
        return None
    return "binary" if len(classes) == 2 else "multiclass"  # noqa: PLR2004  # binary is two


def predictions(estimator: Any, method: str, result: Any) -> dict[str, Any]:  # noqa: ANN401  # of scikit-learn
    """What an estimator gave, as columns of a monitor: `score`, or `prediction`.

    Raises:
        ValueError: It has several outputs.
    """
    values = np.asarray(result)
    if method == "predict_proba":
        return {"score": _scores(values)}
    decided = _one_per_row(values)
    task = task_of(estimator)
    if task == "binary":
        return {"prediction": decided == estimator.classes_[1]}
    return {"prediction": decided.astype(np.str_) if task == "multiclass" else decided}


def _scores(values: NDArray[Any]) -> Any:  # noqa: ANN401  # one array, or one per row
    if values.ndim != 2:  # noqa: PLR2004  # rows and classes
        message = f"Expected one probability per row and class, found an array of shape {values.shape}."
        raise ValueError(message)
    return values[:, 1] if values.shape[1] == 2 else list(values)  # noqa: PLR2004  # binary is two


def _one_per_row(values: NDArray[Any]) -> NDArray[Any]:
    flat = values.reshape(-1)
    if len(flat) != len(values):
        message = f"Expected one prediction per row, found an array of shape {values.shape}: several outputs."
        raise ValueError(message)
    return flat


def _declared(monitor: ModelMonitor, features: Any) -> dict[str, Any]:  # noqa: ANN401  # a table of any library
    """The slices and fields of a monitor that are columns of the features; none if those are no table."""
    known = getattr(features, "columns", None)
    return {} if known is None else {name: features[name] for name in monitor.declared if name in known}
