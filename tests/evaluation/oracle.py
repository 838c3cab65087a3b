"""The laws of evaluation once more, as slowly and plainly as possible: no sums, no buckets, no ledger, only rows.

Written from the design and not from the package, of which nothing is imported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MINUTE_US: Final = 60_000_000
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US

PREDICTION_COLUMNS: Final = (
    "id", "predicted_us", "segment", "score", "prediction", "fare", "carrier", "origin", "version", "variant",
)  # fmt: skip
FACT_COLUMNS: Final = ("id", "label", "received_us", "revision")
STATUSES: Final = ("matched", "revised", "duplicate", "late", "orphan")


class Key(NamedTuple):
    """What a value is the value of."""

    measure: str
    window_us: int
    maturity_us: int
    version: str | None
    variant: str | None
    slice: tuple[tuple[str, str], ...]
    stage: str = "final"


class Expected(NamedTuple):
    """A value, its support and coverage, how far off fixed point may be, and of binned measures the exact value."""

    value: float
    support: int
    coverage: float
    tolerance: float = 0.0
    exact: float | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the laws depend on. Durations in microseconds."""

    window_us: int = DAY_US
    offset_us: int = 0
    attribution_us: int = DAY_US
    maturities_us: tuple[int, ...] = ()
    grace_us: int | None = None
    slices: tuple[tuple[str, ...], ...] = ()
    by: tuple[str, ...] = ("version", "variant")
    provisional: bool = False

    @property
    def ages_us(self) -> list[int]:
        """Every maturity, ascending."""
        last = set() if self.grace_us is None else {self.attribution_us + self.grace_us}
        return sorted({*self.maturities_us, self.attribution_us} | last)


def values(predictions: pd.DataFrame, facts: pd.DataFrame, settings: Settings, as_of_us: int) -> dict[Key, Expected]:
    """Every value that may be given as of an instant."""
    found: dict[Key, Expected] = {}
    facts = facts[facts["received_us"] <= as_of_us]
    winners = counted(predictions)
    winners["window_us"] = [_start(each, settings.window_us, settings.offset_us) for each in winners["predicted_us"]]
    windows: list[tuple[Any, pd.DataFrame]] = list(winners.groupby("window_us"))
    for (window_us, rows), age_us in product(windows, settings.ages_us):
        judged = _old_enough(rows, int(window_us), age_us, settings, as_of_us)
        if judged is None:
            continue
        mature, stage = judged
        joined = _joined(mature, facts, age_us, settings)
        for version, variant, chosen, part in _parts(joined, settings):
            for measure, expected in _measured(part).items():
                found[Key(measure, int(window_us), age_us, version, variant, chosen, stage)] = expected
    return found


def statuses(predictions: pd.DataFrame, facts: pd.DataFrame, settings: Settings, as_of_us: int) -> dict[str, int]:
    """Labels by status as of an instant, and those that wait."""
    horizon_us = settings.ages_us[-1]
    counts = dict.fromkeys((*STATUSES, "waiting"), 0)
    predicted = counted(predictions).set_index("id")["predicted_us"].to_dict()
    for name, group in facts[facts["received_us"] <= as_of_us].groupby("id"):
        if name not in predicted:
            expired = int((group["received_us"] + horizon_us < as_of_us).sum())
            counts["orphan"] += expired
            counts["waiting"] += len(group) - expired
            continue
        late = group["received_us"] - predicted[name] > horizon_us
        counts["late"] += int(late.sum())
        before: Any = None
        for label in group[~late].sort_values(["received_us", "revision", "label"])["label"]:
            counts["matched" if before is None else "duplicate" if label == before else "revised"] += 1
            before = label
    return counts


