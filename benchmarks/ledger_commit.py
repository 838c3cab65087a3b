"""Time the ledger's commit of a batch of labels against raw SQLite statements that keep the same rows.

Both start from the same applied labels, ten dates of them, and take the same batches: labels of one date that nobody
has seen, the sums of their window, points for the outbox, the progress of a label file, and the head's new version. The
raw side is what one would write by hand: a plain table of labels with a key of date and id, executemany with upserts
for labels and sums, the same pragmas, one transaction. Its rows are Python tuples before the clock starts; ours are
Arrow tables that the clock sees compressed. They take turns in one process. The ratio is that of the whole time, so
that it holds the commits which merge blocks.

Before it commits, a run reads the labels that were applied before to the predictions at hand. Blocks make that dearer
where they make the commit cheap: all labels of the date are read, where the raw side looks up the ids of the batch. So
both are timed, apart and together.

Found (2026-11, two busy cores): onto ten million labels, 0.04 times the statements in the whole, 0.13 times with the
reading. A commit adds one compressed block of labels, whatever lies there already, and replaces the block of sums of a
tile; the statements look up a page per row, and ids in the order in which their labels came are spread over all pages
of their date. Every sixteenth commit to a date merges the blocks of about one size, in about a second; a first form
merged all of them and wrote the whole date anew.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from otel_ml_metrics.attribution.inputs import Input
from otel_ml_metrics.attribution.tables import SUMS, fact_schema
from otel_ml_metrics.ledger.commit import Commit
from otel_ml_metrics.ledger.store import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME: Final = "flight-delay"
FIRST: Final = datetime(2013, 4, 1, tzinfo=UTC)
DAYS: Final = 10
DAY_MS: Final = 86_400_000
FACTS: Final = fact_schema("boolean")
CARRIERS: Final = ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"]
BINS: Final = 300
"""Bins of a score that are not empty, on the average."""
POINTS: Final = 200
LIMIT_RATIO: Final = 2.0

Pair = tuple[float, float, float, float]
"""Seconds of our reading, our commit, and of reading and committing by hand."""

RAW_TABLES: Final = """
CREATE TABLE applied (date TEXT, prediction_id TEXT, bucket INTEGER, received_us INTEGER, revision INTEGER,
                      label INTEGER, PRIMARY KEY (date, prediction_id, bucket)) WITHOUT ROWID;
CREATE TABLE state (tile_us INTEGER, output TEXT, version TEXT, variant TEXT, slice TEXT, bucket INTEGER, sum TEXT,
                    bin INTEGER, value INTEGER,
                    PRIMARY KEY (tile_us, output, version, variant, slice, bucket, sum, bin)) WITHOUT ROWID;
CREATE TABLE outbox (id INTEGER PRIMARY KEY, version INTEGER, series TEXT, time_unix_nano INTEGER, point TEXT,
                     status TEXT);
