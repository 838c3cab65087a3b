"""What every measure of the table should give: scikit-learn's number, or that of a few naive lines.

Each takes plain arrays of complete rows; None stands for undefined.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from otel_ml_metrics.binning import logit_bins

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Columns = dict[str, "NDArray[Any]"]


def _decided(found: Callable[..., float], needs: Callable[[Any, Any], Any] = lambda *_: True) -> Any:
    def reference(columns: Columns) -> float | None:
        truth, decided = columns["label"], columns["prediction"]
        return float(found(truth, decided)) if len(truth) and needs(truth, decided) else None

    return reference


def _two_classes(truth: Any, _: Any) -> bool:
    return bool(truth.any() and not truth.all())


def _varies(truth: Any, decided: Any) -> bool:
    return _two_classes(truth, None) and _two_classes(decided, None)


def _scored(found: Callable[..., float]) -> Any:
    """Of label and score, where there are both classes."""

    def reference(columns: Columns) -> float | None:
        truth, score = columns["label"], columns["score"]
        return float(found(truth, score)) if _two_classes(truth, None) else None

    return reference


def _log_loss(truth: Any, score: Any) -> float:
    return float(-np.log(np.maximum(np.where(truth, score, 1 - score), 1e-15)).mean())


def _ks(truth: Any, score: Any) -> float:
    gaps = [abs((score[truth] <= cut).mean() - (score[~truth] <= cut).mean()) for cut in score]
    return float(max(gaps))


def top_hits(truth: Any, score: Any, share: float) -> float:
    """Positives in the top share of the rows, ties sharing what is left."""
    left, hits = share * len(truth), 0.0
    for cut in sorted(set(score), reverse=True):
        tied = score == cut
        taken = min(left, tied.sum())
        hits += taken * truth[tied].mean()
        left -= taken
    return hits


def groups(columns: Columns) -> list[tuple[float, float, float]]:
    """Rows, prevalence and mean score of up to 15 groups of neighbouring score bins."""
    bins = logit_bins(columns["score"])
    n = len(bins)
    merged: dict[int, list[int]] = {}
    for place in sorted(set(bins)):
        rows = np.flatnonzero(bins == place)
        middle = ((bins < place).sum() + len(rows) / 2) / n
        merged.setdefault(min(int(middle * 15), 14), []).extend(rows)
    return [
        (len(rows), float(columns["label"][rows].mean()), float(columns["score"][rows].mean()))
        for rows in merged.values()
    ]


def _calibrated(found: Callable[[list[tuple[float, float, float]], float], float]) -> Any:
    return lambda columns: found(groups(columns), len(columns["label"])) if len(columns["label"]) else None


def _by_chance(rows: float, share: float, score: float) -> float:
    """What noise adds to a gap, from the integral of |gap + noise|."""
    deviation, gap = math.sqrt(share * (1 - share) / rows), abs(share - score)
    noise = np.linspace(-12, 12, 40_001)
    density = np.exp(-(noise**2) / 2) / math.sqrt(2 * math.pi)
    return float((np.abs(gap + deviation * noise) * density).sum() * (noise[1] - noise[0])) - gap


def _slope(columns: Columns) -> float | None:
    """Logistic regression on the log-odds of the mean score of each bin, almost without regularisation."""
    truth, bins = columns["label"], logit_bins(columns["score"])
    if not _two_classes(truth, None):
        return None
    means = {place: columns["score"][bins == place].mean() for place in set(bins)}
    with np.errstate(divide="ignore"):
        odds = np.array([np.clip(np.log(means[b]) - np.log1p(-means[b]), -16, 16) for b in bins])
    if odds[truth].min() >= odds[~truth].max() or odds[~truth].min() >= odds[truth].max():
        return None
    fitted = LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000, solver="newton-cholesky").fit(odds[:, None], truth)
    return float(fitted.coef_[0, 0])


def _spiegelhalter(columns: Columns) -> float | None:
    truth, score = columns["label"], columns["score"]
    variance = ((1 - 2 * score) ** 2 * score * (1 - score)).sum()
    return float(((truth - score) * (1 - 2 * score)).sum() / math.sqrt(variance)) if variance > 1e-4 else None


def _of_numbers(found: Callable[..., float], keep: Callable[[Any, Any], Any] | None = None) -> Any:
    def reference(columns: Columns) -> float | None:
        truth, predicted = columns["label"], columns["prediction"]
        if keep is not None:
            kept = keep(truth, predicted)
            truth, predicted = truth[kept], predicted[kept]
        return float(found(truth, predicted)) if len(truth) else None

    return reference


def _if_labels_vary(found: Callable[..., float]) -> Any:
    return lambda columns: (
        float(found(columns["label"], columns["prediction"])) if len(set(columns["label"])) > 1 else None
    )


def _smape(truth: Any, predicted: Any) -> float:
    size = np.abs(truth) + np.abs(predicted)
    return float(np.where(size > 0, 2 * np.abs(truth - predicted) / np.where(size > 0, size, 1), 0).mean())


def _between_groups(rate: Callable[..., Any], compare: Callable[[list[float]], float | None]) -> Any:
    """A rate of each carrier that has one, as naive as can be, and what is made of them."""

    def reference(columns: Columns) -> float | None:
        truth, decided, carrier = columns["label"], columns["prediction"], columns["carrier"]
        rates = [rate(truth[carrier == each], decided[carrier == each]) for each in set(carrier)]
        defined = [float(found) for found in rates if found is not None]
        return compare(defined) if len(defined) > 1 else None

    return reference


def _share_of(rows: Any, hits: Any) -> float | None:
    return float(hits[rows].mean()) if rows.any() else None


_RATES: Final[dict[str, list[Callable[..., Any]]]] = {
    "demographic_parity": [lambda _, d: _share_of(np.ones(len(d), dtype=bool), d)],
    "equal_opportunity": [_share_of],
    "equalized_odds": [_share_of, lambda y, d: _share_of(~y, d)],
    "predictive_parity": [lambda y, d: _share_of(d, y)],
}


def _worst(rates: list[Callable[..., Any]], compare: Callable[[list[float]], float | None], worst: Any) -> Any:
    def reference(columns: Columns) -> float | None:
        found = [_between_groups(rate, compare)(columns) for rate in rates]
        return None if None in found else worst(found)

    return reference


FAIRNESS: Final[dict[str, Callable[[Columns], float | None]]] = {
    **{
        f"{name}_difference": _worst(rates, lambda found: max(found) - min(found), max)
        for name, rates in _RATES.items()
    },
    **{
        f"{name}_ratio": _worst(rates, lambda found: min(found) / max(found) if max(found) else None, min)
        for name, rates in _RATES.items()
    },
}  # fmt: skip
REFERENCES: Final[dict[str, Callable[[Columns], float | None]]] = {
    "accuracy": _decided(metrics.accuracy_score),
    "precision": _decided(metrics.precision_score, lambda _, decided: decided.any()),
    "recall": _decided(metrics.recall_score, lambda truth, _: truth.any()),
    "specificity": _decided(lambda y, d: metrics.recall_score(y, d, pos_label=False), lambda y, _: not y.all()),
    "f1": _decided(metrics.f1_score, lambda truth, decided: truth.any() or decided.any()),
    "fbeta": _decided(lambda y, d: metrics.fbeta_score(y, d, beta=2), lambda y, d: y.any() or d.any()),
    "balanced_accuracy": _decided(metrics.balanced_accuracy_score, _two_classes),
    "matthews_corrcoef": _decided(metrics.matthews_corrcoef, _varies),
    "cohen_kappa": _decided(metrics.cohen_kappa_score, lambda y, d: len(set(y) | set(d)) > 1),
    "prevalence": _decided(lambda y, _: y.mean()),
    "predicted_prevalence": _decided(lambda _, d: d.mean()),
    "log_loss": lambda columns: _log_loss(columns["label"], columns["score"]) if len(columns["label"]) else None,
    "brier_score": lambda columns: (
        float(((columns["score"] - columns["label"]) ** 2).mean()) if len(columns["label"]) else None
    ),
    "calibration_in_the_large": lambda columns: (
        float((columns["score"] - columns["label"]).mean()) if len(columns["label"]) else None
    ),
    "spiegelhalter_z": _spiegelhalter,
    "roc_auc": _scored(metrics.roc_auc_score),
    "gini": _scored(lambda y, score: 2 * metrics.roc_auc_score(y, score) - 1),
    "average_precision": _scored(metrics.average_precision_score),
    "ks": _scored(_ks),
    "precision_at_top": lambda columns: (
        top_hits(columns["label"], columns["score"], 0.1) / (0.1 * len(columns["label"]))
        if len(columns["label"])
        else None
    ),
    "lift": lambda columns: (
        top_hits(columns["label"], columns["score"], 0.1) / columns["label"].sum() / 0.1
        if columns["label"].any()
        else None
    ),
    "expected_calibration_error": _calibrated(lambda found, n: sum(r / n * abs(y - p) for r, y, p in found)),
    "expected_calibration_error_debiased": _calibrated(
        lambda found, n: max(0.0, sum(r / n * (abs(y - p) - _by_chance(r, y, p)) for r, y, p in found))
    ),
    "maximum_calibration_error": _calibrated(lambda found, _: max(abs(y - p) for _, y, p in found)),
    "brier_reliability": _calibrated(lambda found, n: sum(r / n * (y - p) ** 2 for r, y, p in found)),
    "brier_resolution": _calibrated(
        lambda found, n: sum(r / n * (y - sum(r * y for r, y, _ in found) / n) ** 2 for r, y, _ in found)
    ),
    "brier_uncertainty": lambda columns: float(np.var(columns["label"])) if len(columns["label"]) else None,
    "calibration_slope": _slope,
    "mean_error": _of_numbers(lambda y, p: (p - y).mean()),
    "mean_absolute_error": _of_numbers(metrics.mean_absolute_error),
    "mean_squared_error": _of_numbers(metrics.mean_squared_error),
    "root_mean_squared_error": _of_numbers(metrics.root_mean_squared_error),
    "mean_absolute_percentage_error": _of_numbers(metrics.mean_absolute_percentage_error, lambda y, _: y != 0),
    "smape": _of_numbers(_smape),
    "rmsle": _of_numbers(metrics.root_mean_squared_log_error, lambda y, p: (y > -1) & (p > -1)),
    "r2": _if_labels_vary(metrics.r2_score),
    "explained_variance": _if_labels_vary(metrics.explained_variance_score),
    "pinball_loss": _of_numbers(metrics.mean_pinball_loss),
    "interval_coverage": lambda columns: (
        float(((columns["lower"] <= columns["label"]) & (columns["label"] <= columns["upper"])).mean())
        if len(columns["label"])
        else None
    ),
    **FAIRNESS,
    "error_quantile": _of_numbers(lambda y, p: np.quantile(p - y, 0.9, method="inverted_cdf")),
    "absolute_error_quantile": _of_numbers(lambda y, p: np.quantile(np.abs(p - y), 0.5, method="inverted_cdf")),
}
