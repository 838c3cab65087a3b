"""A ledger is compared with log and labels, and put right where it differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pytest
import sqlalchemy as sa

from otel_ml_metrics.auditor import Auditor, see_ledger
from otel_ml_metrics.errors import InstantError, LedgerError, LedgerMismatchError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.ledger import schema
from otel_ml_metrics.ledger.outbox import Outbox, Refusal
from otel_ml_metrics.telemetry.receiver import Receiver, Reply
from tests.evaluation.material import DAY, HOUR, MINUTE, START, Fact, Prediction, World, us
from tests.evaluation.oracle import HOUR_US, Settings
from tests.ledger import schema_1
from tests.ledger.material import opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.evaluation_report import Report

SETTINGS: Final = Settings(maturities_us=(6 * HOUR_US,), grace_us=6 * HOUR_US, slices=(("carrier",),))
LAST: Final = START + 9 * DAY
NAME: Final = "flight-delay/flight-delay"


def evaluation(world: World, **given: Any) -> Evaluation:
    """What the ledger is of."""
    return world.evaluation(SETTINGS, **{"measures": ["accuracy", "log_loss"], **given})


def auditor(world: World, **given: Any) -> Auditor:
    """An auditor of a world's ledger."""
    return Auditor(evaluation(world), **{"environ": {}, **given})


def evaluate(world: World, as_of: datetime = LAST, **given: Any) -> Report:
    """Run once."""
    with Evaluator(evaluation(world), **{"environ": {}, **given}) as evaluator:
        return evaluator.run(as_of=as_of)


@pytest.fixture
def lived(world: World) -> World:
    """Three days with labels that come in time, late, twice, revised, and before others; the ledger has seen it all."""
    for day in range(3):
        rows = [Prediction(id=f"p-{day}-{row}", predicted_at=START + day * DAY + 3 * row * HOUR) for row in range(7)]
        world.log(rows)
        world.label(
            [Fact(id=row.id, label=at % 2 == 0, received_at=row.predicted_at + HOUR) for at, row in enumerate(rows)]
        )
        evaluate(world, START + (day + 1) * DAY)
    world.log([Prediction(id="p-1-2", predicted_at=START + 5 * HOUR), Prediction(id="late", predicted_at=START + HOUR)])
    world.label([Fact(id="p-0-1", label=True, received_at=START + 3 * HOUR + MINUTE), Fact(id="nobody")])
    world.label([Fact(id="p-0-2", label=False, received_at=START + 35 * HOUR)])
    evaluate(world)
    return world


def tamper(world: World, day: int, change: Callable[[pa.Table], bytes]) -> None:
    """Change the sums of a day behind everybody's back."""
    assert world.ledger is not None
    tile = us(START + day * DAY)
    with opened(world.ledger, name=NAME) as ledger, ledger.database.writing() as connection:
        table = schema.state_block
        block = connection.scalar(sa.select(table.c.sums).where(table.c.tile_us == tile))
        assert block is not None
        changed = change(schema.decode(block, "block"))
        connection.execute(sa.update(table).where(table.c.tile_us == tile).values(sums=changed))


def one_more(sums: pa.Table) -> bytes:
    """Add one to every sum."""
    more = [row | {"value": row["value"] + 1} for row in sums.to_pylist()]
    return schema.encode(pa.Table.from_pylist(more, sums.schema))


def test_a_ledger_is_what_log_and_labels_add_up_to(lived: World) -> None:
    """Whatever order they came in."""
    with auditor(lived) as each:
        check = each.check()

    assert (check.verdict, check.differing_sums, check.problems, check.unread) == ("equal", 0, (), ())
    assert check.windows == 3
    assert (check.version, check.as_of) == (4, LAST)


def test_an_empty_ledger_is_equal(world: World) -> None:
    """There is nothing to compare."""
    with auditor(world) as each:
        check = each.check()

    assert (check.verdict, check.windows, check.version) == ("equal", 0, 0)


def test_sums_that_differ_are_named_with_both_values(lived: World) -> None:
    """So that somebody can see what happened."""
    tamper(lived, 1, one_more)

    with auditor(lived) as each:
        check = each.check()

    assert (check.verdict, check.differing_windows) == ("differs", (START + DAY,))
    assert {difference.tile_start for difference in check.differences} == {START + DAY}
    assert {difference.stored - difference.computed for difference in check.differences} == {1}
    counted = {difference.computed for difference in check.differences if difference.sum == "predictions"}
    assert counted == {6}


