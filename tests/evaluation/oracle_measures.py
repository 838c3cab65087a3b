"""The measures once more, row by row, for the oracle; of the package nothing is imported."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HALF_A_UNIT: Final = 2.0**-31
ROUNDING: Final = 1e-12


class Row(NamedTuple):
    """A prediction as it lies in a segment; None where a field is missing.

    Args:
        customer: The entity that it is about; together with `region` where two fields name one.
    """

    id: str
    predicted_us: int
    segment: str
    score: float | None
    prediction: Any
    fare: float | None
    carrier: str | None
    origin: str | None
    version: str
    variant: str
    customer: int | None = None
    region: str | None = None


class Labelled(NamedTuple):
    """A prediction with the label that is known of it (None where none is), and whether somebody said so."""

    row: Row
    label: Any
    explicit: bool


Given = tuple[float, int, float] | tuple[float, int, float, float] | None
"""Value, support, how far off fixed point may be, and of binned measures the exact value."""


def _decided(rows: Sequence[Labelled]) -> tuple[int, int, int, int]:
    pairs = [(each.label, each.row.prediction) for each in rows if each.row.prediction is not None]
    tp, fp, fn, tn = (
        pairs.count(pair) for pair in ((True, True), (False, True), (True, False), (False, False))
    )  # fmt: skip
    return tp, fp, fn, tn


def _accuracy(rows: Sequence[Labelled]) -> Given:
    tp, fp, fn, tn = _decided(rows)
    n = tp + fp + fn + tn
    return ((tp + tn) / n, n, ROUNDING) if n else None


def _precision(rows: Sequence[Labelled]) -> Given:
    tp, fp, fn, tn = _decided(rows)
    return (tp / (tp + fp), tp + fp + fn + tn, ROUNDING) if tp + fp else None


def _recall(rows: Sequence[Labelled]) -> Given:
    tp, fp, fn, tn = _decided(rows)
    return (tp / (tp + fn), tp + fp + fn + tn, ROUNDING) if tp + fn else None


def _f1(rows: Sequence[Labelled]) -> Given:
    tp, fp, fn, tn = _decided(rows)
    return (2 * tp / (2 * tp + fp + fn), tp + fp + fn + tn, ROUNDING) if 2 * tp + fp + fn else None


def _probabilities(rows: Sequence[Labelled]) -> list[tuple[bool, float]]:
    scored = [(each.label, each.row.score) for each in rows]
    return [(label, score) for label, score in scored if score is not None and 0 <= score <= 1]


def _log_loss(rows: Sequence[Labelled]) -> Given:
    pairs = _probabilities(rows)
    losses = [-math.log(max(score if label else 1 - score, 1e-15)) for label, score in pairs]
    return (sum(losses) / len(losses), len(losses), HALF_A_UNIT + ROUNDING) if losses else None


def _brier_score(rows: Sequence[Labelled]) -> Given:
    gaps = [(score - label) ** 2 for label, score in _probabilities(rows)]
    return (sum(gaps) / len(gaps), len(gaps), HALF_A_UNIT + ROUNDING) if gaps else None


def bin_of(score: float | None) -> int | None:
    """1,024 bins even in log-odds over ±16, as the prediction log declares them."""
    if score is None or not 0 <= score <= 1:
        return None
    odds = -math.inf if score == 0 else math.inf if score == 1 else math.log(score / (1 - score))
    return int(min(max((odds + 16) / 32 * 1024, 0), 1023))


def _roc_auc(rows: Sequence[Labelled]) -> Given:
    pairs = _probabilities(rows)
    positives, negatives = ([score for label, score in pairs if label is side] for side in (True, False))
    if not (positives and negatives):
        return None

    def area(place: Callable[[float], Any]) -> float:
        pairs = [(place(above), place(below)) for above in positives for below in negatives]
        return float(sum((above > below) + (above == below) / 2 for above, below in pairs)) / len(pairs)

    return area(bin_of), len(pairs), ROUNDING, area(lambda score: score)


def _fares(rows: Sequence[Labelled]) -> list[tuple[Any, Any, float]]:
    return [(each.label, each.row.prediction, each.row.fare) for each in rows if each.row.fare is not None]


def _missed_fares(rows: Sequence[Labelled]) -> Given:
    fares = [(label, prediction, fare) for label, prediction, fare in _fares(rows) if prediction is not None]
    lost = [fare for label, prediction, fare in fares if label and not prediction]
    return (sum(lost), len(fares), HALF_A_UNIT * len(fares)) if fares else None


def _mean_stake(rows: Sequence[Labelled]) -> Given:
    stakes = [fare if prediction else 1 for _, prediction, fare in _fares(rows) if prediction is not None]
    return (sum(stakes) / len(stakes), len(stakes), HALF_A_UNIT + ROUNDING) if stakes else None


def _late_share(rows: Sequence[Labelled]) -> Given:
    fares = _fares(rows)
    whole = sum(fare for *_, fare in fares)
    return (sum(fare for label, _, fare in fares if label) / whole, len(fares), 1e-6) if whole else None


def _fares_at_stake(rows: Sequence[Labelled]) -> Given:
    fares = _fares(rows)
    return (sum(fare for *_, fare in fares), len(fares), HALF_A_UNIT * len(fares)) if fares else None


def _errors(rows: Sequence[Labelled]) -> list[float]:
    return [each.row.prediction - each.label for each in rows if each.row.prediction is not None]


def _mean_error(rows: Sequence[Labelled]) -> Given:
    errors = _errors(rows)
    return (sum(errors) / len(errors), len(errors), 2 * HALF_A_UNIT) if errors else None


def _mean_absolute_error(rows: Sequence[Labelled]) -> Given:
    errors = _errors(rows)
    return (sum(map(abs, errors)) / len(errors), len(errors), 2 * HALF_A_UNIT) if errors else None


def _mean_squared_error(rows: Sequence[Labelled]) -> Given:
    errors = _errors(rows)
    return (sum(error**2 for error in errors) / len(errors), len(errors), 2.0**-25 + ROUNDING) if errors else None


def _paid(rows: Sequence[Labelled]) -> Given:
    return (sum(each.label for each in rows), len(rows), HALF_A_UNIT * len(rows)) if rows else None


MEASURES: Final[dict[str, dict[str, Callable[[Sequence[Labelled]], Given]]]] = {
    "binary": {
        "accuracy": _accuracy,
        "precision": _precision,
        "recall": _recall,
        "f1": _f1,
        "log_loss": _log_loss,
        "brier_score": _brier_score,
        "roc_auc": _roc_auc,
        "missed_fares": _missed_fares,
        "mean_stake": _mean_stake,
        "late_share": _late_share,
        "fares_at_stake": _fares_at_stake,
    },
    "regression": {
        "mean_error": _mean_error,
        "mean_absolute_error": _mean_absolute_error,
        "mean_squared_error": _mean_squared_error,
        "paid": _paid,
        "fares_at_stake": _fares_at_stake,
    },
}
"""By task."""


def _in_order(rows: Sequence[Labelled], of: str) -> list[tuple[float, float]]:
    """Label and score (or prediction), by the id of the prediction."""
    placed = sorted((each.row.id, float(each.label), getattr(each.row, of)) for each in rows)
    return [(label, found) for _, label, found in placed if found is not None]


def _ranked_gap(of: str) -> Callable[[Sequence[Labelled]], Given]:
    """What depends on the order of the rows."""

    def measure(rows: Sequence[Labelled]) -> Given:
        pairs = _in_order(rows, of)
        gaps = [(place + 1) * (found - label) for place, (label, found) in enumerate(pairs)]
        return (sum(gaps) / len(gaps), len(gaps), ROUNDING) if gaps else None

    return measure


def _middle_gap(of: str) -> Callable[[Sequence[Labelled]], Given]:
    """What is no function of sums, and refuses single rows."""

    def measure(rows: Sequence[Labelled]) -> Given:
        gaps = [abs(found - label) for label, found in _in_order(rows, of)]
        return (statistics.median(gaps), len(gaps), ROUNDING) if len(gaps) > 1 else None

    return measure


EXACT: Final[dict[str, dict[str, Callable[[Sequence[Labelled]], Given]]]] = {
    "binary": {"ranked_gap": _ranked_gap("score"), "middle_gap": _middle_gap("score")},
    "regression": {"ranked_gap": _ranked_gap("prediction"), "middle_gap": _middle_gap("prediction")},
}
"""Exact measures by task: any function of the rows, by the id of the prediction."""

DECLARED: Final[dict[str, Any]] = {
    "missed_fares": {
        "unit": "USD",
        "sum": "fare * (label & ~prediction)",
        "description": "Not foreseen",
    },
    "mean_stake": {"unit": "USD", "mean": "where(prediction, fare, 1)", "description": "Stake per row"},
    "late_share": {
        "unit": "1",
        "ratio": {"numerator": "fare * label", "denominator": "fare"},
        "description": "Share of the fares",
    },
    "fares_at_stake": {"unit": "USD", "sum": "fare", "rows": "predictions", "description": "All fares"},
    "paid": {"unit": "USD", "sum": "label", "description": "All that was paid"},
    "ranked_gap": {"unit": "1", "exact": "tests.evaluation.callables:ranked_gap", "description": "By rank"},
    "middle_gap": {"unit": "1", "exact": "tests.evaluation.callables:middle_gap", "description": "In the middle"},
}
"""What an evaluation says about the measures that it declares itself."""


def declared(task: str, names: Sequence[str] | None = None) -> list[Any]:
    """Measures as an evaluation names or declares them; all of the task where none are named."""
    chosen = MEASURES[task] if names is None else names
    return [{"name": name, **DECLARED[name]} if name in DECLARED else name for name in chosen]