def counted(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows that count: of an id that was logged twice, the smallest (predicted_at, segment name)."""
    return predictions.sort_values(["predicted_us", "segment"], kind="stable").drop_duplicates("id").copy()


def _start(instant_us: int, step_us: int, offset_us: int) -> int:
    return math.floor((instant_us - offset_us) / step_us) * step_us + offset_us


def _old_enough(
    rows: pd.DataFrame, window_us: int, age_us: int, settings: Settings, as_of_us: int
) -> tuple[pd.DataFrame, str] | None:
    """The rows of a window that are judged at an age, and the stage; None where none may be."""
    if window_us + settings.window_us + age_us <= as_of_us:
        return rows, "final"
    if not settings.provisional:
        return None
    tile_us = settings.window_us // 24
    tiles = rows["predicted_us"].map(lambda instant: _start(instant, tile_us, settings.offset_us))
    mature = rows[tiles + tile_us + age_us <= as_of_us]
    return (mature, "provisional") if len(mature) else None


def _joined(rows: pd.DataFrame, facts: pd.DataFrame, age_us: int, settings: Settings) -> pd.DataFrame:
    """Each row with the label that is known of it at an age, and whether somebody said so."""
    pairs = rows[["id", "predicted_us"]].merge(facts, on="id")
    young = pairs[pairs["received_us"] - pairs["predicted_us"] <= age_us]
    newest = young.sort_values(["received_us", "revision", "label"]).drop_duplicates("id", keep="last")
    known = dict(zip(newest["id"], newest["label"].astype(bool), strict=True))
    silent = False if settings.grace_us is not None and age_us >= settings.attribution_us else None
    labels = pd.Series([known.get(each, silent) for each in rows["id"]], index=rows.index, dtype=object)
    return rows.assign(label=labels, explicit=rows["id"].isin(known.keys()))


def _parts(
    rows: pd.DataFrame, settings: Settings
) -> Iterator[tuple[str | None, str | None, tuple[tuple[str, str], ...], pd.DataFrame]]:
    """The rows of each version, variant and slice."""
    for crossed in ((), *settings.slices):
        keys = [*settings.by, *crossed]
        filled = rows.copy()
        for field in crossed:
            filled[field] = filled[field].fillna("(missing)")
        groups: Any = filled.groupby(keys) if keys else [((), filled)]
        for key, part in groups:
            named = dict(zip(keys, key, strict=True))
            chosen = tuple(sorted((field, named[field]) for field in crossed))
            yield named.get("version"), named.get("variant"), chosen, part


def _measured(rows: pd.DataFrame) -> dict[str, Expected]:
    """Every measure that has a value over these rows."""
    coverage = rows["explicit"].sum() / len(rows)
    labelled = rows[rows["label"].notna()]
    found = {}
    for name, measure in MEASURES.items():
        given = measure(rows if name == "fares_at_stake" else labelled)
        if given is not None:
            value, support, tolerance, *exact = given
            found[name] = Expected(value, support, float(coverage), tolerance, *exact)
    return found


Given = tuple[float, int, float] | tuple[float, int, float, float] | None
HALF_A_UNIT: Final = 2.0**-31
ROUNDING: Final = 1e-12


def _each(rows: pd.DataFrame) -> Iterator[Any]:
    """Each row with its columns as attributes; untyped, since columns are of every kind."""
    return iter(rows.itertuples())


def _decided(rows: pd.DataFrame) -> tuple[int, int, int, int]:
    pairs = [(bool(row.label), bool(row.prediction)) for row in _each(rows) if row.prediction is not None]
    tp, fp, fn, tn = (
        pairs.count(pair) for pair in ((True, True), (False, True), (True, False), (False, False))
    )  # fmt: skip
    return tp, fp, fn, tn


def _accuracy(rows: pd.DataFrame) -> Given:
    tp, fp, fn, tn = _decided(rows)
    n = tp + fp + fn + tn
    return ((tp + tn) / n, n, ROUNDING) if n else None


def _precision(rows: pd.DataFrame) -> Given:
    tp, fp, fn, tn = _decided(rows)
    return (tp / (tp + fp), tp + fp + fn + tn, ROUNDING) if tp + fp else None


def _recall(rows: pd.DataFrame) -> Given:
    tp, fp, fn, tn = _decided(rows)
    return (tp / (tp + fn), tp + fp + fn + tn, ROUNDING) if tp + fn else None


def _f1(rows: pd.DataFrame) -> Given:
    tp, fp, fn, tn = _decided(rows)
    return (2 * tp / (2 * tp + fp + fn), tp + fp + fn + tn, ROUNDING) if 2 * tp + fp + fn else None


def _probabilities(rows: pd.DataFrame) -> list[tuple[bool, float]]:
    return [(bool(row.label), float(row.score)) for row in _each(rows) if 0 <= row.score <= 1]


def _log_loss(rows: pd.DataFrame) -> Given:
    pairs = _probabilities(rows)
    losses = [-math.log(max(score if label else 1 - score, 1e-15)) for label, score in pairs]
    return (sum(losses) / len(losses), len(losses), HALF_A_UNIT + ROUNDING) if losses else None


def _brier_score(rows: pd.DataFrame) -> Given:
    gaps = [(score - label) ** 2 for label, score in _probabilities(rows)]
    return (sum(gaps) / len(gaps), len(gaps), HALF_A_UNIT + ROUNDING) if gaps else None


def bin_of(score: float | None) -> int | None:
    """1,024 bins even in log-odds over ±16, as the prediction log declares them."""
    if score is None or not 0 <= score <= 1:
        return None
    odds = -math.inf if score == 0 else math.inf if score == 1 else math.log(score / (1 - score))
    return int(min(max((odds + 16) / 32 * 1024, 0), 1023))


def _roc_auc(rows: pd.DataFrame) -> Given:
    pairs = _probabilities(rows)
    positives, negatives = ([score for label, score in pairs if label is side] for side in (True, False))
    if not (positives and negatives):
        return None

    def area(place: Callable[[float], Any]) -> float:
        pairs = [(place(above), place(below)) for above in positives for below in negatives]
        return float(sum((above > below) + (above == below) / 2 for above, below in pairs)) / len(pairs)

    return area(bin_of), len(pairs), ROUNDING, area(lambda score: score)


def _fares(rows: pd.DataFrame) -> list[tuple[Any, bool | None, float]]:
    return [(row.label, row.prediction, row.fare) for row in _each(rows) if not pd.isna(row.fare)]


def _missed_fares(rows: pd.DataFrame) -> Given:
    rows_ = [(label, prediction, fare) for label, prediction, fare in _fares(rows) if prediction is not None]
    lost = [fare for label, prediction, fare in rows_ if label and not prediction]
    return (sum(lost), len(rows_), HALF_A_UNIT * len(rows_)) if rows_ else None


def _mean_stake(rows: pd.DataFrame) -> Given:
    stakes = [fare if prediction else 1 for _, prediction, fare in _fares(rows) if prediction is not None]
    return (sum(stakes) / len(stakes), len(stakes), HALF_A_UNIT + ROUNDING) if stakes else None


def _late_share(rows: pd.DataFrame) -> Given:
    fares = _fares(rows)
    whole = sum(fare for *_, fare in fares)
    return (sum(fare for label, _, fare in fares if label) / whole, len(fares), 1e-6) if whole else None


def _fares_at_stake(rows: pd.DataFrame) -> Given:
    fares = _fares(rows)
    return (sum(fare for *_, fare in fares), len(fares), HALF_A_UNIT * len(fares)) if fares else None


MEASURES: Final[dict[str, Callable[[pd.DataFrame], Given]]] = {
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
}

DECLARED: Final[tuple[Any, ...]] = (
    "accuracy",
    "precision",
    "recall",
    "f1",
    "log_loss",
    "brier_score",
    "roc_auc",
    {"name": "missed_fares", "unit": "USD", "sum": "fare * (label & ~prediction)", "description": "Not foreseen"},
    {"name": "mean_stake", "unit": "USD", "mean": "where(prediction, fare, 1)", "description": "Stake per row"},
    {
        "name": "late_share",
        "unit": "1",
        "ratio": {"numerator": "fare * label", "denominator": "fare"},
        "description": "Share of the fares",
    },
    {"name": "fares_at_stake", "unit": "USD", "sum": "fare", "rows": "predictions", "description": "All fares"},
)
"""The same measures as an evaluation declares them."""
