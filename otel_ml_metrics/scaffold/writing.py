"""Writes a starting project into a folder, and never over what stands there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.scaffold.templates import project_files

if TYPE_CHECKING:
    from pathlib import Path

DATA: Final = "data"
LONGEST_LIST: Final = 5
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")


def write_project(
    folder: Path, *, model: str, task: str, force: bool = False, without_data: bool = False
) -> tuple[str, ...]:
    """Write a starting project.

    Args:
        folder: Made if it is missing. What else lies in it stays.
        model: Name of the model: letters, digits and `.`, `_`, `-`, `/`.
        task: What the model does, as in monitoring.yaml.
        force: Replace files of the project that are there already.
        without_data: Refuse a folder that has data already, so that made-up predictions never join real ones.

    Returns:
        The paths of the files, within the folder.

    Raises:
        ConfigurationError: The name cannot be used, or files stand in the way; then nothing is written.
    """
    if not _MODEL.fullmatch(model):
        message = f"found {model!r}, expected letters, digits and . _ - / (100 at most, the first a letter or digit)."
        raise ConfigurationError(message, "--model")
    files = project_files(model=model, task=task)
    _check_room(folder, files, force=force)
    if without_data and (folder / DATA).exists():
        message = f"made-up predictions would join what is in its {DATA}/. Choose a new folder for the example."
        raise ConfigurationError(message, source=str(folder))
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tuple(files)


def _check_room(folder: Path, files: dict[str, str], *, force: bool) -> None:
    """See that nothing stands where a file or a folder of the project goes."""
    ways = {parent for name in files for parent in (folder / name).parents if parent.is_relative_to(folder)}
    blocked = sorted(str(way.relative_to(folder)) for way in ways if way.exists() and not way.is_dir())
    there = blocked or [name for name in files if (folder / name).is_dir() or ((folder / name).exists() and not force)]
    if not there:
        return
    more = f" and {len(there) - LONGEST_LIST} more" if len(there) > LONGEST_LIST else ""
    advice = "" if blocked else ", or say --force to replace files of these names"
    message = f"there is already {', '.join(there[:LONGEST_LIST])}{more}. Choose another folder{advice}."
    raise ConfigurationError(message, source=str(folder))
