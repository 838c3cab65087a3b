"""Time the sums of all binary measures against those of the confusion table and the binned counts alone.

One relation of labelled rows, 32 slices, the statements of the engine as a run uses them. Both sides take turns in one
process; the ratio is that of the medians. What all measures need beyond the confusion table and the counts per bin are
sums over probabilities, their squares for intervals, and the sum of the score per bin.

Found (2026-11): the ratio is about 1.5, too near to the limit to be sure of it. Of 15 pairs on two cores that others
used before and after, that of the medians was 1.43, the median of the ratios 1.51 (1.24 to 1.85). Most of it are the
seven roundings to fixed point, each about 15 ns of processor time for a row: a third goes to adding to a group, the
rest to product, floor, cast, sign and CASE. What had cost more than the logarithm itself: a guard against that of 0
where the argument is a maximum with 1e-15.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.engines import delta_statements as deltas
from otel_ml_metrics.engines.duckdb import DuckDBEngine
from otel_ml_metrics.measures.curves import NEGATIVES, POSITIVES
from otel_ml_metrics.measures.decisions import CONFUSION
from otel_ml_metrics.measures.measure import states_of
from otel_ml_metrics.measures.table import measures_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_ml_metrics.measures.totals import State

SLICES: Final = 32
THREADS: Final = 2
LIMIT_RATIO: Final = 1.5


def make(engine: DuckDBEngine, rows: int) -> None:
    """Materialise `effects`: labelled rows of one day as a run has them."""
    score = "pow(hash(i) % 1000003 / 1000003.0, 3)"
    odds = f"ln(greatest({score}, 1e-9) / (1 - {score}))"
    engine.materialise(
        "effects",
        f"SELECT CAST(i * 1000 AS BIGINT) AS _tile_us, '' AS output, '1' AS version, 'champion' AS variant,"
        f" 'c' || (hash(i + 7) % {SLICES}) AS carrier, {score} AS score, {score} > 0.3 AS prediction,"
        f" CAST(least(greatest(({odds} + 16) * 32, 0), 1023) AS SMALLINT) AS score_bin,"
        f" hash(i + 13) % 1000 / 1000.0 < {score} AS label, 21600 AS _bucket, TRUE AS _explicit, 1 AS _sign"
        f" FROM range({rows}) AS rows(i)",
    )
    engine.define("rows_of_a_day", "SELECT * REPLACE (0 AS _tile_us) FROM effects")


def plan(states: Sequence[State]) -> deltas.DeltaPlan:
    """What is summed, per carrier."""
    return deltas.DeltaPlan(
        states=states,
        kinds={"label": "boolean", "prediction": "boolean", "score": "number", "score_bin": "number"},
        columns=["output", "version", "variant", "carrier", "score_bin", "score", "prediction"],
        slices=[("carrier",)],
        buckets=[21_600],
        implicit_from=None,
        tile_us=86_400_000_000,
        offset_us=0,
        delay_bounds=(),
    )


def timed(engine: DuckDBEngine, wanted: deltas.DeltaPlan) -> float:
    """Seconds that the sums take."""
    queries = [deltas.label_sums(wanted), *(query for query, _ in deltas.binned_sums(wanted))]
    start = time.perf_counter()
    for query in queries:
        engine.sql(query.replace("FROM effects", "FROM rows_of_a_day"))
    return time.perf_counter() - start


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], epilog=f"Exit code 1 if the ratio is above {LIMIT_RATIO:g}."
    )
    parser.add_argument("--rows", type=int, default=10_000_000, help="labelled predictions (default: 10000000)")
    parser.add_argument("--pairs", type=int, default=5, help="turns of either side (default: 5)")
    return parser.parse_args()


def main() -> int:
    """Run the pairs and print the table."""
    asked = arguments()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    engine = DuckDBEngine()
    make(engine, asked.rows)
    measures = measures_for("binary")
    every, alone = plan(states_of(measures.values())), plan((*CONFUSION, POSITIVES, NEGATIVES))
    pairs = [(timed(engine, every), timed(engine, alone)) for _ in range(asked.pairs)]
    ours, base = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{asked.rows:,} labelled predictions, {len(measures)} binary measures, {SLICES} slices")
    print(f"{'pair':>6} {'all measures':>14} {'counts alone':>14} {'ratio':>7}")
    for at, (one, other) in enumerate(pairs, start=1):
        print(f"{at:>6} {one:>12.2f} s {other:>12.2f} s {one / other:>6.2f}x")
    print(f"{'median':>6} {ours:>12.2f} s {base:>12.2f} s {ours / base:>6.2f}x  (to reach: {LIMIT_RATIO:g}x)")
    return 0 if ours / base <= LIMIT_RATIO else 1


if __name__ == "__main__":
    raise SystemExit(main())
