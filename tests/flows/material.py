"""A small evaluation on disk: two days of predictions by two variants, labels two hours later, monitoring.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from otel_ml_metrics.monitor import ModelMonitor
from otel_ml_metrics.testing import TelemetryCapture

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

START: Final = datetime(2013, 4, 1, tzinfo=UTC)
SETTLED: Final = datetime(2013, 4, 4, tzinfo=UTC)
"""As of here both windows are final at both maturities, and the second one is the newest that can be."""

CLOSED_PORT: Final = "http://127.0.0.1:9"
"""An endpoint that nobody listens at."""

PER_DAY: Final = 96
DAYS: Final = 2

MONITORING: Final = """\
name: flight-delay-api/flight-delay
model: flight-delay
task: binary
service: flight-delay-api
predictions: {folder}/predictions
labels: {{path: "{folder}/labels/*.parquet", id: prediction_id, label: late, received_at: landed_at}}
ledger: sqlite:///{folder}/ledger.db
window: 1d
attribution_window: 1d
maturities: [6h, 1d]
slices: [carrier]
by: [variant]
measures: [accuracy, log_loss]
"""


@dataclass(frozen=True)
class Material:
    """Where the parts of the small evaluation are.

    Args:
        folder: Of everything.
        monitoring: Its monitoring.yaml.
    """

    folder: Path
    monitoring: Path

    @property
    def ledger(self) -> Path:
        """The ledger's file, which the first run makes."""
        return self.folder / "ledger.db"

    def declare(self, before: str, after: str) -> None:
        """Change a line of monitoring.yaml."""
        known = self.monitoring.read_text(encoding="utf-8")
        assert known.count(before) == 1
        self.monitoring.write_text(known.replace(before, after), encoding="utf-8")

    def lose_labels(self, since: datetime) -> None:
        """Let the labels stop coming in at an instant."""
        path = self.folder / "labels" / "landed.parquet"
        labels = pa.parquet.read_table(path)
        pa.parquet.write_table(labels.filter(pc.less(labels.column("landed_at"), pa.scalar(since))), path)


def lay_down(folder: Path, *, days: float = DAYS, skilled: bool = False) -> Material:
    """Write the predictions of some days, their labels and monitoring.yaml into a folder.

    Args:
        folder: Takes them.
        days: How many, from `START` on.
        skilled: Whether scores are the chances of a positive label; otherwise they know nothing of it.
    """
    ids: list[str] = []
    rng = np.random.default_rng(7)
    predicted_at = [START + timedelta(days=1) / PER_DAY * row for row in range(int(PER_DAY * days))]
    scores = rng.uniform(size=len(predicted_at))
    with TelemetryCapture() as telemetry:
        for arm, variant in enumerate(("champion", "challenger")):
            rows = slice(arm, None, 2)
            monitor = ModelMonitor(
                "flight-delay",
                version="1",
                variant=variant,
                slices=["carrier"],
                log=folder / "predictions",
                meter_provider=telemetry.meter_provider,
            )
            arm_scores, arm_instants = scores[rows], predicted_at[rows]
            ids += monitor.record_batch(
                score=arm_scores,
                prediction=arm_scores >= 0.5,
                predicted_at=arm_instants,
                carrier=["UA" if row % 3 else "AA" for row in range(len(arm_scores))],
            )
            monitor.shutdown()
    chances = [*scores[0::2], *scores[1::2]] if skilled else [0.4] * len(ids)
    _write_labels(
        folder / "labels", ids, [*predicted_at[0::2], *predicted_at[1::2]], rng.uniform(size=len(ids)) < chances
    )
    monitoring = folder / "monitoring.yaml"
    monitoring.write_text(MONITORING.format(folder=folder), encoding="utf-8")
    return Material(folder, monitoring)


def _write_labels(folder: Path, ids: list[str], predicted_at: list[datetime], late: NDArray[np.bool_]) -> None:
    folder.mkdir()
    table = pa.table(
        {
            "prediction_id": ids,
            "late": pa.array(late),
            "landed_at": pa.array([at + timedelta(hours=2) for at in predicted_at], pa.timestamp("us", "UTC")),
        }
    )
    pa.parquet.write_table(table, folder / "landed.parquet")
