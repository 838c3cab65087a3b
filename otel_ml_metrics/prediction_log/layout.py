"""Where the prediction log keeps what: names of folders, files, columns and metadata. No I/O, no library.

    <log>/model=flight-delay/dt=2013-04-09/s-<pid>-<uuid>.parquet

A log is a local folder or a URL such as `s3://bucket/predictions`, so places are text here, with `/` between folders.
"""

from __future__ import annotations

import os
import uuid
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


def model_folder(log: str | os.PathLike[str], model: str) -> str:
    """The folder of one model, percent-quoted as Hive does.

    >>> model_folder("data/predictions", "churn/eu west")
    'data/predictions/model=churn%2Feu%20west'
    """
    return f"{os.fspath(log).rstrip('/')}/{MODEL_KEY}={quote(model, safe='')}"


def model_of(name: str) -> str:
    """The model of a folder's name.

    >>> model_of("model=churn%2Feu%20west")
    'churn/eu west'
    """
    return unquote(name.removeprefix(f"{MODEL_KEY}="))


def date_folder(folder: str, date: str) -> str:
    """The folder of one UTC date (`2013-04-09`) in the folder of a model."""
    return f"{folder}/{DATE_KEY}={date}"


def segment_name() -> str:
    """Name of a new segment."""
    return f"s-{os.getpid()}-{uuid.uuid4().hex}.parquet"


def compacted_name(date: str) -> str:
    """Path of a new compacted file below the folder of a model."""
    return f"{DATE_KEY}={date}/c-{uuid.uuid4().hex}.parquet"


def date_of_file(name: str) -> str:
    """The date of a file, by its path below the folder of a model.

    >>> date_of_file("dt=2013-04-09/s-1-0.parquet")
    '2013-04-09'
    """
    return name.partition("/")[0].removeprefix(f"{DATE_KEY}=")