CREATE INDEX outbox_waiting ON outbox (status, id);
CREATE TABLE input_file (name TEXT PRIMARY KEY, taken_until_us INTEGER);
CREATE TABLE head (id INTEGER PRIMARY KEY, version INTEGER, totals TEXT);
INSERT INTO head VALUES (1, 1, '{}');
"""
UPSERT_LABEL: Final = """
INSERT INTO applied VALUES (?, ?, 259200, ?, ?, ?) ON CONFLICT DO UPDATE
SET received_us = excluded.received_us, revision = excluded.revision, label = excluded.label"""
UPSERT_SUM: Final = """
INSERT INTO state VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value"""


@dataclass(frozen=True)
class Batch:
    """What one commit takes.

    Args:
        date: Of the predictions.
        tile_us: Start of their window.
        facts: Labels.
        sums: What the window adds up to.
        rows: The labels as the raw side takes them.
        deltas: What the batch adds to the sums, as the raw side takes it.
    """

    date: str
    tile_us: int
    facts: pa.Table
    sums: pa.Table
    rows: list[tuple[Any, ...]]
    deltas: list[tuple[Any, ...]]


def labels(day: int, count: int, seed: int, *, in_order: bool) -> pa.Table:
    """Labels of predictions all over a day, with ids as the monitor makes them."""
    numbers = np.random.default_rng(seed)
    made = numbers.integers(0, DAY_MS, count) + int((FIRST + timedelta(days=day)).timestamp() * 1000)
    tails = numbers.integers(0, 1 << 48, count)
    ids = [f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7000-8000-{tail:012x}" for ms, tail in zip(made, tails, strict=True)]
    table = pa.table(
        {
            "prediction_id": ids,
            "received_us": made * 1000 + numbers.integers(0, 86_400_000_000, count),
            "revision": np.zeros(count, np.int64),
            "label": numbers.uniform(size=count) < 0.3,
        },
        schema=FACTS,
    )
    return table.sort_by("prediction_id" if in_order else "received_us")


def sums(scale: int) -> pa.Table:
    """Sums of one window: five measures over all rows and per carrier, one of them with bins."""
    rows = [
        {
            "output": "",
            "version": "2013.04",
            "variant": "champion",
            "slice": "{}" if carrier is None else json.dumps({"carrier": carrier}),
            "bucket": 259_200,
            "sum": name,
            "bin": at,
            "value": scale * (at + 7),
        }
        for carrier in (None, *CARRIERS)
        for name, bins in [(f"sum[{number}]@30", [-1]) for number in range(8)]
        + [(f"bins{sign}", range(BINS)) for sign in "+-"]
        for at in bins
    ]
    return pa.Table.from_pylist(rows, SUMS)


def batch(day: int, count: int, turn: int) -> Batch:
    """The labels of one turn, for both sides."""
    facts = labels(day, count, seed=1_000_003 * (turn + 1), in_order=False)
    date = (FIRST + timedelta(days=day)).date().isoformat()
    tile_us = int((FIRST + timedelta(days=day)).timestamp() * 1e6)
    rows = [(date, *row) for row in zip(*(column.to_pylist() for column in facts.columns), strict=True)]
    one = [[*row.values()] for row in sums(1).to_pylist()]
    return Batch(date, tile_us, facts, sums(turn + 1), rows, [(tile_us, *row[:-1], int(row[-1])) for row in one])


def points(version: int) -> Iterator[tuple[str, int, str]]:
    """Points for the outbox."""
    for at in range(POINTS):
        yield f"ml.evaluation.accuracy{{{at}}}", version, '{"metric": "ml.evaluation.accuracy", "value": 0.5}' * 6


def make(folder: Path, rows: int) -> None:
    """Write both sides with the labels that were applied before."""
    with closing(connected(folder / "raw.db")) as raw:
        raw.executescript(RAW_TABLES)
        with closing(opened(folder / "ledger.db")) as ledger:
            for day in range(DAYS):
                facts = labels(day, rows // DAYS, seed=day, in_order=True)
                date = (FIRST + timedelta(days=day)).date().isoformat()
                ledger.commit(commit(day, facts={date: facts}))
                plain = zip(*(column.to_pylist() for column in facts.columns), strict=True)
                raw.execute("BEGIN")
                raw.executemany(UPSERT_LABEL, ((date, *row) for row in plain))
                raw.execute("COMMIT")


def opened(path: Path) -> Ledger:
    """Our side."""
    return Ledger(f"sqlite:///{path}", name=NAME, label_kind="boolean")


def connected(path: Path) -> sqlite3.Connection:
    """The raw side, with the ledger's pragmas."""
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    return raw


def commit(version: int, **given: Any) -> Commit:  # noqa: ANN401  # whatever the commit changes
    """A commit onto a version."""
    return Commit(read_version=version, as_of_us=version, now_us=version, definition={}, totals={}, **given)


def ours(ledger: Ledger, each: Batch, version: int) -> None:
    """Commit a batch to the ledger."""
    ledger.commit(
        commit(
            version,
            inputs=[Input("label", f"{version}.parquet", taken_until_us=version)],
            facts={each.date: each.facts},
            states={each.tile_us: each.sums},
            points=[*points(version)],
        )
    )


def by_hand(raw: sqlite3.Connection, each: Batch, version: int) -> None:
    """Keep the same rows with statements."""
    raw.execute("BEGIN IMMEDIATE")
    raw.execute("UPDATE head SET version = ?, totals = '{}'", (version + 1,))
    raw.execute("INSERT INTO input_file VALUES (?, ?)", (f"{version}.parquet", version))
    raw.executemany(UPSERT_LABEL, each.rows)
    raw.executemany(UPSERT_SUM, each.deltas)
    statement = "INSERT INTO outbox (version, series, time_unix_nano, point, status) VALUES (?, ?, ?, ?, 'waiting')"
    raw.executemany(statement, [(version, *point) for point in points(version)])
    raw.execute("COMMIT")


def read(ledger: Ledger, each: Batch) -> int:
    """Read what a run has to know of the labels that were applied before."""
    return len(ledger.facts([each.date]))


