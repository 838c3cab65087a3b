"""Labels that can be held up: a run that asks for them stands still before its commit while a file is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from tests.patience import eventually

if TYPE_CHECKING:
    from datetime import datetime

FOLDER: Final = "FOLDER_OF_HELD_LABELS"
"""Variable with the folder of the material."""

GATE: Final = "gate"
ASKED: Final = "asked"
"""Says which process asked last."""


def labels(after: datetime | None, until: datetime) -> pa.Table:
    """Labels of the material that were received in a stretch of time, once the gate is open."""
    folder = Path(os.environ[FOLDER])
    gate = folder / GATE
    (folder / ASKED).write_text(str(os.getpid()), encoding="utf-8")
    eventually(lambda: not gate.exists(), within=600)
    table = pa.parquet.read_table(folder / "labels" / "landed.parquet")
    table = table.filter(pc.less_equal(table.column("landed_at"), pa.scalar(until)))
    return table if after is None else table.filter(pc.greater(table.column("landed_at"), pa.scalar(after)))
