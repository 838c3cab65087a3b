"""Labels in a folder of Parquet or CSV files that grows by new files. What is in them, the engine reads."""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.errors import LabelSourceError

if TYPE_CHECKING:
    from otel_ml_metrics.declared import LabelFiles

_CHUNK: Final = 1 << 20
_ENDINGS: Final = (".parquet", ".csv", ".csv.gz")


@dataclass(frozen=True)
class LabelFile:
    """One file with labels.

    Args:
        name: Its path below the folder that the pattern names, so that a folder may move.
        path: Where it is.
        form: parquet or csv.
    """

    name: str
    path: str
    form: str

    def stat(self) -> str:
        """Size and time of the last change, a quick look at whether the file is still what was taken."""
        status = Path(self.path).stat()
        return f"{status.st_size}:{status.st_mtime_ns}"

    def fingerprint(self) -> str:
        """Size and digest, a thorough look."""
        digest = hashlib.blake2b(digest_size=16)
        size = 0
        try:
            with Path(self.path).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    size += len(chunk)
                    digest.update(chunk)
        except OSError as problem:
            message = f"The label file {self.path} cannot be read: {problem.strerror}."
            raise LabelSourceError(message) from problem
        return f"{size}:{digest.hexdigest()}"


def label_files(source: LabelFiles) -> dict[str, LabelFile]:
    """Every label file that is there now, by name; none is no error, since labels come late.

    Hidden files (a leading dot or underscore) are passed over: other programs write files aside under such names.
    """
    path = Path(source.path)
    root = _folder_of(path)
    rest = path.relative_to(root)
    pattern = Path(glob.escape(str(root))) / ("**/*" if path == root else rest)
    found = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern
    files = {}
    for each in map(Path, found):
        if each.is_file() and not each.name.startswith((".", "_")) and (path != root or each.name.endswith(_ENDINGS)):
            form = "csv" if each.name.lower().endswith((".csv", ".csv.gz")) else "parquet"
            name = each.relative_to(root).as_posix()
            files[name] = LabelFile(name, str(each), form)
    return files


def _folder_of(path: Path) -> Path:
    """The folder that the names of files start at. Its own name is meant as it is, whatever glob would make of it."""
    folder = Path(path.anchor)
    for part in path.relative_to(folder).parts:
        if not (folder / part).is_dir():
            break
        folder /= part
    return folder
