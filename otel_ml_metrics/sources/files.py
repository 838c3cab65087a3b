"""Files that somebody else writes, in a folder or an object store that grows by new ones."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from otel_ml_metrics.storage.files import storage_of
from otel_ml_metrics.storage.locations import as_regex, fixed_part, is_url

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_ml_metrics.storage.files import StoredFile


@dataclass(frozen=True)
class SourceFile:
    """One file.

    Args:
        name: Its path below the folder that the pattern names, so that a folder may move.
        path: Where it is.
        stamp: Size and time of the last change when it was listed: a quick look at whether it is what it was.
        size: Bytes.
    """

    name: str
    path: str
    stamp: str
    size: int

    def fingerprint(self) -> str:
        """Size and digest (in an object store: entity tag), a thorough look.

        Raises:
            OSError: The file cannot be read.
        """
        return storage_of(self.path).fingerprint(self.path)


def source_files(location: str, *, endings: tuple[str, ...]) -> dict[str, SourceFile]:
    """Every file that is there now, by name.

    Hidden files (a leading dot or underscore) are passed over: other programs write files aside under such names.

    Args:
        location: A file, a folder or a pattern; a path or URL.
        endings: Of the files that are meant in a folder; a pattern means what it matches.

    Raises:
        OSError: The folder or the object store cannot be read.
    """
    root, found = _in_store(location, endings) if is_url(location) else _in_folder(Path(location), endings)
    files = {}
    for each in found:
        if not each.path.rpartition("/")[2].startswith((".", "_")):
            name = each.path.removeprefix(f"{root}/")
            files[name] = SourceFile(name, each.path, each.stamp, each.size)
    return files


def _in_folder(path: Path, endings: tuple[str, ...]) -> tuple[str, Iterable[StoredFile]]:
    """The folder that names start at, and the files that a path or pattern means: of a folder, those that end alike."""
    root = _folder_of(path)
    storage = storage_of(str(root))
    if path == root:
        below = len(str(root))
        return str(root), [
            each for each in storage.files(str(root)) if each.path.endswith(endings) and "/." not in each.path[below:]
        ]
    pattern = Path(glob.escape(str(root))) / path.relative_to(root)
    found = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern
    listed = (storage.stat(each) for each in found if Path(each).is_file())
    return str(root), [each for each in listed if each is not None]


def _folder_of(path: Path) -> Path:
    """The folder that the names of files start at. Its own name is meant as it is, whatever glob would make of it."""
    folder = Path(path.anchor)
    for part in path.relative_to(folder).parts:
        if not (folder / part).is_dir():
            break
        folder /= part
    return folder


def _in_store(url: str, endings: tuple[str, ...]) -> tuple[str, Iterable[StoredFile]]:
    """The same in an object store, where a folder is but a common beginning of names."""
    url = url.rstrip("/")
    storage = storage_of(url)
    root = fixed_part(url)
    found = storage.files(root)
    if root != url:
        matches = as_regex(url).fullmatch
        return root, [each for each in found if matches(each.path)]
    single = None if found else storage.stat(url)
    if single is not None:
        return root.rpartition("/")[0], [single]
    return root, [each for each in found if each.path.endswith(endings)]
