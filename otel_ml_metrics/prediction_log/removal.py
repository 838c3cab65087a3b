"""What leaves a model's log: dates that are retired, and files that nobody needs any more.

A file leaves the log by the manifest, at once for everybody who reads it from then on, and the disk a grace later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from otel_ml_metrics.storage.files import ASIDE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_ml_metrics.prediction_log.folder import ModelFolder
    from otel_ml_metrics.storage.files import StoredFile

ASIDE_SECONDS: Final = 86_400.0
"""Age at which a file that was never finished is taken to be left by a process that was killed."""


@dataclass(frozen=True)
class Removed:
    """Files that went.

    Args:
        files: How many.
        size: Bytes.
    """

    files: int = 0
    size: int = 0

    @classmethod
    def of(cls, sizes: Iterable[int]) -> Self:
        """Count files by their sizes."""
        listed = list(sizes)
        return cls(len(listed), sum(listed))


def retire(folder: ModelFolder, before: str, *, dry_run: bool = False) -> Removed:
    """Take the files of all dates before one out of the log.

    Args:
        folder: The log.
        before: The first UTC date that stays.
        dry_run: Whether to change nothing.

    Raises:
        LogError: The log cannot be listed or written.
        LogBusyError: Another process has published something meanwhile.
    """
    old = {name: file.size for name, file in folder.live(before=before).items()}
    old |= {file.name: file.size for file in folder.manifest.files if file.date < before}
    if old and not dry_run:
        folder.publish(folder.manifest.replaced(old, at=folder.now))
    return Removed.of(old.values())


def clean(folder: ModelFolder, *, dry_run: bool = False) -> Removed:
    """Delete what left the log a grace ago, and what processes that died left behind.

    Raises:
        LogError: Something cannot be deleted.
        LogBusyError: Another process has published something meanwhile.
    """
    folder.reload()  # what is deleted must stand in the manifest that is stored now
    due = {name for name, at in folder.manifest.leaving.items() if at + folder.grace <= folder.now}
    going = [file for name, file in folder.listed().items() if name in due or _is_left_behind(folder, name, file)]
    if not dry_run:
        with folder.told():
            for file in going:
                folder.storage.delete(file.path)
        over = {name for name in due if folder.manifest.leaving[name] + 2 * folder.grace <= folder.now}
        if over:  # no reader has them in its list any more
            folder.publish(folder.manifest.forgetting(over))
    return Removed.of(file.size for file in going)


def _is_left_behind(folder: ModelFolder, name: str, file: StoredFile) -> bool:
    """Whether a file was never finished, or finished and never published."""
    base = name.rpartition("/")[2]
    age = folder.now - file.changed_ns / 1e9
    if base.startswith(ASIDE):
        return age >= max(folder.grace, ASIDE_SECONDS)
    known = {each.name for each in folder.manifest.files} | folder.manifest.leaving.keys()
    return base.startswith("c-") and name not in known and age >= folder.grace
