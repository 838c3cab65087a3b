"""Time the report of a year of daily windows and twenty measures, and weigh the page.

A year of predictions with their labels is logged and evaluated once per machine; then the program writes its page, in a
process of its own, from its start to the last byte.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Final

from worlds import DAY, FIRST, MODEL, log_day, made, monitor, seconds, write_labels

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.evaluator import Evaluator

WINDOWS: Final = 365
PER_WINDOW: Final = 500
LIMIT_SECONDS: Final = 5.0
LIMIT_BYTES: Final = 5_000_000
NOW: Final = FIRST + DAY * WINDOWS + timedelta(hours=18)
MEASURES: Final = (
    "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "matthews_corrcoef", "log_loss",
    "brier_score", "roc_auc", "gini", "average_precision", "ks", "precision_at_top", "lift",
    "expected_calibration_error", "maximum_calibration_error", "brier_reliability", "brier_resolution",
    "brier_uncertainty",
)  # fmt: skip
MONITORING: Final = """\
model: {model}
predictions: predictions
labels: {{path: "labels/*.parquet", id: prediction_id, label: late, received_at: landed_at}}
ledger: sqlite:///ledger.db
attribution_window: 3d
maturities: [6h, 1d, 3d]
slices: [origin]
measures: [{measures}]
"""


def make(folder: Path) -> None:
    """Log a year of predictions with their labels, and evaluate them once."""
    logger = monitor(folder)
    for day in range(WINDOWS):
        write_labels(folder, f"{day:03}", log_day(logger, day, PER_WINDOW, segments=1))
    logger.shutdown()
    path = folder / "monitoring.yaml"
    path.write_text(MONITORING.format(model=MODEL, measures=", ".join(MEASURES)), encoding="utf-8")
    with Evaluator(Evaluation.from_file(path), environ={}) as evaluator:
        evaluator.run(NOW)


def write(source: Path, page: Path) -> None:
    """Write the page, as a user would."""
    command = [sys.executable, "-m", "otel_ml_metrics.cli", "report", str(source / "monitoring.yaml"), "-o", str(page)]
    subprocess.run(command, check=True)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"Exit code 1 if it takes more than {LIMIT_SECONDS:.0f} s or {LIMIT_BYTES / 1e6:.0f} MB.",
    )
    parser.add_argument("--turns", type=int, default=3, help="How often the page is written; the fastest counts.")
    return parser.parse_args()


def main() -> int:
    """Write the page a few times, and judge the fastest."""
    turns = arguments().turns
    source = made("report", make)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        taken = [seconds(write, source, page) for _ in range(turns)]
        size = page.stat().st_size
    print(f"{WINDOWS} windows x {len(MEASURES)} measures: {min(taken):.1f} s (of {turns} turns), {size / 1e6:.1f} MB")
    return int(min(taken) > LIMIT_SECONDS or size > LIMIT_BYTES)


if __name__ == "__main__":
    sys.exit(main())
