"""Time one run of the evaluator against the SQL that an engineer would write by hand for the same numbers.

Both read the same files: a prediction log over ten days and one label per prediction. Both give accuracy, f1, log_loss,
brier_score and roc_auc (binned) per day, version and variant, over all rows and per carrier. The SQL only computes the
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
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.evaluator import Evaluator

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_ml_metrics.evaluation_report import Report

MODEL: Final = "flight-delay"
MEASURES: Final = ("accuracy", "f1", "log_loss", "brier_score", "roc_auc")
FIRST: Final = datetime(2013, 4, 1, tzinfo=UTC)
DAYS: Final = 10
BATCHES_PER_DAY: Final = 4
CARRIERS: Final = ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"]
ATTRIBUTION: Final = timedelta(days=3)
AS_OF: Final = FIRST + timedelta(days=DAYS + 4)
THREADS: Final = 2
LIMIT_RATIO: Final = 2.0
LIMIT_BYTES: Final = 2 * 1024**3


def make(folder: Path, rows: int) -> None:
    """Write a prediction log and its labels, as a monitor and a label pipeline would."""
    random = np.random.default_rng(2013)
    monitor = ModelMonitor(MODEL, version="2013.04", variant="champion", slices=["carrier"], log=folder / "predictions")
    (folder / "labels").mkdir()
    size = rows // (DAYS * BATCHES_PER_DAY)
    for batch in range(DAYS * BATCHES_PER_DAY):
        start = FIRST + timedelta(days=1) * batch / BATCHES_PER_DAY
        seconds = np.sort(random.uniform(0, 86_400 / BATCHES_PER_DAY, size))
        predicted_us = np.int64(start.timestamp() * 1e6) + (seconds * 1e6).astype(np.int64)
        score = random.beta(1, 4, size)
        ids = monitor.record_batch(
            score=score,
            prediction=score > 0.3,
            predicted_at=predicted_us.astype("datetime64[us]"),
            carrier=random.choice(CARRIERS, size),
        )
        assert monitor.force_flush()
        delay_us = (random.exponential(5 * 3_600, size) * 1e6).astype(np.int64)
        received_us = predicted_us + np.minimum(delay_us, int(ATTRIBUTION.total_seconds() * 1e6))
        order = np.argsort(received_us)
        texts = np.array(list(ids), dtype=object)
        labels: dict[str, pa.Array[Any]] = {
            "prediction_id": pa.array(texts[order]),
            "late": pa.array((random.uniform(size=size) < score)[order]),
            "landed_at": pa.array(received_us[order], pa.timestamp("us", tz="UTC")),
        }
        parquet.write_table(pa.table(labels), folder / "labels" / f"{batch:04}.parquet")
    monitor.shutdown()


def evaluation(folder: Path, ledger: Path) -> Evaluation:
    """The evaluation whose run is timed."""
    return Evaluation(
        model=MODEL,
        predictions=folder / "predictions",
        labels={"path": str(folder / "labels"), "id": "prediction_id", "label": "late", "received_at": "landed_at"},
        ledger=f"sqlite:///{ledger}",
        attribution_window=ATTRIBUTION,
        measures=MEASURES,
        slices=["carrier"],
    )


def run(folder: Path) -> Report:
    """One run on a fresh ledger, from opening it to closing it."""
    with (
        tempfile.TemporaryDirectory() as aside,
        Evaluator(evaluation(folder, Path(aside) / "ledger.db"), environ={}) as evaluator,
    ):
        return evaluator.run(as_of=AS_OF)


def by_hand(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The same sums by SQL: one join, kept, and two groupings of it; and one of the log, for coverage."""
    log = f"read_parquet('{folder}/predictions/model={MODEL}/*/*.parquet', hive_partitioning = false)"
    labels = f"read_parquet('{folder}/labels/*.parquet')"
    key = "day, version, variant"
    of_label = "greatest(CASE WHEN label THEN score ELSE 1 - score END, 1e-15)"
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {THREADS}; SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
        connection.execute(f"""
            CREATE TEMP TABLE joined AS
            SELECT date_trunc('day', predicted_at) AS day, version, variant, carrier, score, prediction, score_bin,
                   late AS label
            FROM {log} AS log JOIN {labels} AS labels USING (prediction_id)
            WHERE landed_at <= predicted_at + INTERVAL '{ATTRIBUTION.days} days'
              AND landed_at <= TIMESTAMPTZ '{AS_OF}'""")
        return {
            "predictions": connection.execute(f"""
                SELECT {key}, carrier, count(*)
                FROM (SELECT *, date_trunc('day', predicted_at) AS day FROM {log})
                GROUP BY GROUPING SETS (({key}), ({key}, carrier))""").fetchall(),
            "sums": connection.execute(f"""
                SELECT {key}, carrier, count(*), count(*) FILTER (label AND prediction),
                       count(*) FILTER (NOT label AND prediction), count(*) FILTER (label AND NOT prediction),
                       sum(-ln({of_label})), sum((score - label::INT) ** 2)
                FROM joined GROUP BY GROUPING SETS (({key}), ({key}, carrier))""").fetchall(),
            "bins": connection.execute(f"""
                SELECT {key}, carrier, score_bin, count(*) FILTER (label), count(*) FILTER (NOT label)
                FROM joined GROUP BY GROUPING SETS (({key}, score_bin), ({key}, carrier, score_bin))""").fetchall(),
        }


