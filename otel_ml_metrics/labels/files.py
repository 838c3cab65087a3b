"""Labels in a folder of Parquet or CSV files that grows by new files. What is in them, the engine reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics.attribution.inputs import LABEL, Input, LabelPart, Survey
from otel_ml_metrics.errors import LabelSourceError
from otel_ml_metrics.sources.files import source_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.declared_labels import LabelFiles
    from otel_ml_metrics.sources.files import SourceFile

_ALWAYS: Final = 2**63 - 1
_CSV: Final = (".csv", ".csv.gz")


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


def _differs(file: SourceFile, taken: Input) -> bool:
    return taken.stat != file.stamp and taken.fingerprint != _fingerprint(file)


def _has_more(taken: Input, as_of_us: int) -> bool:
    until, last = taken.taken_until_us, taken.last_us
    return until is not None and last is not None and until < min(last, as_of_us)


def _part(file: SourceFile, after_us: int | None) -> LabelPart:
    """Look at a file before it is read: a change while it is being read is found by the next run."""
    state = Input(LABEL, file.name, stat=file.stamp, fingerprint=_fingerprint(file))
    return LabelPart(state, file.path, "csv" if file.name.lower().endswith(_CSV) else "parquet", after_us)


def _fingerprint(file: SourceFile) -> str:
    try:
        return file.fingerprint()
    except OSError as problem:
        message = f"The label file {file.path} cannot be read: {problem.strerror or problem}."
        raise LabelSourceError(message) from problem


def label_files(source: LabelFiles) -> dict[str, SourceFile]:
    """Every label file that is there now, by name; none is no error, since labels come late.

    Raises:
        LabelSourceError: The folder or the object store cannot be read.
    """
    try:
        return source_files(source.path, endings=(".parquet", *_CSV))
    except OSError as problem:
        message = f"The label files {source.path} cannot be listed: {problem.strerror or problem}."
        raise LabelSourceError(message) from problem