def test_a_range_leaves_out_the_rest(lived: World) -> None:
    """A check of some windows takes as long as they do."""
    tamper(lived, 1, one_more)

    with auditor(lived) as each:
        before = each.check(until=START + DAY)
        within = each.check(since=START + 30 * HOUR, until=START + 31 * HOUR)
        after = each.check(since=START + 2 * DAY)
        beyond = each.check(since=START + 30 * DAY)

    assert [check.verdict for check in (before, within, after, beyond)] == ["equal", "differs", "equal", "equal"]
    assert [check.windows for check in (before, within, after, beyond)] == [1, 1, 1, 0]


def test_a_range_without_a_zone_is_refused(lived: World) -> None:
    """It names no moment."""
    with auditor(lived) as each, pytest.raises(InstantError, match="no time zone"):
        each.check(since=START.replace(tzinfo=None))


def test_a_check_agrees_while_runs_commit(lived: World) -> None:
    """Each span is read as of one moment."""
    runs = iter(range(3))

    def meanwhile(stage: str, done: int, _total: int) -> None:
        if stage == "computing windows again" and done < 3 and next(runs, None) is not None:
            received_at = START + done * DAY + 2 * HOUR
            lived.label([Fact(id=f"p-{done}-0", label=False, received_at=received_at)], name=f"meanwhile-{done}")
            evaluate(lived)

    with auditor(lived, progress=meanwhile) as each:
        check = each.check()

    assert (check.verdict, next(runs, None)) == ("equal", None)


def test_a_segment_that_is_gone_is_told_and_the_rest_is_computed(lived: World) -> None:
    """Nobody can say any more what its windows should hold."""
    [path] = (lived.folder / "predictions").glob("*/dt=2013-04-09/*.parquet")
    path.unlink()

    with auditor(lived) as each:
        check = each.check()

    assert (check.verdict, check.windows) == ("unreadable", 2)
    [unread] = check.unread
    assert (unread.since, unread.until) == (START + DAY, START + 2 * DAY)
    assert path.name in unread.told


def test_repair_replaces_what_differs_in_one_commit(lived: World) -> None:
    """Values are what they were before; what changed is reported, and the history says that it was computed anew."""
    with Evaluator(evaluation(lived), environ={}) as evaluator:
        right = evaluator.as_of(LAST)
    tamper(lived, 0, one_more)
    tamper(lived, 2, one_more)

    with auditor(lived) as each:
        wrong = each.as_of(LAST)
        done = each.repair()
        again = each.check()
        restored = each.as_of(LAST)
        rebuilt = {step.window_start for step in each.history().steps if step.rebuilt}

    assert wrong.values != right.values
    assert (restored.values, again.verdict) == (right.values, "equal")
    assert (done.version, done.check.version) == (5, 4)
    assert done.replaced_windows == (START, START + 2 * DAY)
    assert {value.window_start for value in done.values} == rebuilt == {START, START + 2 * DAY}


def test_repair_of_a_sound_ledger_commits_nothing(lived: World) -> None:
    """It only gives room back."""
    with auditor(lived) as each:
        done = each.repair()

    assert (done.version, done.replaced_windows, done.values) == (4, (), ())


def test_a_dry_run_of_a_repair_changes_nothing(lived: World) -> None:
    """It says what would be replaced."""
    tamper(lived, 0, one_more)

    with auditor(lived) as each:
        done = each.repair(dry_run=True)
        after = each.check()

    assert (done.dry_run, done.check, done.replaced_windows) == (True, after, ())
    assert after.differing_windows == (START,)


def test_a_damaged_block_of_sums_is_found_and_computed_anew(lived: World) -> None:
    """Sums follow from log and labels, so nothing is lost."""
    with Evaluator(evaluation(lived), environ={}) as evaluator:
        right = evaluator.as_of(LAST)
    tamper(lived, 1, lambda _sums: b"rotten")

    with auditor(lived) as each:
        check = each.check()
        each.repair()
        again = each.check()

        assert [problem for problem in check.problems if "block state_block" in problem] != []
        assert check.differing_windows == (START + DAY,)
        assert again.verdict == "equal"
        assert each.as_of(LAST).values == right.values


