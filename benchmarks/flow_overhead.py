"""Time a run of the flow against `Evaluator.run` alone: what does Prefect add, with its table, picture and messages?

The same days, labels and measures, taking turns: the evaluator with one ledger, the flow with another, in the process
that the demo runs flows in. Its API is that of `prefect server start`, on the loopback, started before the clock. Both
send to a receiver in this process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Final

from worlds import DAY, FIRST, MODEL, log_day, monitor, seconds, write_labels

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.demo.flow_runs import FlowRuns
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.telemetry.receiver import Receiver

PER_DAY: Final = 5_000
LIMIT_SECONDS: Final = 1.5
MONITORING: Final = """\
model: {model}
predictions: {folder}/predictions
labels: {{path: "{folder}/labels/*.parquet", id: prediction_id, label: late, received_at: landed_at}}
ledger: sqlite:///{ledger}.db
attribution_window: 3d
maturities: [6h, 1d, 3d]
slices: [carrier]
measures: [accuracy, precision, recall, roc_auc, log_loss]
"""


def settings(folder: Path, ledger: str) -> str:
    """A monitoring.yaml with a ledger of its own; its path."""
    path = folder / f"{ledger}.yaml"
    path.write_text(MONITORING.format(model=MODEL, folder=folder, ledger=ledger), encoding="utf-8")
    return str(path)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"Exit code 1 if the flow takes more than {LIMIT_SECONDS:g} s longer, in the median.",
    )
    parser.add_argument("--days", type=int, default=12, help="runs of each; the first does not count (default: 12)")
    return parser.parse_args()


def main() -> int:
    """Take turns, day by day."""
    days = arguments().days
    with tempfile.TemporaryDirectory() as name, Receiver() as receiver:
        folder = Path(name)
        logger = monitor(folder)
        environ = os.environ | receiver.environment
        taken = []
        with (
            Evaluator(Evaluation.from_file(settings(folder, "alone")), environ=environ) as evaluator,
            FlowRuns(folder / "prefect", log=folder / "prefect.log", environ=environ) as flows,
        ):
            flows.wait_until_ready()
            path = settings(folder, "flow")
            for day in range(days):
                write_labels(folder, f"{day:02}", log_day(logger, day, PER_DAY))
                as_of = FIRST + DAY * (day + 1)
                alone = seconds(evaluator.run, as_of)
                run = seconds(lambda now: flows.run(monitoring=path, as_of=now), as_of.isoformat())
                taken.append((alone, run))
                print(f"day {day + 1:>2}: alone {alone:.2f} s, flow {run:.2f} s, {run - alone:+.2f} s", flush=True)
        logger.shutdown()
    more = statistics.median(run - alone for alone, run in taken[1:])
    print(f"the flow takes {more:.2f} s longer in the median of {days - 1} days, at most {LIMIT_SECONDS:g} s to reach")
    return int(more > LIMIT_SECONDS)


if __name__ == "__main__":
    raise SystemExit(main())
