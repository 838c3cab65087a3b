"""Which segments of a model's log there are, and which files hold them. What is in them, the engine reads."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_ml_metrics.attribution.portions import Portion
from otel_ml_metrics.errors import LogError, suggest
from otel_ml_metrics.prediction_log.layout import DATE_KEY, MODEL_KEY, model_folder, model_of
from otel_ml_metrics.prediction_log.manifest import read_manifest
from otel_ml_metrics.storage.files import storage_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from otel_ml_metrics.prediction_log.manifest import Manifest
    from otel_ml_metrics.storage.files import Storage

_SEGMENT: Final = re.compile(rf"{DATE_KEY}=([^/]+)/(s-[^/]*\.parquet)")


class Segment(NamedTuple):
    """What one flush of a process wrote for one date. Its rows never change; the file that holds them may.

    Args:
        name: Unique in the log.
        path: The file that holds its rows now.
        date: UTC date of its predictions.
        shares: Of a compacted file, how many segments it holds; 0 where the file is the segment.
    """

    name: str
    path: str
    date: str
    shares: int = 0


def segments(log: str | os.PathLike[str], model: str) -> dict[str, Segment]:
    """Every segment of a model's log, by name; none where the log has nothing of the model yet.

    Raises:
        LogError: The log cannot be read, or it holds the predictions of other models only.
    """
    folder = model_folder(log, model)
    try:
        storage = storage_of(folder)
        listed = storage.paths(folder)  # before the manifest is read, see there
        found = visible(folder, listed, read_manifest(storage, folder))
        others = [] if found or listed else _other_models(storage, folder)
    except LogError:
        raise
    except OSError as problem:
        message = (
            f"The prediction log {log} cannot be read: {problem.strerror or problem}."
            " Give it to the user that evaluates."
        )
        raise LogError(message) from problem
    if others:
        message = f"The prediction log {log} has nothing of the model {model!r}. {suggest(model, others)}"
        raise LogError(message)
    return found


def log_files(log: str | os.PathLike[str], model: str) -> list[str]:
    """Every file that holds rows of a model's log now, each row once; for engines that read the log by themselves.

    Raises:
        LogError: The log cannot be read, or it holds the predictions of other models only.
    """
    return sorted({segment.path for segment in segments(log, model).values()})


def portions(listed: Mapping[str, Segment], chosen: Iterable[str]) -> list[Portion]:
    """The files, or parts of them, that hold the rows of some segments, each file once, by path.

    Args:
        listed: Segments by name.
        chosen: Names of those whose rows are wanted.
    """
    by_path: dict[str, list[Segment]] = defaultdict(list)
    for name in chosen:
        by_path[listed[name].path].append(listed[name])
    return [_portion(path, held) for path, held in sorted(by_path.items())]


def _portion(path: str, held: list[Segment]) -> Portion:
    shares = held[0].shares
    names = tuple(sorted(segment.name for segment in held))
    return Portion(path, is_compacted=shares > 0, only=names if shares > len(names) else None)


def is_segment(path: str) -> bool:
    """Whether a file is a segment, by its path below the model's folder."""
    return _SEGMENT.fullmatch(path) is not None


def visible(folder: str, listed: Iterable[str], manifest: Manifest) -> dict[str, Segment]:
    """Every segment of a log, by name: those of the manifest's files, and the listed ones that it does not name.

    Args:
        folder: The model's.
        listed: Path of every file in it.
        manifest: As it was read after the listing.
    """
    found = {
        name: Segment(name, f"{folder}/{file.name}", file.date, shares=len(file.segments))
        for file in manifest.files
        for name in file.segments
    }
    for each in listed:
        match = _SEGMENT.fullmatch(each, len(folder) + 1)
        if match and match[2] not in found and match[0] not in manifest.leaving:
            found[match[2]] = Segment(match[2], each, match[1])
    return found


def _other_models(storage: Storage, folder: str) -> list[str]:
    log, _, own = folder.rpartition("/")
    return [model_of(name) for name in storage.folders(log) if name.startswith(f"{MODEL_KEY}=") and name != own]
