"""The offline façade: read, attribute, sum, commit, emit, in that order.

A run means "advance the ledger from where it stands to `as_of`". It can die anywhere and be repeated: the ledger's
commit is the only point at which anything changes, and what is sent is rebuilt from it.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from otel_ml_metrics.advance import Advance, keep_aside
from otel_ml_metrics.alerting import judge
from otel_ml_metrics.attribution.calendar import Calendar
from otel_ml_metrics.definition import check_definition, definition_of
from otel_ml_metrics.emission import Totals
from otel_ml_metrics.engines.duckdb import DuckDBEngine
from otel_ml_metrics.errors import InstantError, LedgerMismatchError, LedgerMovedError
from otel_ml_metrics.evaluation_report import Delivered, Report
from otel_ml_metrics.exact_values import ExactValues
from otel_ml_metrics.history import History, Narrator
from otel_ml_metrics.importing.taking import take_over
from otel_ml_metrics.instants import from_us, iso, to_us
from otel_ml_metrics.intake import Reading
from otel_ml_metrics.ledger.outbox import Outbox
from otel_ml_metrics.ledger.store import Ledger
from otel_ml_metrics.retired import as_retired
from otel_ml_metrics.semconv import STAGE_PROVISIONAL
from otel_ml_metrics.sending import send
from otel_ml_metrics.telemetry.delivery import Delivery
from otel_ml_metrics.valuation import Valuation, most_folded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa

    from otel_ml_metrics.alerting import Figure
    from otel_ml_metrics.attribution.calendar import Judgement
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.engines.port import Engine
    from otel_ml_metrics.evaluation_report import ReliabilityTable
    from otel_ml_metrics.intake import Intake
    from otel_ml_metrics.ledger.commit import Head
    from otel_ml_metrics.ledger.reader import LedgerReader

    Progress = Callable[[str, int, int], None]

ATTEMPTS: Final = 3
"""Times that a run starts over because another one committed meanwhile."""

STAGES: Final = ("reading labels and predictions", "valuing windows", "committing", "sending")


class Evaluator:
    """Evaluates the labels that came in, as often as it is run, and sends what became final or changed.

    Example:
        with Evaluator(Evaluation.from_file("monitoring.yaml")) as evaluator:
            report = evaluator.run(as_of=datetime(2013, 4, 9, tzinfo=UTC))

    Args:
        evaluation: What is evaluated.
        environ: `OTEL_EXPORTER_OTLP_*` settings; default: the environment of the process.
        clock: Gives the current instant; default: the system's.
        progress: Told the stage, and how many of how many are done.

    Raises:
        EndpointError: The OTLP endpoint cannot be used as it is written.
        LedgerMismatchError: The ledger belongs to another evaluation, or to another definition of this one.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        *,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._evaluation = evaluation
        self._clock = clock or (lambda: datetime.now(UTC))
        self._progress = progress or (lambda _stage, _done, _total: None)
        self._delivery = Delivery.from_environment(
            os.environ if environ is None else environ, service=evaluation.service, evaluation=evaluation.name
        )
        self._calendar = Calendar.of(evaluation)
        self._ledger = Ledger.of(evaluation)
        self._engine: Engine = DuckDBEngine()
        self._valuation = Valuation(evaluation, self._calendar, self._engine)
        self._exact = ExactValues(evaluation, self._calendar, self._engine, self._valuation)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger, the engine and the exporter."""
        self._engine.close()
        self._ledger.close()
        if self._delivery is not None:
            self._delivery.close()

    def interrupt(self) -> None:
        """Stop a run that is under way, from another thread; the ledger stays as it was or as it was committed."""
        self._engine.interrupt()

    def run(self, as_of: datetime | None = None, *, dry_run: bool = False) -> Report:
        """Advance the ledger to `as_of` and send the outbox.

        Args:
            as_of: The instant that the run pretends is now, with its zone; default: now. Labels received later do not
                exist for it. Older than the ledger's head: a query that changes nothing.
            dry_run: Whether to commit and send nothing.

        Returns:
            What became final or changed, and what became of labels and points. An endpoint that is down is told in
            `delivery`: the values are in the ledger, the points wait in the outbox.

        Raises:
            InstantError: `as_of` has no time zone.
            ConfigurationError: The log lacks a field that the evaluation names.
            LabelSourceError: A label file cannot be read as it is declared; nothing was changed.
            LogError: The prediction log (or a foreign one) cannot be read; nothing was changed.
            LogBusyError: Another run has been taking over predictions for a minute.
            LedgerBusyError: Another run holds the ledger; nothing was changed.
            LedgerMovedError: Other runs kept committing; nothing was changed.
        """
        as_of_us = to_us(self._clock() if as_of is None else as_of)
        head = self._checked_head()
        if head.as_of_us is not None and as_of_us < head.as_of_us:
            return self._judged(self._query(as_of_us))
        warnings = take_over(self._evaluation, self._engine, until_us=as_of_us, tell=self._progress)
        report = self._run(as_of_us, dry_run=dry_run)
        return self._judged(replace(report, warnings=(*warnings, *report.warnings)))

    def _run(self, as_of_us: int, *, dry_run: bool) -> Report:
        """Advance the ledger, again where another run was faster."""
        for attempt in range(1, ATTEMPTS + 1):
            head = self._checked_head()
            if head.as_of_us is not None and as_of_us < head.as_of_us:
                return self._query(as_of_us)
            try:
                if self._is_extended(head):
                    return self._extend(head, as_of_us, dry_run=dry_run)
                return self._advance(head, as_of_us, dry_run=dry_run)
            except LedgerMovedError:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError  # pragma: no cover

    def as_of(self, instant: datetime) -> Report:
        """Everything that was final at an instant; nothing is read, written or sent.

        Raises:
            InstantError: The instant has no time zone, or it is past the ledger's head.
        """
        head = self._checked_head()
        instant_us = to_us(instant)
        if head.as_of_us is None or instant_us > head.as_of_us:
            stands = "is empty" if head.as_of_us is None else f"stands at {iso(from_us(head.as_of_us))}"
            message = f"The ledger {stands}, so it cannot say what is final at {iso(instant)}. Run up to there first."
            raise InstantError(message)
        return self._judged(self._query(instant_us))

    def reliability(self, instant: datetime) -> tuple[ReliabilityTable, ...]:
        """The reliability tables of every window that was final at an instant; nothing is read, written or sent.

        Raises:
            ConfigurationError: No measure of the evaluation has the sums that they are made of.
            InstantError: The instant has no time zone.
            LedgerMismatchError: Measures, slices or maturities changed since the last run.
        """
        with self._ledger.snapshot() as ledger:
            _, states, judgements = self._final(ledger, to_us(instant))
        return tuple(self._valuation.reliability(states, judgements))

    def history(
        self,
        *,
        measure: str | None = None,
        window: datetime | None = None,
        since: datetime | None = None,
        slice: Mapping[str, str] | None = None,  # noqa: A002  # the word that users know
    ) -> History:
        """How the final values of windows moved, commit by commit, with the labels that moved them counted.

        Args:
            measure: Its moves only; default: those of all measures.
            window: An instant in the window that is meant; default: every window.
            since: Windows that start at this instant or later; default: every window.
            slice: Moves of this slice only, `{}` for all rows; default: those of all slices.

        Returns:
            Every commit that moved the windows, and every move; nothing for a ledger that is empty.

        Raises:
            InstantError: `window` or `since` has no time zone.
        """
        window_us = None if window is None else self._calendar.window_of(to_us(window))
        evaluation = self._evaluation
        narrator = Narrator(evaluation.name, evaluation.model, evaluation.window.us, measure=measure, slice=slice)
        since_us = None if since is None else to_us(since)
        return narrator.tell(self._ledger.movements(window_us, since_us=since_us))

    def _judged(self, report: Report) -> Report:
        """The report with what breaches a threshold: of the windows that it tells of, and of the newest final ones."""
        alerts = self._evaluation.alerts
        if not alerts:
            return report
        as_of_us = to_us(report.as_of)
        windows = {from_us(self._calendar.newest(alert.maturity, as_of_us=as_of_us)) for alert in alerts}
        windows |= {value.window_start for value in report.values}
        figures: list[Figure] = list(report.values)
        if as_of_us >= (self._ledger.head().as_of_us or 0):  # else the ledger knows what nobody knew then
            figures = [*self.history(since=min(windows) - self._evaluation.window).settled, *figures]
        return replace(report, breaches=judge(alerts, figures, windows=windows, as_of=report.as_of))

    def _checked_head(self, ledger: LedgerReader | None = None) -> Head:
        head = (ledger or self._ledger).head()
        if head.definition is not None:
            check_definition(self._evaluation, head.definition)
        return head

    def _is_extended(self, head: Head) -> bool:
        """Whether measures, slices or maturities came or went since the ledger's last commit."""
        return head.definition is not None and head.definition != definition_of(self._evaluation)

    def _extend(self, head: Head, as_of_us: int, *, dry_run: bool) -> Report:
        """Recompute every window under the changed definition, and advance from there."""
        if dry_run:
            message = "Measures, slices or maturities changed since the last run, which a dry run cannot take over."
            raise LedgerMismatchError(message)
        self._see_none_held(head)
        earlier = self._rebuild(head, as_of_us, as_of_us, reread=False)
        report = self._advance(self._ledger.head(), as_of_us, dry_run=False)
        told = {value.place for value in (*earlier.values, *report.values)}
        final = [value for value in self._query(as_of_us).values if value.place in told]  # as they stand after both
        provisional = [value for value in report.values if value.stage == STAGE_PROVISIONAL]
        return replace(report, values=(*final, *provisional))

    def _rebuild(self, head: Head, start: int, end: int, *, reread: bool) -> Report:
        """Recompute the windows of a range under the evaluation as it is, and commit what they add up to.

        A ledger holds sums of one definition, so a changed one recomputes every window there is.
        """
        tiles = self._ledger.tiles()
        if self._is_extended(head) and tiles:
            start = min(start, self._calendar.window_of(tiles[0]))
            end = max(end, self._calendar.end_of(self._calendar.window_of(tiles[-1])))
        first = self._ledger.retired().first_window(self._calendar)
        if first is not None:  # what was retired keeps the sums that it has
            start, end = max(start, first), max(end, first)
        self._tell(0)
        reading = Reading(self._evaluation, self._engine, self._ledger)
        intake = reading.retake(start_us=start, end_us=end, reread_until_us=head.as_of_us if reread else None)
        rebuilt = frozenset(tile for tile in tiles if start <= tile < end)
        return self._commit(self._step(head, intake, head.as_of_us or 0, rebuilt=rebuilt), head, intake)

    def _query(self, as_of_us: int) -> Report:
        with self._ledger.snapshot() as ledger:
            head, states, judgements = self._final(ledger, as_of_us)
            retirement = ledger.retired()
            groups = self._exact.recalled(self._valuation.groups(states, judgements), ledger)
        groups = as_retired(groups, retirement, self._evaluation)
        totals = Totals.of(head.totals)
        return Report(
            evaluation=self._evaluation.name,
            model=self._evaluation.model,
            as_of=from_us(as_of_us),
            ledger_version=head.version,
            values=tuple(value for key in sorted(groups) for value in groups[key].values.values()),
            labels=totals.labels,
            invalid=totals.invalid,
            left_out=totals.left_out,
            folded=most_folded(groups.values()),
            undefined=dict(Counter(reason for group in groups.values() for reason in group.undefined.values())),
            delivery=Delivered(kept=Outbox(self._ledger).count(), endpoint=self._endpoint),
            read_only=True,
        )

    def _final(self, ledger: LedgerReader, as_of_us: int) -> tuple[Head, pa.Table, list[Judgement]]:
        """The head of a ledger, all its sums, and what was final at an instant."""
        head = self._checked_head(ledger)
        if self._is_extended(head):
            message = "Measures, slices or maturities changed since the last run; evaluate up to now first."
            raise LedgerMismatchError(message)
        tiles = ledger.tiles()
        windows = {self._calendar.window_of(tile) for tile in tiles}
        return head, ledger.states(tiles), self._calendar.final(windows, as_of_us=as_of_us)

    def backfill(self, since: datetime, until: datetime) -> Report:
        """Recompute the windows that overlap `[since, until)` from the log and the labels, and send what differs.

        Labels are read again from their source, so that one which rewrote its past is believed from here on; where a
        file is gone, what it said stays.

        Args:
            since: Start of the range by prediction time, with its zone.
            until: End of it, not included.

        Raises:
            InstantError: An instant has no time zone, the range is empty, or the ledger is, or predictions of the
                range were retired.
            LabelSourceError: A label file cannot be read as it is declared; nothing was changed.
            LogError: The prediction log cannot be read; nothing was changed.
            LedgerMovedError: Another run committed meanwhile; nothing was changed.
        """
        since_us, until_us = to_us(since), to_us(until)
        head = self._checked_head()
        if head.as_of_us is None or since_us >= until_us:
            problem = "The ledger is empty: run once first." if head.as_of_us is None else "The range is empty."
            message = f"There is nothing to backfill from {iso(since)} to {iso(until)}. {problem}"
            raise InstantError(message)
        start = self._calendar.window_of(since_us)
        end = self._calendar.end_of(self._calendar.window_of(until_us - 1))
        self._see_rows_from(start)
        head = self._release(head)
        return self._judged(self._send(self._rebuild(head, start, end, reread=True)))

    def _see_rows_from(self, start: int) -> None:
        """See that the windows from here on can be computed again."""
        first = self._ledger.retired().first_window(self._calendar)
        if first is not None and start < first:
            message = (
                f"The predictions of the window from {iso(from_us(start))} on were retired, so it cannot be computed"
                f" again; it keeps the values that it has. Backfill from {iso(from_us(first))} on."
            )
            raise InstantError(message)

    def _release(self, head: Head) -> Head:
        """Apply the labels that are held back, which would be read twice otherwise."""
        if not len(self._ledger.held()):
            return head
        if self._is_extended(head):
            message = "Measures, slices or maturities changed since the last run; evaluate up to now first."
            raise LedgerMismatchError(message)
        self._advance(head, head.as_of_us or 0, dry_run=False, hold_back=False)
        return self._ledger.head()

    def _see_none_held(self, head: Head) -> None:
        """See that no label is held back which a new maturity would judge."""
        known = (head.definition or {}).get("maturities", [])
        if any(each.seconds_whole not in known for each in self._calendar.maturities) and len(self._ledger.held()):
            message = (
                "Labels are held back, which a maturity that came new would judge. Run once with the maturities as they"
                " were and without hold_back, and then with the new ones."
            )
            raise LedgerMismatchError(message)

    def _advance(self, head: Head, as_of_us: int, *, dry_run: bool, hold_back: bool = True) -> Report:
        self._tell(0)
        reading = Reading(self._evaluation, self._engine, self._ledger)
        intake = reading.take(as_of_us=as_of_us, hold_back=hold_back)
        step = self._step(head, intake, as_of_us)
        if dry_run:
            self._see_unmoved(head)
            return replace(step.report(), read_only=True, delivery=Delivered(endpoint=self._endpoint))
        return self._send(self._commit(step, head, intake))

    def _see_unmoved(self, head: Head) -> None:
        """See that everything was read of one version; a commit sees to that itself."""
        if self._ledger.head().version != head.version:
            message = f"Another run committed to the ledger of {self._evaluation.name!r} meanwhile. Run again."
            raise LedgerMovedError(message)

    def _step(self, head: Head, intake: Intake, as_of_us: int, *, rebuilt: frozenset[int] = frozenset()) -> Advance:
        self._tell(1)
        return Advance(
            evaluation=self._evaluation,
            ledger=self._ledger,
            engine=self._engine,
            valuation=self._valuation,
            exact=self._exact,
            calendar=self._calendar,
            head=head,
            intake=intake,
            as_of_us=as_of_us,
            now_us=to_us(self._clock()),
            rebuilt=rebuilt,
        )

    def _commit(self, step: Advance, head: Head, intake: Intake) -> Report:
        self._tell(2)
        aside = None
        if intake.invalid is not None:
            aside = keep_aside(intake.invalid, self._ledger.path, version=head.version + 1)
        version = self._ledger.commit(step.commit())
        return replace(step.report(), ledger_version=version, rejected_rows_file=aside)

    def _send(self, report: Report) -> Report:
        self._tell(3)
        outbox = Outbox(self._ledger)
        delivery = send(outbox, self._delivery, progress=self._progress)
        outbox.prune(before_us=to_us(self._clock() - self._evaluation.outbox_retention))
        self._progress(STAGES[-1], 1, 1)
        return replace(report, delivery=delivery)

    @property
    def _endpoint(self) -> str | None:
        return None if self._delivery is None else self._delivery.endpoint.shown

    def _tell(self, stage: int) -> None:
        if stage:
            self._progress(STAGES[stage - 1], 1, 1)
        self._progress(STAGES[stage], 0, 1)
