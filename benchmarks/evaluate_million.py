"""Time one run of the evaluator against the SQL that an engineer would write by hand for the same numbers.

Both read the same files: a prediction log over ten days and one label per prediction. Both give accuracy, f1, log_loss,
brier_score and roc_auc (binned) per day, version and variant, over all rows and per slice. The SQL only computes the
sums; the evaluator also checks the labels, looks for repeated ids, keeps every label in a ledger that is durable and
says what a later run has to correct, and gives values with intervals. They take turns in one process; the ratio is that
of the medians.

Found (2026-11): of a run's processor time a fifth is the join, a tenth each goes to reading and checking labels and to
the sums; the ledger takes 10 % and the values 8 %. What had cost more: `trim` on every label id, texts of expressions
made anew for each total, an anti-join for labels without prediction where counting tells that there is none, scans of
ids that the statistics of the segments make needless, an array of zeros per bin, a row of Python per bin, and looking
for repeated ids by a hash table of the log (sorting the hashes of the ids takes half the time, and only equal hashes
need a look).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import duckdb
from worlds import (
    ATTRIBUTION,
    DAY,
    FIRST,
    LABELS,
    MODEL,
    THREADS,
    hold_threads,
    in_a_process,
    log_day,
    made,
    monitor,
    peak_bytes,
    seconds,
    write_labels,
)

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.evaluator import Evaluator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from otel_ml_metrics.evaluation_report import Report

MEASURES: Final = ("accuracy", "f1", "log_loss", "brier_score", "roc_auc")
DAYS: Final = 10
AS_OF: Final = FIRST + DAY * (DAYS + 4)
GIB: Final = 1024**3
LARGE: Final = 10_000_000
LIMITS: Final = {False: (2.0, 2 * GIB), True: (1.5, 3 * GIB)}
"""Ratio and memory to reach, for small and for large logs."""


def make(rows: int, folder: Path) -> None:
    """Write a prediction log and its labels."""
    logger = monitor(folder)
    for day in range(DAYS):
        write_labels(folder, f"{day:04}", log_day(logger, day, rows // DAYS))
    logger.shutdown()


def run(folder: Path, slices: Sequence[str]) -> Report:
    """One run on a fresh ledger, from opening it to closing it."""
    with tempfile.TemporaryDirectory() as aside:
        evaluation = Evaluation(
            model=MODEL,
            predictions=folder / "predictions",
            labels={"path": str(folder / "labels"), **LABELS},
            ledger=f"sqlite:///{aside}/ledger.db",
            attribution_window=ATTRIBUTION,
            measures=MEASURES,
            slices=slices,
        )
        with Evaluator(evaluation, environ={}) as evaluator:
            return evaluator.run(as_of=AS_OF)


def by_hand(folder: Path, slices: Sequence[str]) -> dict[str, list[tuple[Any, ...]]]:
    """The same sums by SQL: one join, kept, and two groupings of it; and one of the log, for coverage."""
    log = f"read_parquet('{folder}/predictions/model={MODEL}/*/*.parquet', hive_partitioning = false)"
    labels = f"read_parquet('{folder}/labels/*.parquet')"
    key, fields = "day, version, variant", ", ".join(slices)
    of_label = "greatest(CASE WHEN label THEN score ELSE 1 - score END, 1e-15)"

    def sets(*also: str) -> str:
        whole = ", ".join((key, *also))
        return ", ".join(f"({each})" for each in (whole, *(f"{whole}, {field}" for field in slices)))

    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {THREADS}; SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        connection.execute(f"""
            CREATE TEMP TABLE joined AS
            SELECT date_trunc('day', predicted_at) AS day, version, variant, {fields}, score, prediction, score_bin,
                   late AS label
            FROM {log} AS log JOIN {labels} AS labels USING (prediction_id)
            WHERE landed_at <= predicted_at + INTERVAL '{ATTRIBUTION.days} days'
              AND landed_at <= TIMESTAMPTZ '{AS_OF}'""")
        return {
            "predictions": connection.execute(f"""
                SELECT {key}, {fields}, count(*)
                FROM (SELECT *, date_trunc('day', predicted_at) AS day FROM {log})
                GROUP BY GROUPING SETS ({sets()})""").fetchall(),
            "sums": connection.execute(f"""
                SELECT day, grouping({fields}), {slices[0]}, count(*), count(*) FILTER (label AND prediction),
                       count(*) FILTER (NOT label AND prediction), count(*) FILTER (label AND NOT prediction),
                       sum(-ln({of_label})), sum((score - label::INT) ** 2)
                FROM joined GROUP BY GROUPING SETS ({sets()})""").fetchall(),
            "bins": connection.execute(f"""
                SELECT {key}, {fields}, score_bin, count(*) FILTER (label), count(*) FILTER (NOT label)
                FROM joined GROUP BY GROUPING SETS ({sets("score_bin")})""").fetchall(),
        }


def check(report: Report, sums: dict[str, list[tuple[Any, ...]]], rows: int, slices: Sequence[str]) -> None:
    """See that both say the same, over all rows and over the first slice."""
    grouped = {(1 << len(slices)) - 1, (1 << len(slices) - 1) - 1}
    losses = {
        (day, value): loss / count
        for day, grouping, value, count, _, _, _, loss, _ in sums["sums"]
        if grouping in grouped
    }
    found = {
        (each.window_start, each.slice.get(slices[0])): each.value
        for each in report.values
        if each.measure == "log_loss" and set(each.slice) <= {slices[0]}
    }
    assert found.keys() == losses.keys()
    assert all(abs(found[key] - losses[key]) < 1e-8 for key in losses)
    assert sum(positives + negatives for *_, positives, negatives in sums["bins"]) == (1 + len(slices)) * rows
    assert report.labels["matched"] == rows


def peak_of_a_run(folder: Path, slices: Sequence[str]) -> int:
    """The most memory that a process held which ran the evaluator once."""
    run(folder, slices)
    return peak_bytes()


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog="Exit code 1 if the ratio is above 2 or memory above 2 GiB; 1.5 and 3 GiB from 10,000,000 rows on.",
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="predictions, each with a label (default: 1000000)")
    parser.add_argument("--slices", nargs="+", default=["carrier"], help="fields (default: carrier; there is origin)")
    parser.add_argument("--pairs", type=int, default=7, help="turns of evaluator and SQL (default: 7)")
    return parser.parse_args()


def main() -> int:
    """Run the pairs and print the table."""
    asked = arguments()
    hold_threads()
    folder = made(f"{asked.rows}-rows", partial(make, asked.rows))
    both = (folder, asked.slices)
    check(run(*both), by_hand(*both), asked.rows, asked.slices)
    pairs = [(seconds(run, *both), seconds(by_hand, *both)) for _ in range(asked.pairs)]
    ours, sql = (statistics.median(column) for column in zip(*pairs, strict=True))
    memory = in_a_process(peak_of_a_run, *both)
    ratio, most = LIMITS[asked.rows >= LARGE]
    print(
        f"{asked.rows:,} labelled predictions, {len(MEASURES)} measures, {DAYS} days, slices {', '.join(asked.slices)}"
    )
    print(f"{'pair':>6} {'Evaluator.run':>14} {'SQL by hand':>12} {'ratio':>7}")
    for at, (one, other) in enumerate(pairs, start=1):
        print(f"{at:>6} {one:>12.2f} s {other:>10.2f} s {one / other:>6.2f}x")
    print(f"{'median':>6} {ours:>12.2f} s {sql:>10.2f} s {ours / sql:>6.2f}x  (to reach: {ratio:g}x)")
    print(f"peak memory of one run: {memory / GIB:.2f} GiB  (to reach: {most / GIB:g} GiB)")
    return 0 if ours / sql <= ratio and memory <= most else 1


if __name__ == "__main__":
    raise SystemExit(main())
