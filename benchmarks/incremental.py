"""Time a run over 100,000 new labels while the history behind it grows from one million to fifty million predictions.

Three logs of 1, 10 and 50 million predictions, 100,000 a day, all labelled and evaluated before. Then a file with the
labels of one more day arrives, and the evaluator runs; next to it, in the same turn, the SQL that an engineer would
write who knows which date the labels are of: one join with the folder of that date. The same labels spread over 30 days
tell what each date costs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import duckdb
import numpy as np
from worlds import (
    ATTRIBUTION,
    DAY,
    FIRST,
    LABELS,
    MODEL,
    THREADS,
    Outcomes,
    hold_threads,
    in_a_process,
    log_day,
    made,
    monitor,
    peak_bytes,
    write_labels,
)

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.evaluator import Evaluator

if TYPE_CHECKING:
    from pathlib import Path

MEASURES: Final = ("accuracy", "f1", "log_loss", "brier_score", "roc_auc")
PER_DAY: Final = 100_000
SPREAD: Final = 30
STEP: Final = 40
"""Days that are evaluated at a time while a history is made."""

MOST_TURNS: Final = 20
"""Days whose labels are kept back, for the turns of a few runs of this script."""

SIZES: Final = (1_000_000, 10_000_000, 50_000_000)
GIB: Final = 1024**3
LIMIT_GROWTH, LIMIT_RATIO, LIMIT_BYTES = 1.2, 3.0, 1 * GIB


def evaluation(folder: Path) -> Evaluation:
    """What is evaluated."""
    return Evaluation(
        model=MODEL,
        predictions=folder / "predictions",
        labels={"path": str(folder / "labels"), **LABELS},
        ledger=f"sqlite:///{folder}/ledger.db",
        attribution_window=ATTRIBUTION,
        measures=MEASURES,
        slices=["carrier"],
    )


def make(size: int, turns: int, folder: Path) -> None:
    """Log a history and evaluate it; log more days, and keep their labels back for the turns."""
    logger = monitor(folder)
    days, more = size // PER_DAY, turns + 1 + SPREAD
    late = folder / "late"
    late.mkdir()
    for day in range(days + more):
        outcomes = log_day(logger, day, PER_DAY)
        if day < days:
            write_labels(folder, f"{day:05}", outcomes)
        else:
            np.savez(
                late / f"{day - days:05}.npz",
                ids=outcomes.ids.astype("U36"),
                late=outcomes.late,
                received_us=outcomes.received_us,
            )
        if day % STEP == STEP - 1 or day == days + more - 1:
            advance(folder, day)
    logger.shutdown()


def advance(folder: Path, day: int) -> float:
    """Run the evaluator four days after a day; how long it took."""
    start = time.perf_counter()
    with Evaluator(evaluation(folder), environ={}) as evaluator:
        evaluator.run(as_of=FIRST + DAY * (day + 5))
    return time.perf_counter() - start


def kept_back(folder: Path, day: int) -> Outcomes:
    """The outcomes of a day whose labels have not come yet."""
    found = np.load(folder / "late" / f"{day:05}.npz")
    return Outcomes(found["ids"].astype(object), found["late"], found["received_us"])


def by_hand(folder: Path, dates: list[str], labels: Path) -> float:
    """The same sums by SQL that names the dates; how long it took."""
    start = time.perf_counter()
    folders = [f"{folder}/predictions/model={MODEL}/dt={date}/*.parquet" for date in dates]
    key = "day, version, variant"
    of_label = "greatest(CASE WHEN label THEN score ELSE 1 - score END, 1e-15)"
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {THREADS}; SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        connection.execute(f"""
            CREATE TEMP TABLE joined AS
            SELECT date_trunc('day', predicted_at) AS day, version, variant, carrier, score, prediction, score_bin,
                   late AS label
            FROM read_parquet({folders}, hive_partitioning = false) AS log
            JOIN read_parquet('{labels}') AS labels USING (prediction_id)
            WHERE landed_at <= predicted_at + INTERVAL '{ATTRIBUTION.days} days'""")
        connection.execute(f"""
            SELECT {key}, carrier, count(*), count(*) FILTER (label AND prediction),
                   count(*) FILTER (NOT label AND prediction), count(*) FILTER (label AND NOT prediction),
                   sum(-ln({of_label})), sum((score - label::INT) ** 2)
            FROM joined GROUP BY GROUPING SETS (({key}), ({key}, carrier))""").fetchall()
        connection.execute(f"""
            SELECT {key}, carrier, score_bin, count(*) FILTER (label), count(*) FILTER (NOT label)
            FROM joined GROUP BY GROUPING SETS (({key}, score_bin), ({key}, carrier, score_bin))""").fetchall()
    return time.perf_counter() - start


def turn(folder: Path, history: int, days: range, part: int) -> tuple[float, float]:
    """Let 100,000 labels of these days arrive: seconds of the evaluator and of the SQL.

    Args:
        folder: The log and its labels.
        history: Days that were labelled before.
        days: Whose labels arrive, counted from there.
        part: Which share of them: of a single day there is one, all of it.
    """
    share = PER_DAY // len(days)
    chosen = np.arange(part * share, (part + 1) * share)
    parts = [kept_back(folder, day).chosen(chosen) for day in days]
    columns = (np.concatenate([getattr(each, name) for each in parts]) for name in ("ids", "late", "received_us"))
    labels = write_labels(folder, f"new-{days.start}-{part}", Outcomes(*columns))
    dates = [(FIRST + DAY * (history + day)).date().isoformat() for day in days]
    sql = by_hand(folder, dates, labels)
    return advance(folder, 10 * history + 10_000), sql


def peak_of_a_turn(folder: Path, history: int, day: int) -> int:
    """The most memory that a process held which took the labels of a day in."""
    turn(folder, history, range(day, day + 1), 0)
    return peak_bytes()


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"Exit code 1 if the largest history takes more than {LIMIT_GROWTH:g} times the smallest, more than"
        f" {LIMIT_RATIO:g} times the SQL, or more than 1 GiB. Making 50 million predictions takes half an hour, once.",
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=SIZES, help="predictions behind (default: 1, 10, 50 million)"
    )
    parser.add_argument("--turns", type=int, default=5, help="turns of each history (default: 5)")
    return parser.parse_args()


def main() -> int:
    """Take turns and print the table."""
    asked = arguments()
    hold_threads()
    folders = {size: made(f"{size}-history", partial(make, size, MOST_TURNS)) for size in asked.sizes}
    used = {size: len(list((folder / "labels").glob("new-*-0.parquet"))) for size, folder in folders.items()}
    one: dict[int, list[tuple[float, float]]] = {size: [] for size in asked.sizes}
    for _ in range(asked.turns):
        for size, folder in folders.items():
            one[size].append(turn(folder, size // PER_DAY, range(used[size], used[size] + 1), 0))
            used[size] += 1
    print(f"{PER_DAY:,} labels of one day, {len(MEASURES)} measures, one slice; medians of {asked.turns} turns")
    print(f"{'history':>12} {'Evaluator.run':>14} {'SQL by hand':>12} {'ratio':>7} {'to smallest':>12} {'memory':>9}")
    medians = {size: [statistics.median(column) for column in zip(*turns, strict=True)] for size, turns in one.items()}
    first = medians[asked.sizes[0]][0]
    good = True
    for size, (ours, sql) in medians.items():
        memory = in_a_process(peak_of_a_turn, folders[size], size // PER_DAY, used[size])
        good &= ours / sql <= LIMIT_RATIO and ours / first <= LIMIT_GROWTH and memory <= LIMIT_BYTES
        print(
            f"{size:>12,} {ours:>12.2f} s {sql:>10.2f} s {ours / sql:>6.2f}x {ours / first:>11.2f}x"
            f" {memory / GIB:>5.2f} GiB"
        )
    smallest = asked.sizes[0]
    print(f"the same labels spread over {SPREAD} days, on the smallest history")
    days = range(MOST_TURNS + 1, MOST_TURNS + 1 + SPREAD)
    done = len(list((folders[smallest] / "labels").glob(f"new-{days.start}-*")))
    spread = [turn(folders[smallest], smallest // PER_DAY, days, done + part) for part in range(asked.turns)]
    ours, sql = (statistics.median(column) for column in zip(*spread, strict=True))
    print(f"{smallest:>12,} {ours:>12.2f} s {sql:>10.2f} s {ours / sql:>6.2f}x {ours / first:>11.2f}x")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