def check(report: Report, sums: dict[str, list[tuple[Any, ...]]], rows: int) -> None:
    """See that both say the same."""
    losses = {(day, carrier): loss / count for day, _, _, carrier, count, _, _, _, loss, _ in sums["sums"]}
    found = {
        (each.window_start, each.slice.get("carrier")): each.value
        for each in report.values
        if each.measure == "log_loss"
    }
    assert found.keys() == losses.keys()
    assert all(abs(found[key] - losses[key]) < 1e-8 for key in losses)
    assert sum(positives + negatives for *_, positives, negatives in sums["bins"]) == 2 * rows
    assert report.labels["matched"] == rows


def peak_bytes(folder: Path) -> int:
    """The most memory that a process held which ran the evaluator once."""
    run(folder)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def timed(work: Callable[[Path], object], folder: Path) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work(folder)
    return time.perf_counter() - start


def in_a_process(work: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401  # whatever it gives
    """What a function gives in a fresh process, whose memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def made(rows: int) -> Path:
    """The folder of the data, made once per machine."""
    folder = Path(tempfile.gettempdir()) / f"otel-ml-metrics-benchmark-{rows}"
    if not folder.is_dir():
        aside = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        in_a_process(make, aside, rows)
        aside.rename(folder)
    return folder


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"Exit code 1 if the ratio is above {LIMIT_RATIO:g} or memory above 2 GiB.",
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="predictions, each with a label (default: 1000000)")
    parser.add_argument("--pairs", type=int, default=7, help="turns of evaluator and SQL (default: 7)")
    return parser.parse_args()


def main() -> int:
    """Run the pairs and print the table."""
    asked = arguments()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])  # both sides get two threads
    folder = made(asked.rows)
    check(run(folder), by_hand(folder), asked.rows)
    pairs = [(timed(run, folder), timed(by_hand, folder)) for _ in range(asked.pairs)]
    ours, sql = (statistics.median(column) for column in zip(*pairs, strict=True))
    memory = in_a_process(peak_bytes, folder)
    print(f"{asked.rows:,} labelled predictions, {len(MEASURES)} measures, {DAYS} days, {len(CARRIERS)} carriers")
    print(f"{'pair':>6} {'Evaluator.run':>14} {'SQL by hand':>12} {'ratio':>7}")
    for at, (one, other) in enumerate(pairs, start=1):
        print(f"{at:>6} {one:>12.2f} s {other:>10.2f} s {one / other:>6.2f}x")
    print(f"{'median':>6} {ours:>12.2f} s {sql:>10.2f} s {ours / sql:>6.2f}x  (to reach: {LIMIT_RATIO:g}x)")
    print(f"peak memory of one run: {memory / 1024**3:.2f} GiB  (to reach: {LIMIT_BYTES / 1024**3:g} GiB)")
    return 0 if ours / sql <= LIMIT_RATIO and memory <= LIMIT_BYTES else 1


if __name__ == "__main__":
    raise SystemExit(main())
