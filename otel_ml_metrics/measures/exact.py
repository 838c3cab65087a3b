"""Measures that are no function of sums: any callable, computed anew from the joined rows of a window.

Four kinds of callables are taken as they are:

- a function `f(label, score)`, named `package.module:function`;
- a function or scorer of scikit-learn by its name, such as `log_loss` or `neg_log_loss`;
- a Keras metric, an object with `update_state(label, score)` and `result()`, and `reset_state()` if it is used again;
- a TorchMetrics metric, an object with `update(score, label)` and `compute()`, and `reset()`.

A class of one of the latter two is called once without arguments for every value. What takes a `sample_weight` besides
is given the weights of the rows where the measure is weighted. The same rows have to give the same number every time:
a run that is repeated says again what it said.
"""

from __future__ import annotations

import functools
import inspect
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otel_ml_metrics.errors import ConfigurationError, MissingExtraError, suggest
from otel_ml_metrics.importable import imported
from otel_ml_metrics.measures.facts import Facts
from otel_ml_metrics.measures.measure import Direction, Undefined
from otel_ml_metrics.measures.multiclass import score_column

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_OF_SCORES: Final = frozenset({"log_loss", "hinge_loss", "d2_log_loss_score", "d2_brier_score"})
"""Functions of scikit-learn that call scores `y_pred`."""

_KNOWS_CLASSES: Final = _OF_SCORES - {"hinge_loss"}
"""Those that take the classes as `labels`, and guess them from the rows otherwise, which fails where one is missing."""

_WEIGHTS: Final = "sample_weight"


@dataclass(frozen=True, kw_only=True)
class Exact:
    """A measure computed by a callable of the user from the rows themselves.

    Args:
        name: Name of the measure; the metric is `ml.evaluation.<name>`.
        unit: UCUM.
        description: One sentence.
        callable: From label and the column `of`, each an array of shape (n,) and in one order, to a number. Where it
            has a parameter `sample_weight`, it can be weighted.
        direction: Whether a `higher` or a `lower` value is better, or `none`.
        of: Column that the callable is given beside the label: `score`, `prediction` for decisions, or any field; None
            for the score, and in regression for the prediction.
        weighted: Whether it is given the weights of the rows.
        classes: Of a multiclass task. There a score has shape (n, classes), and the label beside it is the place of
            the class, from 0; beside a decision it is the name of the class.
        query: Column of the query that a row is of, where the measure ranks: the callable is then given shape (n, 2),
            the column `of` and the query, as objects.
        source: How it was named.

    Raises:
        ConfigurationError: Name, unit, description or direction cannot be used, or it cannot be called so.
    """

    name: str
    unit: str
    description: str
    callable: Callable[..., Any]
    direction: Direction = "none"
    of: str | None = None
    weighted: bool = False
    classes: tuple[str, ...] = ()
    query: str | None = None
    source: str = "declared by the user"

    def __post_init__(self) -> None:
        Facts(name=self.name, unit=self.unit, description=self.description, direction=self.direction)
        _check_call(self.callable, self.source)

    @property
    def given(self) -> tuple[str, ...]:
        """Columns that the callable is given beside the label: one, the score of each class, or score and query."""
        if self.query is not None:
            return (self.of or "score", self.query)
        if self.of == "score" and self.classes:
            return tuple(map(score_column, range(len(self.classes))))
        return (self.of or "score",)

    @property
    def key(self) -> str:
        """Tells it from others of its name."""
        by_query = "" if self.query is None else f", by {self.query}"
        return f"exact[{self.source} of {self.of}{by_query}{', weighted' if self.weighted else ''}]"

    def columns(self) -> frozenset[str]:
        """Names of the columns that a row needs."""
        return frozenset({"label", *self.given, *(["weight"] if self.weighted else [])})

    def fitted(self, task: str, classes: Sequence[str] = (), *, weighted: bool = False) -> Exact:
        """The measure as an evaluation uses it.

        Raises:
            ConfigurationError: It is to be weighted, and takes no weights; or it is to read what is no plain column.
        """
        if task == "multilabel" or (task == "quantile" and self.of in {None, "score"}):
            wants = "say of: prediction" if task == "quantile" else "leave it out"
            message = f"{self.name!r} takes one value per row, which a {task} task does not have there; {wants}."
            raise ConfigurationError(message, "of")
        is_weighted = self.weighted or weighted
        if is_weighted and _WEIGHTS not in _parameters(self.callable):
            message = (
                f"{self.name!r} is to be weighted, but {self.source} has no parameter {_WEIGHTS}. Say weighted: false"
                " for it, or give it that parameter."
            )
            raise ConfigurationError(message, "weighted")
        of = self.of or ("prediction" if task == "regression" else "score")
        return replace(self, of=of, weighted=is_weighted, classes=tuple(classes) if task == "multiclass" else ())

    def value(
        self, label: NDArray[Any], score: NDArray[Any], weight: NDArray[np.float64] | None = None
    ) -> float | Undefined:
        """The value over some rows, or why there is none.

        Args:
            label: Shape (n,), ground truth, no gaps.
            score: Shape (n,) or (n, classes), of the same rows, no gaps.
            weight: Shape (n,), at least 0; None where rows are not weighted.
        """
        if not len(label):
            return Undefined("no_rows")
        if weight is not None and not weight.any():
            return Undefined("no_weight")
        try:
            said = self.callable(label, score, **({} if weight is None else {_WEIGHTS: weight}))
            if isinstance(said, Undefined):
                return said
            found = float(said)
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
    found = _named(exact) if isinstance(exact, str) else exact
    callable_, reads = resolve(found)
    return Exact(
        name=name,
        unit=unit,
        description=description,
        callable=callable_,
        direction=direction,
        of=of or reads,
        source=exact if isinstance(exact, str) else _place(exact),
    )