def read_by_hand(raw: sqlite3.Connection, each: Batch) -> int:
    """Look up the labels of the batch's predictions."""
    raw.execute("CREATE TEMP TABLE incoming (date TEXT, prediction_id TEXT)")
    raw.execute("BEGIN")
    raw.executemany("INSERT INTO incoming VALUES (?, ?)", [row[:2] for row in each.rows])
    raw.execute("COMMIT")
    found = raw.execute("SELECT applied.* FROM incoming JOIN applied USING (date, prediction_id)").fetchall()
    raw.execute("DROP TABLE incoming")
    return len(found)


def timed(work: Callable[..., object], *arguments: object) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def made(rows: int) -> Path:
    """The folder of the data, made once per machine."""
    folder = Path(tempfile.gettempdir()) / f"otel-ml-metrics-ledger-benchmark-{rows}"
    if not folder.is_dir():
        aside = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        make(aside, rows)
        aside.rename(folder)
    return folder


def check(ledger: Ledger, raw: sqlite3.Connection, date: str) -> None:
    """See that both sides have the same labels and sums of a date."""
    facts = ledger.facts([date])
    rows = raw.execute("SELECT count(*), sum(received_us % 1000003), sum(label) FROM applied WHERE date = ?", (date,))
    received = facts.column("received_us").to_numpy()
    positives = int(facts.column("label").to_numpy().sum())
    assert rows.fetchone() == (len(facts), int((received % 1_000_003).sum()), positives)
    [tile] = ledger.tiles()
    total = int(sum(ledger.states([tile]).column("value").to_pylist()))
    assert raw.execute("SELECT sum(value) FROM state WHERE tile_us = ?", (tile,)).fetchone() == (total,)


def measure(folder: Path, count: int, pairs: int) -> list[Pair]:
    """Seconds of each pair, in turns and in random order."""
    order = random.Random(2013)
    found = []
    with closing(opened(folder / "ledger.db")) as ledger, closing(connected(folder / "raw.db")) as raw:
        for turn in range(pairs):
            each = batch(DAYS // 2, count, turn)
            version = ledger.head().version
            sides = {True: (read, ours, ledger), False: (read_by_hand, by_hand, raw)}
            seconds = {}
            for side in order.sample([True, False], 2):
                look, keep, database = sides[side]
                seconds[side] = (timed(look, database, each), timed(keep, database, each, version))
            found.append((*seconds[True], *seconds[False]))
        check(ledger, raw, each.date)
    return found


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], epilog=f"Exit code 1 if the ratio is above {LIMIT_RATIO:g}."
    )
    parser.add_argument("--rows", type=int, default=10_000_000, help="labels applied before (default: 10000000)")
    parser.add_argument("--labels", type=int, default=100_000, help="labels of a batch (default: 100000)")
    parser.add_argument("--pairs", type=int, default=20, help="turns; with 16 or more, blocks are merged (default: 20)")
    return parser.parse_args()


def main() -> int:
    """Run the pairs and print the table."""
    asked = arguments()
    source = made(asked.rows)
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        for path in source.iterdir():
            shutil.copyfile(path, folder / path.name)
        pairs = measure(folder, asked.labels, asked.pairs)
    print(f"{asked.labels:,} labels of one date onto {asked.rows:,} applied ones, SQLite, synchronous = FULL")
    print(f"{'':>6} {'Ledger':>21} {'statements':>21} {'ratio of':>16}")
    print(f"{'pair':>6} {'read':>10} {'commit':>10} {'read':>10} {'commit':>10} {'commit':>8} {'both':>7}")
    for at, pair in enumerate(pairs, start=1):
        show(str(at), pair)
    columns = [*zip(*pairs, strict=True)]
    show("median", tuple(map(statistics.median, columns)))
    ratios = show("whole", tuple(map(sum, columns)))
    print(f"to reach: {LIMIT_RATIO:g}x")
    return 0 if max(ratios) <= LIMIT_RATIO else 1


def show(name: str, pair: tuple[float, ...]) -> tuple[float, float]:
    """Print a line; the ratios of the commits alone and with what is read before."""
    look, keep, raw_look, raw_keep = pair
    ratios = keep / raw_keep, (look + keep) / (raw_look + raw_keep)
    seconds = " ".join(f"{each:>8.3f} s" for each in pair)
    print(f"{name:>6} {seconds} {ratios[0]:>7.2f}x {ratios[1]:>6.2f}x")
    return ratios


if __name__ == "__main__":
    sys.exit(main())
