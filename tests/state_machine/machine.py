"""An evaluation lives through everything at random, and says at each step what the naive model says."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from otel_ml_metrics.errors import LedgerMismatchError
from otel_ml_metrics.evaluator import STAGES, Evaluator
from otel_ml_metrics.maintenance import MERGING, maintain
from tests.evaluation.material import DAY, START, World, at, key_of, us
from tests.evaluation.test_laws import agree
from tests.state_machine import drawing
from tests.state_machine.model import LabelFile, Model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from otel_ml_metrics.evaluation_report import Report, Value
    from tests.evaluation.material import Fact
    from tests.evaluation.oracle import Key, Settings

IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # a folder of its own is made there, where there is such a thing
PLACES: Final = [(stage, done) for stage in STAGES for done in (0, 1)]


class KilledError(Exception):
    """Stands for a process that dies."""


class Life(RuleBasedStateMachine):
    """One evaluation, its log, its labels and its ledger; a subclass says of which family."""

    family = "ids"

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Draw what stays the same."""
        self.start = data.draw(drawing.starts(self.family))
        self.settings: Settings = self.start.settings
        self.folder = Path(tempfile.mkdtemp(dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        self.world = World(self.folder, task=self.settings.task)
        self.model = Model(self.settings)
        self.facts: dict[str, tuple[Fact, ...]] = {}
        self.told: dict[Key, Value] = {}
        self.place: tuple[str, int] | None = None
        self.opened: tuple[Settings, Evaluator] | None = None

    def teardown(self) -> None:
        """Run once more, and once more: then everything that was written is known, and nothing is left to do."""
        if not hasattr(self, "opened"):
            return
        try:
            self.advance_to(max(START + 10 * DAY, at(self.model.head_us or 0)), START + 2 * DAY)
            self.repeat()
        finally:
            self.close()
            shutil.rmtree(self.folder)

    # What happens outside

    @rule(data=st.data(), earlier=st.integers(0, 9))
    def log(self, data: st.DataObject, earlier: int) -> None:
        """Flush a few predictions; the name of their segment sorts anywhere among the others."""
        rows = data.draw(st.lists(drawing.predictions(self.start), min_size=1, max_size=4))
        self.world.log(rows, name=f"{earlier}{len(self.world.predictions):03d}")

    @rule(data=st.data())
    def label(self, data: st.DataObject) -> None:
        """Write a file of new labels."""
        self.write(f"f{len(self.facts)}", data.draw(st.lists(drawing.facts(self.start), min_size=1, max_size=5)))

    @precondition(lambda self: self.facts)
    @rule(data=st.data())
    def revise(self, data: st.DataObject) -> None:
        """Write a file of labels that were told before: again, or otherwise, or there and back."""
        told = [fact for facts in self.facts.values() for fact in facts]
        revised = st.lists(drawing.revisions(self.start, told), min_size=1, max_size=3)
        self.write(f"f{len(self.facts)}", data.draw(revised))

    # What an operator does

    @rule(moment=st.sampled_from(drawing.RUNS), older=st.sampled_from(drawing.RUNS))
    def run(self, moment: timedelta, older: timedelta) -> None:
        """Run at any instant, even before the last one."""
        if self.is_past(START + moment):
            self.query(START + moment)
        else:
            self.advance_to(START + moment, START + older)

    @rule(moment=st.sampled_from(drawing.RUNS))
    def rehearse(self, moment: timedelta) -> None:
        """A dry run tells what the run tells that follows, and leaves it to be done."""
        as_of = START + moment
        if self.is_extended or self.is_past(as_of):
            return
        shown = self.evaluator.run(as_of=as_of, dry_run=True)
        report = self.advance_to(as_of, as_of)
        assert report.values == shown.values
        assert (report.labels, report.waiting) == (shown.labels, shown.waiting)

    @rule(moment=st.sampled_from(drawing.RUNS), place=st.sampled_from(PLACES), turn=st.integers(1, 2))
    def crash(self, moment: timedelta, place: tuple[str, int], turn: int) -> None:
        """Die on the way, and come up again: what was committed was done, what was not was not."""
        as_of = START + moment
        if self.is_past(as_of):
            return
        evaluator = self.evaluator
        before, (self.place, self.turns_left) = self.version(), (place, turn)
        with suppress(KilledError):
            evaluator.run(as_of=as_of)
        self.place = None
        commits = self.version() - before
        if commits:
            commits -= self.is_extended  # the first one then computes what is known under the new settings
            self.model.settings = self.settings
        if commits:
            self.model.advance(self.world.predictions, us(as_of))
        self.close()
        if self.model.head_us is not None and not self.is_extended:
            self.told = self.known()

    @rule(data=st.data())
    def change_settings(self, data: st.DataObject) -> None:
        """Measure something else, or at another age, or of other slices: the next run finds out."""
        self.settings = data.draw(drawing.other_settings(self.settings))

    @rule(grace=st.sampled_from([timedelta(), timedelta(hours=1)]), is_killed=st.booleans())
    def compact(self, grace: timedelta, is_killed: bool) -> None:
        """Merge the small files of the log, or die when the first are merged: it stays the same log."""

        def die(stage: str, done: int, _total: int) -> None:
            if is_killed and (stage, done) == (MERGING, 1):
                raise KilledError

        with suppress(KilledError):
            maintain(self.world.evaluation(self.settings), grace=grace, progress=die)

    @precondition(lambda self: self.model.head_us is not None)
    @rule(first=st.sampled_from(drawing.MOMENTS), days=st.integers(1, 3))
    def backfill(self, first: timedelta, days: int) -> None:
        """Where no file changed, a range that is evaluated again says nothing new."""
        if any(file.has_changed for file in self.model.files.values()):
            return
        if self.is_extended and self.settings.hold_back is not None:
            return
        is_extended = self.is_extended
        self.model.settings = self.settings
        report = self.evaluator.backfill(START + first, START + first + days * DAY)
        assert is_extended or report.values == ()
        self.check(report, START + first)

    @precondition(lambda self: self.model.head_us is not None and self.facts)
    @rule(data=st.data(), older=st.sampled_from(drawing.RUNS))
    def rewrite(self, data: st.DataObject, older: timedelta) -> None:
        """Let a source rewrite its past, or lose it: a run leaves it alone, a backfill believes what is there."""
        name = data.draw(st.sampled_from(sorted(self.facts)))
        if data.draw(st.integers(0, 4)):
            old = self.facts[name]
            again = st.sampled_from(old) | drawing.facts(self.start) if old else drawing.facts(self.start)
            self.write(name, data.draw(st.lists(again, max_size=4)))
        else:
            self.lose(name)
        self.advance_to(at(self.model.head_us or 0), START + older)
        self.model.backfill()
        self.check(self.evaluator.backfill(START - 4 * DAY, START + 12 * DAY), START + older)

    # What follows

    def advance_to(self, as_of: datetime, older: datetime) -> Report:
        """Run, and see that the ledger knows what the model knows."""
        report = self.evaluator.run(as_of=as_of)
        self.model.settings = self.settings
        self.model.advance(self.world.predictions, us(as_of))
        self.check(report, older)
        return report

    def query(self, as_of: datetime) -> None:
        """An instant that the ledger is past is only looked at."""
        if self.is_extended:
            with pytest.raises(LedgerMismatchError, match="changed since the last run"):
                self.evaluator.run(as_of=as_of)
            return
        report = self.evaluator.run(as_of=as_of)
        assert report.read_only
        agree(report.values, self.model.values(us(as_of)))

    def repeat(self) -> None:
        """A run that finds nothing new changes nothing."""
        assert self.model.head_us is not None
        report = self.evaluator.run(as_of=at(self.model.head_us))
        self.check(report, at(self.model.head_us))
        assert [value for value in report.values if value.stage == "final"] == []

    def check(self, report: Report, older: datetime) -> None:
        """Values, support, coverage and statuses are the model's, now and then; what changed was told, and no more."""
        head_us = self.model.head_us
        assert head_us is not None
        before, self.told = self.told, self.known()
        agree(self.told.values(), self.model.values(head_us))
        if us(older) < head_us:
            agree(self.evaluator.as_of(older).values, self.model.values(us(older)))
        final = {key_of(value): value for value in report.values if value.stage == "final"}
        assert final == {key: value for key, value in self.told.items() if before.get(key) != value}
        agree(
            [value for value in report.values if value.stage == "provisional"],
            self.model.values(head_us, stage="provisional"),
        )
        if report.held:  # their status is told when they are applied
            return
        statuses = self.model.statuses()
        assert {name: count for name, count in self.counts(report) if name in statuses} == statuses

    @staticmethod
    def counts(report: Report) -> Iterator[tuple[str, int]]:
        """Labels by status, and those that wait."""
        yield from report.labels.items()
        yield "waiting", report.waiting

    def known(self) -> dict[Key, Value]:
        """Everything that is final as the ledger stands."""
        assert self.model.head_us is not None
        return {key_of(value): value for value in self.evaluator.as_of(at(self.model.head_us)).values}

    # The means to it

    @property
    def is_extended(self) -> bool:
        """Whether the settings are others than those of the sums that the ledger has."""
        return self.model.head_us is not None and self.settings != self.model.settings

    def is_past(self, as_of: datetime) -> bool:
        """Whether the ledger stands later than this."""
        return self.model.head_us is not None and us(as_of) < self.model.head_us

    def write(self, name: str, rows: list[Fact]) -> None:
        """Write a label file, or write it anew."""
        self.world.label(rows, name=name, form=self.start.form)
        self.facts[name] = tuple(rows)
        lines = tuple(drawing.line_of(row, self.settings) for row in rows)
        self.model.files.setdefault(name, LabelFile(lines)).lines = lines

    def lose(self, name: str) -> None:
        """Remove a label file."""
        (self.folder / "labels" / f"{name}.{self.start.form}").unlink(missing_ok=True)
        self.model.files[name].lines = None

    @property
    def evaluator(self) -> Evaluator:
        """An evaluator of the settings as they are, a new one where they changed or the last one died."""
        if self.opened is None or self.opened[0] != self.settings:
            self.close()
            evaluation = self.world.evaluation(self.settings)
            self.opened = self.settings, Evaluator(evaluation, environ={}, progress=self.maybe_die)
        return self.opened[1]

    def close(self) -> None:
        """Let the next one start anew on the same ledger."""
        if self.opened is not None:
            self.opened[1].close()
        self.opened = None

    def maybe_die(self, stage: str, done: int, _total: int) -> None:
        """Die where it was asked for."""
        if (stage, done) == self.place:
            self.turns_left -= 1
            if not self.turns_left:
                raise KilledError

    def version(self) -> int:
        """How often the ledger was committed to, read past the package."""
        engine = sa.create_engine(self.world.evaluation(self.settings).ledger)
        with engine.connect() as connection:
            found = connection.scalar(sa.text("SELECT version FROM head"))
        engine.dispose()
        return int(found or 0)