def _named(exact: str) -> object:
    return imported(exact) if ":" in exact else _of_scikit_learn(exact)


def _place(found: object) -> str:
    """Where a callable, or the class of an object, is defined."""
    kind = found if hasattr(found, "__qualname__") else type(found)
    return f"{kind.__module__}:{getattr(kind, '__qualname__', '')}"


def resolve(found: object) -> tuple[Callable[..., Any], str | None]:
    """A function of (label, score) that does what something does, with its signature, and the column that it is for."""
    if hasattr(found, "_score_func"):
        return _of_scorer(found)
    make = found if inspect.isclass(found) else lambda: found
    for update, result, reset, call in _METRICS:
        if hasattr(found, update) and hasattr(found, result):
            if not (inspect.isclass(found) or hasattr(found, reset)):
                message = (
                    f"{found!r:.100} has no {reset}, so it cannot be used again and again. Give its class instead."
                )
                raise ConfigurationError(message, "exact")
            told = getattr(_made(make), update)
            return functools.wraps(told)(functools.partial(call, make)), None
    if callable(found) and not inspect.isclass(found):
        return _of_function(found)
    message = (
        f"{found!r:.100} is neither a function f(label, score), nor a metric with update_state and result (Keras) or"
        " update and compute (TorchMetrics)."
    )
    raise ConfigurationError(message, "exact")


def _made(make: Callable[[], Any]) -> Any:  # noqa: ANN401  # a metric of any library
    try:
        return make()
    except TypeError as error:
        message = f"{make!r:.100} cannot be made without arguments: {error}. Give an object of it instead."
        raise ConfigurationError(message, "exact") from error


def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some that are written in C do not say
        return frozenset()


