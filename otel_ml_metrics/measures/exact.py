"""Measures that are no function of sums: any callable, computed anew from the joined rows of a window.

Four kinds of callables are taken as they are:

- a function `f(label, score)`, named `package.module:function`;
- a function or scorer of scikit-learn by its name, such as `log_loss` or `neg_log_loss`;
- a Keras metric, an object with `update_state(label, score)` and `result()`, and `reset_state()` if it is used again;
- a TorchMetrics metric, an object with `update(score, label)` and `compute()`, and `reset()`.

A class of one of the latter two is called once without arguments for every window.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otel_ml_metrics.errors import ConfigurationError, MissingExtraError, suggest
from otel_ml_metrics.importable import imported
from otel_ml_metrics.measures.facts import Facts
from otel_ml_metrics.measures.measure import Direction, Undefined

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_OF_SCORES: Final = frozenset({"log_loss", "hinge_loss", "d2_log_loss_score", "d2_brier_score"})
"""Functions of scikit-learn that call scores `y_pred`."""


@dataclass(frozen=True, kw_only=True)
class Exact:
    """A measure computed by a callable of the user from the rows themselves.

    Args:
        name: Name of the measure; the metric is `ml.evaluation.<name>`.
        unit: UCUM.
        description: One sentence.
        callable: From label and the column `of`, each an array of shape (n,) and in one order, to a number.
        direction: Whether a `higher` or a `lower` value is better, or `none`.
        of: Column that the callable is given beside the label: `score`, or `prediction` for decisions.
        source: How it was named.

    Raises:
        ConfigurationError: Name, unit, description or direction cannot be used.
    """

    name: str
    unit: str
    description: str
    callable: Callable[[NDArray[Any], NDArray[Any]], Any]
    direction: Direction = "none"
    of: str = "score"
    source: str = "declared by the user"

    def __post_init__(self) -> None:
        Facts(name=self.name, unit=self.unit, description=self.description, direction=self.direction)

    def value(self, label: NDArray[Any], score: NDArray[Any]) -> float | Undefined:
        """The value over some rows, or why there is none.

        Args:
            label: Shape (n,), ground truth, no gaps.
            score: Shape (n,), of the same rows, no gaps.
        """
        if not len(label):
            return Undefined("no_rows")
        try:
            found = float(self.callable(label, score))
        except Exception as error:  # noqa: BLE001  # code of the user: whatever it raises says that there is no value
            return Undefined(f"raised_{type(error).__name__}")
        return found if math.isfinite(found) else Undefined("not_finite")


def exact_measure(
    name: str,
    *,
    unit: str,
    exact: str | Callable[..., Any] | object,
    description: str,
    direction: Direction = "none",
    of: str | None = None,
) -> Exact:
    """A measure from any callable, metric class or metric object; see the module for what is taken.

    >>> loss = exact_measure("loss", unit="{nat}", exact="sklearn.metrics:log_loss", description="Mean surprise")
    >>> round(loss.value(np.array([True, False]), np.array([0.5, 0.5])), 3)
    0.693

    Raises:
        ConfigurationError: It cannot be found or called so.
        MissingExtraError: It is one of scikit-learn's, which is not installed.
    """
    callable_, reads = resolve(exact)
    return Exact(
        name=name,
        unit=unit,
        description=description,
        callable=callable_,
        direction=direction,
        of=of or reads,
        source=exact if isinstance(exact, str) else getattr(exact, "__qualname__", type(exact).__qualname__),
    )


def resolve(exact: object) -> tuple[Callable[..., Any], str]:
    """The callable that something names or is, and the column it reads beside the label."""
    if not isinstance(exact, str):
        return _as_callable(exact), "score"
    if ":" in exact:
        return _as_callable(imported(exact)), "score"
    return _of_scikit_learn(exact)


def _as_callable(found: object) -> Callable[..., Any]:
    """Whatever it is, as a function of (label, score)."""
    make = found if inspect.isclass(found) else None
    if hasattr(found, "update_state") and hasattr(found, "result"):
        return lambda label, score: _number(_updated(make() if make else found, "reset_state", label, score))
    if hasattr(found, "update") and hasattr(found, "compute"):
        return lambda label, score: _number(_computed(make() if make else found, label, score))
    if callable(found) and make is None:
        return found
    message = (
        f"{found!r:.100} is neither a function f(label, score), nor a metric with update_state and result (Keras) or"
        " update and compute (TorchMetrics)."
    )
    raise ConfigurationError(message, "exact")


def _updated(metric: Any, reset: str, label: NDArray[Any], score: NDArray[Any]) -> Any:  # noqa: ANN401  # of any library
    if hasattr(metric, reset):
        getattr(metric, reset)()
    metric.update_state(label.astype(np.float64), score)
    return metric.result()


def _computed(metric: Any, label: NDArray[Any], score: NDArray[Any]) -> Any:  # noqa: ANN401  # of any library
    import torch  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # whoever has the metric has it

    if hasattr(metric, "reset"):
        metric.reset()
    target = torch.as_tensor(label.astype(np.int64) if label.dtype == np.bool_ else label)
    metric.update(torch.as_tensor(score), target)
    return metric.compute()


def _number(found: Any) -> float:  # noqa: ANN401  # a scalar of any library
    return float(found.numpy() if hasattr(found, "numpy") else found)


def _of_scikit_learn(name: str) -> tuple[Callable[..., Any], str]:
    try:
        from sklearn import metrics  # noqa: PLC0415  # an extra: only who names one of its measures needs it
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "demo", f"The exact measure {name!r}") from error  # noqa: EM101  # fields, no message
    scorers = metrics.get_scorer_names()
    if name in scorers:
        return _of_scorer(metrics.get_scorer(name))
    function = getattr(metrics, name, None)
    if not inspect.isfunction(function):
        known = [*scorers, *(each for each in metrics.__all__ if inspect.isfunction(getattr(metrics, each)))]
        message = f"{name!r} is no function or scorer of sklearn.metrics. {suggest(name, known)}"
        raise ConfigurationError(message, "exact")
    takes = list(inspect.signature(function).parameters)[1:2]
    return function, "prediction" if takes == ["y_pred"] and name not in _OF_SCORES else "score"


def _of_scorer(scorer: Any) -> tuple[Callable[..., Any], str]:  # noqa: ANN401  # scikit-learn ships no types
    """A scorer's function, sign and arguments, without the estimator that it is made for."""
    function, sign, arguments = scorer._score_func, scorer._sign, scorer._kwargs  # noqa: SLF001  # there is no public way
    reads = "prediction" if scorer._response_method == "predict" else "score"  # noqa: SLF001  # there is no public way
    return (lambda label, found: sign * function(label, found, **arguments)), reads