def test_damaged_values_of_exact_measures_are_computed_anew(world: World) -> None:
    """They follow from log and labels, too."""
    world.log([Prediction(id="p-1", score=0.25)])
    world.label([Fact(id="p-1")])
    loss = {"name": "loss", "unit": "{nat}", "exact": "log_loss", "description": "Text"}
    right = world.run(START + 9 * DAY, measures=["accuracy", loss]).values
    settings = world.evaluation(measures=["accuracy", loss])
    with opened(settings.ledger, name=settings.name) as ledger, ledger.database.writing() as connection:
        connection.execute(sa.update(schema.exact_block).values(entries=b"rotten"))

    with Auditor(settings, environ={}) as each:
        check = each.check()
        each.repair()

        assert [problem for problem in check.problems if "block exact_block" in problem] != []
        assert check.differing_windows == (START,)
        assert each.check().verdict == "equal"
        assert each.as_of(START + 9 * DAY).values == right


def test_damaged_labels_are_found_and_not_repaired(lived: World) -> None:
    """The ledger alone knows which were applied."""
    assert lived.ledger is not None
    with opened(lived.ledger, name=NAME) as ledger, ledger.database.writing() as connection:
        damaged = sa.update(schema.fact_block).where(schema.fact_block.c.date == "2013-04-09")
        connection.execute(damaged.values(facts=b"rotten"))

    with auditor(lived) as each:
        check = each.check()
        done = each.repair()

    assert (check.verdict, len(check.unread), len(check.problems)) == ("unreadable", 1, 1)
    assert done.version == check.version


def test_versions_that_do_not_follow_each_other_are_found(lived: World) -> None:
    """Somebody wrote into the database by hand, or restored half of it."""
    assert lived.ledger is not None
    with opened(lived.ledger, name=NAME) as ledger, ledger.database.writing() as connection:
        connection.execute(sa.delete(schema.run).where(schema.run.c.version == 2))
        connection.execute(sa.update(schema.input_file).values(version=9))

    with auditor(lived) as each:
        check = each.check()

    assert check.verdict == "unreadable"
    assert sorted(check.problems) == [
        "After the run of version 1 comes that of version 3.",
        "The table input_file has rows of version 9, and the head stands at version 4.",
    ]


def test_points_that_were_refused_are_told_and_sent_again_on_request(lived: World) -> None:
    """Once the cause is mended."""
    with Receiver(reply=lambda _points: Reply(status=400, message="too old")) as receiver:
        evaluate(lived, environ=receiver.environment)
    with Receiver() as receiver, auditor(lived, environ=receiver.environment) as each:
        check = each.check()
        without = each.repair()
        done = each.repair(resend=True)

        assert [refusal.message for refusal in check.refusals] == ["HTTP 400 Bad Request: too old"]
        assert (check.verdict, without.requeued) == ("equal", 0)
        assert done.requeued == done.delivery.sent == check.refusals[0].points
        assert len(receiver.points) == done.requeued
        assert each.check().refusals == ()


def test_a_changed_evaluation_is_not_compared(lived: World) -> None:
    """Its sums are others; the next run takes the change over."""
    changed = evaluation(lived, measures=["accuracy"])

    with Auditor(changed, environ={}) as each, pytest.raises(LedgerMismatchError, match="Evaluate once first"):
        each.check()


def test_a_ledger_that_is_not_there_is_not_made(world: World) -> None:
    """Looking for it says which command makes it."""
    with pytest.raises(LedgerError, match=r"There is no ledger at .*evaluate` makes it"):
        see_ledger(evaluation(world), may_migrate=True)


def test_looking_takes_no_old_ledger_along(world: World) -> None:
    """There is no way back from a new schema, so a run decides."""
    assert world.ledger is not None
    schema_1.make(world.ledger)

    with pytest.raises(
        LedgerMismatchError, match=r"has schema 1, .* the next `otel-ml-metrics evaluate` takes it along"
    ):
        see_ledger(evaluation(world), may_migrate=False)
    see_ledger(evaluation(world), may_migrate=True)


def test_refused_points_of_an_outbox_are_counted_by_status(lived: World) -> None:
    """The state of the outbox is part of a check."""
    assert lived.ledger is not None
    with opened(lived.ledger, name=NAME) as ledger:
        outbox = Outbox(ledger)
        first = outbox.waiting(limit=2)
        outbox.mark("partial", [each.id for each in first], {first[0].id: "some", first[1].id: "some"})

    with auditor(lived) as each:
        check = each.check()

    assert check.outbox["partial"] == 2
    assert check.refusals == (Refusal("partial", "some", 2),)
