"""Labels in a folder of Parquet or CSV files that grows by new files. What is in them, the engine reads."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.attribution.inputs import LABEL, Input, LabelPart, Survey
from otel_ml_metrics.errors import LabelSourceError
from otel_ml_metrics.storage.files import storage_of
from otel_ml_metrics.storage.locations import as_regex, fixed_part, is_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_ml_metrics.declared_labels import LabelFiles
    from otel_ml_metrics.storage.files import StoredFile

_ALWAYS: Final = 2**63 - 1
_ENDINGS: Final = (".parquet", ".csv", ".csv.gz")


@dataclass(frozen=True)
class LabelFile:
    """One file with labels.

    Args:
        name: Its path below the folder that the pattern names, so that a folder may move.
        path: Where it is.
        form: parquet or csv.
        stamp: Size and time of the last change when it was listed.
    """

    name: str
    path: str
    form: str
    stamp: str

    def stat(self) -> str:
        """Size and time of the last change, a quick look at whether the file is still what was taken."""
        return self.stamp

    def fingerprint(self) -> str:
        """Size and digest (in an object store: entity tag), a thorough look.

        Raises:
            LabelSourceError: The file cannot be read.
        """
        try:
            return storage_of(self.path).fingerprint(self.path)
        except OSError as problem:
            message = f"The label file {self.path} cannot be read: {problem.strerror or problem}."
            raise LabelSourceError(message) from problem


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

    Raises:
        LabelSourceError: The folder or the object store cannot be read.
    """
    try:
        if is_url(source.path):
            root, found = _in_store(source.path)
        else:
            root, found = _in_folder(Path(source.path))
    except OSError as problem:
        message = f"The label files {source.path} cannot be listed: {problem.strerror or problem}."
        raise LabelSourceError(message) from problem
    files = {}
    for each in found:
        base = each.path.rpartition("/")[2]
        if not base.startswith((".", "_")):
            form = "csv" if base.lower().endswith((".csv", ".csv.gz")) else "parquet"
            name = each.path.removeprefix(f"{root}/")
            files[name] = LabelFile(name, each.path, form, each.stamp)
    return files


def _in_folder(path: Path) -> tuple[str, Iterable[StoredFile]]:
    """The folder that names start at, and the files that a path or pattern means: of a folder, those that end alike."""
    root = _folder_of(path)
    rest = path.relative_to(root)
    pattern = Path(glob.escape(str(root))) / ("**/*" if path == root else rest)
    found = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern
    storage = storage_of(str(root))
    named = (each for each in found if path != root or each.endswith(_ENDINGS))
    listed = (storage.stat(each) for each in named if Path(each).is_file())
    return str(root), [each for each in listed if each is not None]


def _folder_of(path: Path) -> Path:
    """The folder that the names of files start at. Its own name is meant as it is, whatever glob would make of it."""
    folder = Path(path.anchor)
    for part in path.relative_to(folder).parts:
        if not (folder / part).is_dir():
            break
        folder /= part
    return folder


def _in_store(url: str) -> tuple[str, Iterable[StoredFile]]:
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
    return root, [each for each in found if each.path.endswith(_ENDINGS)]
