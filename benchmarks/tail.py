"""Time hourly runs whose labels have a long tail, each taken at once and with sparse dates held back.

Thirty dates of 100,000 predictions; labels may take 40 days. Every hour most of the new labels are of the newest date
and a few of each of the others, so that a run reads every date of the log, or only the one that is worth it. The tail
is applied in the run in which it has waited for long enough; that run is counted too, and at the end both ledgers are
run up to where everything is final and have the same values.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from worlds import DAY, FIRST, LABELS, MODEL, Outcomes, hold_threads, log_day, made, monitor, seconds, write_labels

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.evaluator import Evaluator

if TYPE_CHECKING:
    from datetime import datetime

DATES: Final = 30
PER_DATE: Final = 100_000
OF_THE_NEWEST: Final = 2_000
OF_EACH_OTHER: Final = 20
HOLD_BACK: Final = {"below": 1_000, "at_most": "12h"}
NOW: Final = FIRST + DAY * DATES
HOUR: Final = timedelta(hours=1)
MEASURES: Final = ("accuracy", "f1", "log_loss", "brier_score", "roc_auc")


def make(folder: Path) -> None:
    """Log the dates, and keep their outcomes."""
    logger = monitor(folder)
    for day in range(DATES):
        outcomes = log_day(logger, day, PER_DATE)
        np.savez(folder / f"{day:02}.npz", ids=outcomes.ids.astype("U36"), late=outcomes.late)
    logger.shutdown()


def evaluator(source: Path, folder: Path, hold_back: dict[str, Any] | None) -> Evaluator:
    """Evaluates the log with a ledger of its own."""
    evaluation = Evaluation(
        model=MODEL,
        predictions=source / "predictions",
        labels={"path": str(folder / "labels"), **LABELS},
        ledger=f"sqlite:///{folder}/{'at-once' if hold_back is None else 'held-back'}.db",
        attribution_window=DAY * 40,
        measures=MEASURES,
        slices=["carrier"],
        hold_back=hold_back,
    )
    return Evaluator(evaluation, environ={})


def write_hour(source: Path, folder: Path, hour: int) -> datetime:
    """Write the labels of an hour; its end."""
    end = NOW + HOUR * (hour + 1)
    ids, late = [], []
    for day in range(DATES):
        with np.load(source / f"{day:02}.npz") as known:
            share = OF_THE_NEWEST if day == DATES - 1 else OF_EACH_OTHER
            chosen = slice(hour * share, (hour + 1) * share)
            ids.append(known["ids"][chosen].astype(object))
            late.append(known["late"][chosen])
    received_us = np.full(sum(map(len, ids)), int((end - HOUR / 2).timestamp() * 1e6))
    write_labels(folder, f"{hour:03}", Outcomes(np.concatenate(ids), np.concatenate(late), received_us))
    return end


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog="Exit code 1 if the ledgers disagree in the end, or if holding back gains nothing.",
    )
    parser.add_argument("--hours", type=int, default=24, help="runs (default: 24)")
    return parser.parse_args()


def main() -> int:
    """Take turns hour by hour and print the table."""
    asked = arguments()
    hold_threads()
    source = made("tail", make)
    ways: dict[str, dict[str, Any] | None] = {"at once": None, "held back": HOLD_BACK}
    took: dict[str, list[float]] = {way: [] for way in ways}
    values = {}
    with tempfile.TemporaryDirectory() as aside:
        opened = {way: evaluator(source, Path(aside), hold_back) for way, hold_back in ways.items()}
        (Path(aside) / "labels").mkdir()
        for each in opened.values():
            each.run(NOW)
        for hour in range(asked.hours):
            end = write_hour(source, Path(aside), hour)
            for way, each in opened.items():
                took[way].append(seconds(partial(each.run, end)))
        for way, each in opened.items():
            each.run(NOW + DAY * 60)
            values[way] = [value.to_dict() for value in each.as_of(NOW + DAY * 60).values]
            each.close()
    labels = OF_THE_NEWEST + OF_EACH_OTHER * (DATES - 1)
    print(f"{asked.hours} hourly runs over {labels:,} labels each, {OF_EACH_OTHER} of each of {DATES - 1} older dates")
    print(f"{'tail':<10} {'all runs':>10} {'cheapest':>10} {'dearest':>10}")
    for way, times in took.items():
        print(f"{way:<10} {sum(times):>8.2f} s {min(times):>8.2f} s {max(times):>8.2f} s")
    gain = sum(took["at once"]) / sum(took["held back"])
    is_same = values["at once"] == values["held back"]
    print(f"gain: {gain:.2f}x; final values are {'the same' if is_same else 'NOT the same'}")
    return 0 if is_same and gain > 1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