def _check_call(function: Callable[..., Any], source: str) -> None:
    """See that a function takes two arrays, as far as it says what it takes."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind("label", "score")
    except TypeError as error:
        message = f"{source} takes {signature}, and is going to be called with (label, score): {error}."
        raise ConfigurationError(message, "exact") from error


def _updated(make: Callable[[], Any], label: NDArray[Any], score: NDArray[Any], **weights: NDArray[Any]) -> float:
    metric = make()
    if hasattr(metric, "reset_state"):
        metric.reset_state()
    metric.update_state(label.astype(np.float64) if label.dtype == np.bool_ else label, score, **weights)
    return _number(metric.result())


def _computed(make: Callable[[], Any], label: NDArray[Any], score: NDArray[Any], **weights: NDArray[Any]) -> float:
    metric = make()
    if hasattr(metric, "reset"):
        metric.reset()
    tensor, target = _tensors(metric), label.astype(np.int64) if label.dtype == np.bool_ else label
    metric.update(tensor(score), tensor(target), **{name: tensor(each) for name, each in weights.items()})
    return _number(metric.compute())


_METRICS: Final = (
    ("update_state", "result", "reset_state", _updated),
    ("update", "compute", "reset", _computed),
)
"""What metrics are updated, asked and reset by, of Keras and of TorchMetrics, and what does that."""


def _tensors(metric: object) -> Callable[[NDArray[Any]], Any]:
    """What makes the arrays that a metric works on: tensors where it is a module of torch."""
    if not any(kind.__module__.partition(".")[0] == "torch" for kind in type(metric).__mro__):
        return np.asarray
    import torch  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # whoever has the metric has it

    made: Callable[[NDArray[Any]], Any] = torch.as_tensor
    return made


def _number(found: Any) -> float:  # noqa: ANN401  # a scalar of any library
    return float(found.numpy() if hasattr(found, "numpy") else found)


def _of_scikit_learn(name: str) -> object:
    """A scorer, or else a function, of scikit-learn."""
    try:
        from sklearn import metrics  # noqa: PLC0415  # an extra: only who names one of its measures needs it
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "demo", f"The exact measure {name!r}") from error  # noqa: EM101  # fields, no message
    scorers = metrics.get_scorer_names()
    if name in scorers:
        scorer: object = metrics.get_scorer(name)
        return scorer
    function = getattr(metrics, name, None)
    if not inspect.isfunction(function):
        known = [*scorers, *(each for each in metrics.__all__ if inspect.isfunction(getattr(metrics, each)))]
        message = f"{name!r} is no function or scorer of sklearn.metrics. {suggest(name, known)}"
        raise ConfigurationError(message, "exact")
    return function


def _of_function(function: Callable[..., Any]) -> tuple[Callable[..., Any], str | None]:
    """A function as it is; of scikit-learn's it is known what they read, and which classes there are."""
    name = getattr(function, "__name__", "")
    if not str(getattr(function, "__module__", "")).startswith("sklearn."):
        return function, None
    if name in _KNOWS_CLASSES:
        return functools.wraps(function)(functools.partial(_with_classes, function)), "score"
    takes = list(inspect.signature(function).parameters)[1:2]
    return function, "prediction" if takes == ["y_pred"] and name not in _OF_SCORES else "score"


def _with_classes(
    function: Callable[..., Any],
    label: NDArray[Any],
    score: NDArray[Any],
    **others: Any,  # noqa: ANN401  # passed on
) -> Any:  # noqa: ANN401  # a scalar of any library
    """Call a function with all classes that there are, where a label of theirs may be missing."""
    if label.dtype == np.bool_:
        others["labels"] = [False, True]
    elif score.ndim > 1:
        others["labels"] = list(range(score.shape[1]))
    return function(label, score, **others)


def _of_scorer(scorer: Any) -> tuple[Callable[..., Any], str | None]:  # noqa: ANN401  # scikit-learn ships no types
    """A scorer's function, sign and arguments, without the estimator that it is made for."""
    sign, arguments = scorer._sign, scorer._kwargs  # noqa: SLF001  # there is no public way
    inner, _ = _of_function(scorer._score_func)  # noqa: SLF001  # there is no public way
    reads = "prediction" if scorer._response_method == "predict" else "score"  # noqa: SLF001  # there is no public way

    @functools.wraps(inner)
    def signed(label: NDArray[Any], found: NDArray[Any], **weights: NDArray[Any]) -> Any:  # noqa: ANN401  # a scalar
        return sign * inner(label, found, **arguments, **weights)

    return signed, reads
