"""Where the prediction log keeps what: names of folders, files, columns and metadata. No I/O, no library.

    <log>/model=flight-delay/dt=2013-04-09/s-<pid>-<uuid>.parquet

A segment is written under a name of its own kind, `.tmp-…`, which no reader's pattern matches, and then renamed.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

MODEL_KEY: Final = "model"
DATE_KEY: Final = "dt"
SEGMENT_PATTERN: Final = "s-*.parquet"
SCHEMA_KEY: Final = "otel_ml_metrics.schema"
SCHEMA_VERSION: Final = "1"
BINS_KEY: Final = "otel_ml_metrics.bins"

LEADING_COLUMNS: Final = (
    "prediction_id",
    "predicted_at",
    "output",
    "version",
    "variant",
    "score",
    "prediction",
    "score_bin",
    "duration",
    "weight",
    "acted_on",
    "trace_id",
    "span_id",
)


def model_folder(log: str | os.PathLike[str], model: str) -> Path:
    """The folder of one model, percent-quoted as Hive does.

    >>> model_folder("data/predictions", "churn/eu west").as_posix()
    'data/predictions/model=churn%2Feu%20west'
    """
    return Path(log) / f"{MODEL_KEY}={quote(model, safe='')}"


def model_of(folder: Path) -> str:
    """The model whose folder this is.

    >>> model_of(model_folder("data", "churn/eu west"))
    'churn/eu west'
    """
    return unquote(folder.name.removeprefix(f"{MODEL_KEY}="))


def date_folder(folder: Path, date: str) -> Path:
    """The folder of one UTC date (`2013-04-09`) in the folder of a model."""
    return folder / f"{DATE_KEY}={date}"


def segment_names() -> tuple[str, str]:
    """Name of a new segment, and the name under which it is written aside."""
    unique = f"{os.getpid()}-{uuid.uuid4().hex}"
    return f"s-{unique}.parquet", f".tmp-{unique}"
