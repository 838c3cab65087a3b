"""Keeps the log and the ledger of an evaluation in order: retires old dates, merges files, deletes what is over.

Everything is safe beside writers, readers and runs, can die anywhere, and is made up for by the next time.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.attribution.inputs import LABEL, SEGMENT
from otel_ml_metrics.auditor import see_ledger
from otel_ml_metrics.declared_labels import LabelFiles
from otel_ml_metrics.errors import LedgerMovedError
from otel_ml_metrics.evaluator import ATTEMPTS
from otel_ml_metrics.instants import DAY_US, to_us
from otel_ml_metrics.labels.files import label_files
from otel_ml_metrics.ledger.retiring import Forgotten
from otel_ml_metrics.ledger.store import Ledger, schema_of
from otel_ml_metrics.prediction_log.compaction import Merged, batches, compact
from otel_ml_metrics.prediction_log.folder import ModelFolder
from otel_ml_metrics.prediction_log.reader import segments
from otel_ml_metrics.prediction_log.removal import Removed, clean, retire

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_ml_metrics.attribution.retirement import Retirement
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.ledger.commit import Head

    Progress = Callable[[str, int, int], None]

GRACE: Final = timedelta(hours=1)
"""How long superseded files stay for those who read them."""

RETIRING: Final = "retiring what is old"
MERGING: Final = "merging files"
DELETING: Final = "deleting what is over"
STAGES: Final = (RETIRING, MERGING, DELETING)


@dataclass(frozen=True, kw_only=True)
class Retired:
    """What was retired.

    Args:
        before: The first UTC date that stays; None where nothing is retired yet.
        dates: Dates of which the ledger forgot segments and labels this time.
        segments: How many segments these are.
        label_files: Label files that are gone, and whose progress was forgotten.
        unread: Segments of retired dates that were never evaluated: they came too late.
        files: Files that left the log.
        size: Their bytes.
    """

    before: str | None = None
    dates: int = 0
    segments: int = 0
    label_files: int = 0
    unread: int = 0
    files: int = 0
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """What one maintenance did, or would do.

    Args:
        evaluation: Its name.
        model: Name of the model.
        dry_run: Whether nothing was changed.
        retired: What was retired; None where nothing was asked for, or no retention is declared.
        merged: Merges of files, one a date and schema; of a dry run, dates with files to merge, whose rows and size
            afterwards are not known (0).
        deleted: Files whose grace was over, and what processes that died left behind.
    """

    evaluation: str
    model: str
    dry_run: bool
    retired: Retired | None = None
    merged: tuple[Merged, ...] = ()
    deleted: Removed = field(default_factory=Removed)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self) | {"merged": [asdict(merged) for merged in self.merged]}


def maintain(
    evaluation: Evaluation,
    *,
    compaction: bool = True,
    retention: bool = True,
    dry_run: bool = False,
    grace: timedelta = GRACE,
    clock: Callable[[], datetime] | None = None,
    progress: Progress | None = None,
) -> Upkeep:
    """Retire what is older than the evaluation's `retention`, merge small files of the log, delete what is over.

    Age counts from where the ledger stands, not from now, so that nothing goes that was not evaluated.

    Args:
        evaluation: Whose log and ledger.
        compaction: Whether to merge files.
        retention: Whether to retire dates.
        dry_run: Whether to look only.
        grace: How long files stay that are no longer needed, for those who read them.
        clock: Gives the current instant; default: the system's.
        progress: Told the stage, and how many of how many are done.

    Raises:
        ConfigurationError: The grace is too short for an object store.
        LogBusyError: Another process maintains the log.
        LogError: The log cannot be read or written.
        LedgerMovedError: Runs kept committing; nothing was retired.
        LedgerError: The ledger cannot be used.
    """
    keeper = _Keeper(evaluation, grace, clock or (lambda: datetime.now(UTC)), progress or (lambda *_told: None))
    retired = keeper.retire(dry_run=dry_run) if retention and evaluation.retention is not None else None
    with nullcontext() if dry_run else keeper.folder.alone():
        gone = keeper.retire_files(retired, dry_run=dry_run)
        merged = keeper.merge(dry_run=dry_run) if compaction else ()
        deleted = keeper.delete(dry_run=dry_run)
    return Upkeep(
        evaluation=evaluation.name,
        model=evaluation.model,
        dry_run=dry_run,
        retired=gone,
        merged=merged,
        deleted=deleted,
    )


class _Keeper:
    """Keeps one evaluation's log and ledger in order."""

    def __init__(
        self, evaluation: Evaluation, grace: timedelta, clock: Callable[[], datetime], progress: Progress
    ) -> None:
        self._evaluation = evaluation
        self._clock = clock
        self._progress = progress
        self.folder = ModelFolder(
            evaluation.predictions,
            evaluation.model,
            grace=grace.total_seconds(),
            clock=lambda: clock().timestamp(),
        )

    def retire(self, *, dry_run: bool) -> Retired:
        """Let the ledger forget what is old; it is one commit, and files go after it."""
        self._progress(RETIRING, 0, 1)
        if schema_of(self._evaluation.ledger) is None:
            return Retired()
        see_ledger(self._evaluation, may_migrate=not dry_run)
        with closing(Ledger.of(self._evaluation)) as ledger:
            for _ in range(ATTEMPTS - 1):
                try:
                    return self._retire(ledger, dry_run=dry_run)
                except LedgerMovedError:
                    continue
            return self._retire(ledger, dry_run=dry_run)

    def retire_files(self, retired: Retired | None, *, dry_run: bool) -> Retired | None:
        """Take the files of what the ledger has retired out of the log."""
        if retired is None or retired.before is None:
            return retired
        removed = retire(self.folder, retired.before, dry_run=dry_run)
        self._progress(RETIRING, 1, 1)
        return Retired(**asdict(retired) | {"files": removed.files, "size": removed.size})

    def merge(self, *, dry_run: bool) -> tuple[Merged, ...]:
        """Merge the files of each date that has several."""
        found = batches(self.folder)
        if dry_run:
            return tuple(Merged(batch.date, batch.files, 0, batch.size, 0) for batch in found)
        done: list[Merged] = []
        self._progress(MERGING, 0, len(found))
        for at, batch in enumerate(found, start=1):
            done += compact(self.folder, batch)
            self._progress(MERGING, at, len(found))
        return tuple(done)

    def delete(self, *, dry_run: bool) -> Removed:
        """Delete files whose grace is over."""
        self._progress(DELETING, 0, 1)
        removed = clean(self.folder, dry_run=dry_run)
        self._progress(DELETING, 1, 1)
        return removed

    def _retire(self, ledger: Ledger, *, dry_run: bool) -> Retired:
        head, retirement = ledger.head(), ledger.retired()
        before_us = self._oldest_kept(head, retirement)
        if before_us is None:
            return Retired(before=retirement.before)
        wider = retirement.up_to(before_us, head.definition or {})
        taken, labels = ledger.inputs(SEGMENT), self._needless_labels(ledger, before_us)
        old = [each for each in taken.values() if wider.is_retired(each.date)]
        forgotten = Forgotten(len({each.date for each in old}), len(old), len(labels))
        unread = [
            name
            for name, segment in segments(self._evaluation.predictions, self._evaluation.model).items()
            if wider.is_retired(segment.date) and not retirement.is_retired(segment.date) and name not in taken
        ]
        if not dry_run:
            forgotten = ledger.retire(head, wider, label_files=labels, now_us=to_us(self._clock()))
        return Retired(before=wider.before, unread=len(unread), **asdict(forgotten))

    def _oldest_kept(self, head: Head, retirement: Retirement) -> int | None:
        """The midnight from which on predictions stay; None where nothing more is to be retired."""
        if self._evaluation.retention is None or head.as_of_us is None:
            return None
        before_us = (head.as_of_us - self._evaluation.retention.us) // DAY_US * DAY_US
        is_later = retirement.before_us is None or before_us > retirement.before_us
        return before_us if is_later else None

    def _needless_labels(self, ledger: Ledger, before_us: int) -> list[str]:
        """Label files that are gone, and whose labels all came before what stays; other sources are never gone."""
        source = self._evaluation.labels
        if not isinstance(source, LabelFiles):
            return []
        known = ledger.inputs(LABEL)
        old = [name for name, each in known.items() if each.last_us is None or each.last_us < before_us]
        found = label_files(source) if old else {}
        return [name for name in old if name not in found]
