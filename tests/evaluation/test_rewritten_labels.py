"""A source that rewrites its past: a run tells and leaves it alone, a backfill believes what is there now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation import oracle
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World, native_id, us
from tests.evaluation.oracle import Said, Settings
from tests.evaluation.test_laws import agree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_ml_metrics.evaluation_report import Report

LATER: Final = START + 3 * DAY
BY_ID: Final = Settings()
BY_ENTITY: Final = Settings(key=("customer",))


class Source:
    """A world whose label files are written anew, and an evaluator of it."""

    def __init__(self, world: World, settings: Settings) -> None:
        self.world = world
        self.settings = settings
        self.evaluator = Evaluator(world.evaluation(settings), environ={})

    def log(self, *ids: str, after: int = 0) -> None:
        """Log predictions, made so many hours after the start."""
        for each in ids:
            self.world.log([Prediction(id=each, predicted_at=START + after * HOUR, customer=int(each[-1]))])

    def says(self, name: str, *said: tuple[str, bool], hours: int = 2) -> None:
        """Let a file say these labels, and nothing else."""
        facts = [
            Fact(
                id=each, label=label, received_at=START + hours * HOUR, customer=int(each[-1]), occurred_at=START + HOUR
            )
            for each, label in said
        ]
        self.world.label(facts, name=name)

    def run(self) -> Report:
        """Run until everything is final."""
        return self.evaluator.run(as_of=LATER)

    def backfill(self, days: int = 4) -> Report:
        """Evaluate the past again."""
        return self.evaluator.backfill(START - days * DAY, START + days * DAY)

    def holds(self, report: Report, *said: tuple[str, bool], hours: int = 2) -> None:
        """See that the ledger says what follows from exactly these labels."""
        labels = [
            Said(each, label, us(START + hours * HOUR), 0, int(each[-1]), None, us(START + HOUR))
            for each, label in said
        ]
        rows = self.world.predictions
        agree(self.evaluator.as_of(LATER).values, oracle.values(rows, labels, self.settings, us(LATER)))
        statuses = oracle.statuses(rows, labels, self.settings, us(LATER))
        assert {**report.labels, "waiting": report.waiting} == {**statuses, "invalid": 0}


@pytest.fixture(params=[BY_ID, BY_ENTITY], ids=["by id", "by entity"])
def source(world: World, request: Any) -> Iterator[Source]:
    """A source, and an evaluator of it."""
    source = Source(world, request.param)
    yield source
    source.evaluator.close()


def test_a_backfill_believes_what_a_file_says_now(source: Source) -> None:
    """Labels that changed, went, or came; a run before it changes nothing."""
    source.log("p-1", "p-2", "p-3")
    source.says("a", ("p-1", True), ("p-2", True))
    source.run()
    source.says("a", ("p-1", False), ("p-3", True))

    before = source.run()
    source.holds(before, ("p-1", True), ("p-2", True))
    report = source.backfill()

    assert "changed after it was read" in before.warnings[0]
    source.holds(report, ("p-1", False), ("p-3", True))
    source.holds(source.run(), ("p-1", False), ("p-3", True))


def test_labels_wait_as_their_file_says_now(source: Source) -> None:
    """Also those whose prediction is not logged yet: one that went waits no more, one that came is not lost."""
    source.log("p-1")
    source.says("a", ("p-1", True), ("p-2", True), ("p-3", True), ("p-5", True))
    source.run()
    source.says("a", ("p-1", True), ("p-2", False), ("p-4", True), ("p-5", True))
    said = (("p-1", True), ("p-2", False), ("p-4", True), ("p-5", True))

    source.holds(source.backfill(), *said)
    source.log("p-2", "p-3", "p-4")

    source.holds(source.run(), *said)


def test_labels_of_other_times_keep_waiting(source: Source) -> None:
    """A backfill of a range that they cannot be of does not look at them."""
    source.log("p-1")
    source.says("a", ("p-1", True), ("p-2", True))
    source.run()

    report = source.evaluator.backfill(START - 9 * DAY, START - 8 * DAY)

    source.holds(report, ("p-1", True), ("p-2", True))


def test_what_a_file_said_that_is_gone_stays(source: Source) -> None:
    """As often as it said it, and beside what the others say now; what waits stays, too."""
    source.log("p-1", "p-2")
    source.says("a", ("p-1", True), ("p-1", True), ("p-3", True))
    source.says("b", ("p-2", True))
    source.run()
    (source.world.folder / "labels" / "a.parquet").unlink()

    report = source.backfill()

    assert "1 label files are gone" in report.warnings[0]
    source.holds(report, ("p-1", True), ("p-1", True), ("p-3", True), ("p-2", True))


def test_a_label_from_long_before_its_prediction_outlives_a_backfill(source: Source) -> None:
    """The file that has it is of another time, and is not read again."""
    name = native_id(START + 30 * HOUR, 1)
    source.log(name, after=30)
    source.says("a", (name, True), hours=-30)
    source.run()

    report = source.evaluator.backfill(START + DAY, START + 2 * DAY)

    source.holds(report, (name, True), hours=-30)


def test_labels_that_were_still_to_come_are_taken_once(source: Source) -> None:
    """A backfill took them with the rest of a file that was rewritten while it waited for their time."""
    source.log("p-1", "p-2")
    source.world.label([Fact(id="p-1", customer=1, occurred_at=START + HOUR, received_at=START + HOUR)], name="z")
    source.says("a", ("p-1", True), ("p-2", True))
    source.world.label([Fact(id=None, received_at=None)], name="y")
    source.evaluator.run(as_of=START + HOUR)
    source.says("a", ("p-2", False))
    source.run()
    source.backfill()

    report = source.evaluator.run(as_of=LATER + HOUR)

    assert (report.labels["matched"], report.labels["duplicate"], report.labels["revised"]) == (2, 0, 0)
