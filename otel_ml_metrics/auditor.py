"""The ledger's own façade: checked against log and labels, exported for anybody to read, repaired where it differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from otel_ml_metrics.errors import LedgerError, LedgerMismatchError, LedgerMovedError
from otel_ml_metrics.evaluator import ATTEMPTS, Evaluator
from otel_ml_metrics.instants import from_us, iso, to_us
from otel_ml_metrics.intake import Intake
from otel_ml_metrics.ledger import export, integrity
from otel_ml_metrics.ledger.outbox import Outbox
from otel_ml_metrics.ledger.schema import SCHEMA_VERSION
from otel_ml_metrics.ledger.store import schema_of, shown_url
from otel_ml_metrics.ledger_check import Difference, LedgerCheck, LedgerRepair, Unread
from otel_ml_metrics.recount import Recount
from otel_ml_metrics.sending import send

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.evaluation_report import Report
    from otel_ml_metrics.ledger.commit import Head
    from otel_ml_metrics.recount import Span

MOST_DIFFERENCES: Final = 1_000
"""Sums that differ which a check lists; the rest is counted."""

RECOUNTING: Final = "computing windows again"
EXPORTING: Final = "writing files"


class Auditor(Evaluator):
    """An evaluator that also looks after its ledger. Checking and exporting change nothing.

    Example:
        with Auditor(Evaluation.from_file("monitoring.yaml")) as auditor:
            assert auditor.check().verdict == "equal"

    Args:
        evaluation: What is evaluated.
        environ: `OTEL_EXPORTER_OTLP_*` settings; default: the environment of the process.
        clock: Gives the current instant; default: the system's.
        progress: Told the stage, and how many of how many are done.
    """

    def check(self, *, since: datetime | None = None, until: datetime | None = None) -> LedgerCheck:
        """Compute windows again from log and applied labels, and compare every sum; look for damage everywhere.

        The values of exact measures are no function of sums, and are not computed again.

        Args:
            since: Start of the range by prediction time, with its zone; default: from the first window on.
            until: End of it, not included; default: to the last window.

        Returns:
            What differs, what could not be read, what contradicts itself, and the state of the outbox.

        Raises:
            InstantError: An instant has no time zone.
            LedgerMismatchError: Measures, slices or maturities changed since the last run.
        """
        head = self._settled_head()
        return self._told(head, self._spans(since, until))

    def export(self, folder: Path) -> list[Path]:
        """Write everything that the ledger holds as Parquet and JSON, as it is at one moment.

        Args:
            folder: Made where it is missing; one that holds anything is refused.

        Returns:
            The files, `ledger.json` last: it says what the others are.

        Raises:
            LedgerError: The folder holds something or cannot be written to, or a block of the ledger is damaged.
        """
        wanted = export.files(self._ledger.fact_schema)
        _see_empty(folder)
        told: dict[str, object] = {"evaluation": self._evaluation.name, "ledger": self._ledger.shown}
        told |= {"exported_at": iso(self._clock()), "files": {}}
        described: dict[str, object] = {}
        with self._ledger.database.reading() as connection:
            for at, file in enumerate(wanted):
                self._progress(EXPORTING, at, len(wanted))
                described[file.name] = {"rows": export.export(connection, file, folder), "what": file.told}
            export.write_manifest(connection, folder, told | {"files": described})
        self._progress(EXPORTING, len(wanted), len(wanted))
        return [folder / name for name in (*described, export.MANIFEST)]

    def repair(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        resend: bool = False,
        dry_run: bool = False,
    ) -> LedgerRepair:
        """Replace the sums that differ in one commit, as a backfill does; send what that changes; vacuum.

        Labels and segments that are damaged or gone cannot be repaired from the ledger; a new ledger reads everything
        anew.

        Args:
            since: Start of the range by prediction time, with its zone; default: from the first window on.
            until: End of it, not included; default: to the last window.
            resend: Whether points that the receiver refused for good are to wait again.
            dry_run: Whether to look only.

        Raises:
            InstantError: An instant has no time zone.
            LedgerMismatchError: Measures, slices or maturities changed since the last run.
            LedgerMovedError: Other runs kept committing; nothing was changed.
        """
        head = self._settled_head()
        spans = self._spans(since, until)
        check = self._told(head, spans)
        if dry_run:
            return LedgerRepair(check=check, dry_run=True, version=check.version)
        windows = sorted(
            {self._calendar.window_of(tile) for span in spans if not span.unreadable for tile in span.tiles}
        )
        damaged = frozenset(tile for span in spans for tile in span.damaged)
        report = self._replace(windows, damaged) if windows else None
        outbox = Outbox(self._ledger)
        requeued = outbox.requeue() if resend else 0
        self._ledger.database.vacuum()
        return LedgerRepair(
            check=check,
            dry_run=False,
            version=self._ledger.head().version,
            replaced_windows=tuple(map(from_us, windows)),
            values=() if report is None else report.values,
            requeued=requeued,
            delivery=send(outbox, self._delivery, progress=self._progress),
        )

    def _settled_head(self) -> Head:
        head = self._checked_head()
        if self._is_extended(head):
            message = (
                "Measures, slices or maturities changed since the last run, so the sums of the ledger are others than"
                " those of this evaluation. Evaluate once first: that takes the change over."
            )
            raise LedgerMismatchError(message)
        return head

    def _spans(self, since: datetime | None, until: datetime | None) -> list[Span]:
        recount = self._recount()
        ranges = recount.spans(*(None if each is None else to_us(each) for each in (since, until)))
        found = []
        self._progress(RECOUNTING, 0, len(ranges))
        for span in recount.compare(ranges):
            found.append(span)
            self._progress(RECOUNTING, len(found), len(ranges))
        return found

    def _recount(self) -> Recount:
        return Recount(self._evaluation, self._calendar, self._engine, self._ledger)

    def _told(self, head: Head, spans: Sequence[Span]) -> LedgerCheck:
        with self._ledger.database.reading() as connection:
            problems = [*integrity.problems(connection, facts=self._ledger.fact_schema)]
        outbox = Outbox(self._ledger)
        tiles = {tile for span in spans for tile in span.tiles}
        return LedgerCheck(
            evaluation=self._evaluation.name,
            ledger=self._ledger.shown,
            version=head.version,
            as_of=None if head.as_of_us is None else from_us(head.as_of_us),
            windows=sum(
                (span.end_us - span.start_us) // self._calendar.window_us for span in spans if not span.unreadable
            ),
            differing_windows=tuple(
                from_us(each) for each in sorted({self._calendar.window_of(tile) for tile in tiles})
            ),
            differing_sums=sum(len(span.differences) for span in spans if span.differences is not None),
            differences=tuple(_first(spans)),
            unread=tuple(
                Unread(since=from_us(span.start_us), until=from_us(span.end_us), told=span.unreadable)
                for span in spans
                if span.unreadable is not None
            ),
            problems=(*self._ledger.database.problems(), *problems),
            unchecked=tuple(measure.name for measure in self._evaluation.exact),
            outbox=outbox.counts(),
            refusals=tuple(outbox.refusals()),
        )

    def _replace(self, windows: Sequence[int], damaged: frozenset[int]) -> Report:
        """Compute these windows again and commit what they add up to."""
        for _ in range(ATTEMPTS - 1):
            try:
                return self._replace_once(windows, damaged)
            except LedgerMovedError:
                continue
        return self._replace_once(windows, damaged)

    def _replace_once(self, windows: Sequence[int], damaged: frozenset[int]) -> Report:
        head = self._settled_head()
        recount = self._recount()
        with self._ledger.snapshot() as ledger:
            parts = [recount.computed(ledger, window, self._calendar.end_of(window)) for window in windows]
            tiles = [tile for tile in ledger.tiles() if self._calendar.window_of(tile) in set(windows)]
        intake = Intake(delta=pa.concat_tables(parts))
        with self._ledger.overlooking(damaged):
            step = self._step(head, intake, head.as_of_us or 0, rebuilt=frozenset(tiles))
            return self._commit(step, head, intake)


def _first(spans: Iterable[Span]) -> list[Difference]:
    found: list[Difference] = []
    for span in spans:
        if span.differences is not None:
            rows = span.differences.slice(0, MOST_DIFFERENCES - len(found)).to_pylist()
            found += map(Difference.of, rows)
    return found


def see_ledger(evaluation: Evaluation, *, may_migrate: bool) -> None:
    """See that an evaluation has a ledger, before anything makes one.

    Raises:
        LedgerError: There is none, or its database cannot be reached.
        LedgerMismatchError: It has the schema of an earlier version, and may not be taken along.
    """
    found = schema_of(evaluation.ledger)
    shown = shown_url(evaluation.ledger)
    if found is None:
        message = f"There is no ledger at {shown}. The first `otel-ml-metrics evaluate` makes it."
        raise LedgerError(message)
    if found < SCHEMA_VERSION and not may_migrate:
        message = (
            f"The ledger {shown} has schema {found}, and this version of otel-ml-metrics has schema {SCHEMA_VERSION}."
            " Looking does not change it; the next `otel-ml-metrics evaluate` takes it along, and there is no way back"
            " but a copy that you make before."
        )
        raise LedgerMismatchError(message)


def _see_empty(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        holds = next(folder.iterdir(), None)
    except OSError as problem:
        message = f"The folder {folder} cannot be written to: {problem.strerror}. Name another one."
        raise LedgerError(message) from problem
    if holds is not None:
        message = f"The folder {folder} holds {holds.name} already. Name one that is empty or not there yet."
        raise LedgerError(message)
