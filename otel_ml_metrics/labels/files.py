"""Labels in a folder of Parquet or CSV files that grows by new files. What is in them, the engine reads."""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.attribution.inputs import LABEL, Input, LabelPart, Survey
from otel_ml_metrics.errors import LabelSourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.declared_labels import LabelFiles

_CHUNK: Final = 1 << 20
_ALWAYS: Final = 2**63 - 1
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


class LabelFolder:
    """The files of a folder.

    Args:
        source: Where they are.
    """

    def __init__(self, source: LabelFiles) -> None:
        self._source = source

    def survey(self, known: Mapping[str, Input], *, as_of_us: int) -> Survey:
        """The files that are new, and those with labels that the last run did not take yet."""
        parts, warnings = [], []
        for name, file in label_files(self._source).items():
            taken = known.get(name)
            if taken is not None and _differs(file, taken):
                warnings.append(
                    f"The label file {file.path} changed after it was read; what changed is not used. Write new labels"
                    " and revisions into new files, or run `otel-ml-metrics backfill` over the time of its predictions."
                )
            elif taken is None or _has_more(taken, as_of_us):
                parts.append(_part(file, None if taken is None else taken.taken_until_us))
        return Survey(parts, warnings)

    def again(self, known: Mapping[str, Input], *, since_us: int, until_us: int) -> Survey:
        """Every file that was taken and is there, but for those whose labels all came earlier."""
        del until_us  # when the first label of a file came is not known
        files = label_files(self._source)
        wanted = {
            name: taken
            for name, taken in known.items()
            if taken.last_us is None or taken.last_us >= since_us or (name in files and _differs(files[name], taken))
        }
        gone = [name for name in wanted if name not in files]
        warnings = [f"{len(gone)} label files are gone, such as {gone[0]}; what they said stays."] if gone else []
        parts = [_part(files[name], None) for name in wanted if name in files]
        return Survey(parts, warnings, gone_before_us=_ALWAYS if gone else None)


def _differs(file: LabelFile, taken: Input) -> bool:
    return taken.stat != file.stat() and taken.fingerprint != file.fingerprint()


def _has_more(taken: Input, as_of_us: int) -> bool:
    until, last = taken.taken_until_us, taken.last_us
    return until is not None and last is not None and until < min(last, as_of_us)


def _part(file: LabelFile, after_us: int | None) -> LabelPart:
    """Look at a file before it is read: a change while it is being read is found by the next run."""
    state = Input(LABEL, file.name, stat=file.stat(), fingerprint=file.fingerprint())
    return LabelPart(state, file.path, file.form, after_us)


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
