"""Whatever order the truth comes in: a ledger can be computed again, its history ends where its values are."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from otel_ml_metrics.auditor import Auditor
from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation import oracle
from tests.evaluation.material import START, World, us
from tests.evaluation.test_laws import ROUNDS, Story, agree, put, settings_strategy, stories

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from otel_ml_metrics.evaluation_report import Value
    from otel_ml_metrics.history import Move
    from tests.postgresql import Server

SLOW: Final = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
PHASES: Final = (Phase.explicit, Phase.reuse, Phase.generate)


def play(world: World, story: Story) -> datetime:
    """Let everything of a story happen; the instant of the last run."""
    last = max((each for runs in story.runs for each in runs), default=START)
    with Evaluator(world.evaluation(story.settings), environ={}) as evaluator:
        for turn in range(ROUNDS):
            put(world, story, turn)
            for instant in story.runs[turn]:
                evaluator.run(as_of=instant)
        evaluator.run(as_of=last)
    return last


def standing(rows: Iterable[Value | Move]) -> dict[tuple[object, ...], tuple[object, ...]]:
    """What is said of each series."""
    return {
        (each.window_start, each.measure, each.version, each.variant, str(each.slice), each.maturity): (
            each.value, each.lower, each.upper, each.support, each.coverage
        )
        for each in rows
    }  # fmt: skip


def hold(world: World, story: Story) -> None:
    """See that the laws of the ledger hold after a story."""
    last = play(world, story)
    with Auditor(world.evaluation(story.settings), environ={}) as auditor:
        check = auditor.check()
        assert (check.verdict, check.problems, check.unread) == ("equal", (), ())
        history = auditor.history()
        assert standing(history.settled) == standing(auditor.as_of(last).values)

        statuses = oracle.statuses(world.predictions, world.facts, story.settings, us(last))
        counted = dict.fromkeys(("matched", "revised", "duplicate", "late"), 0)
        for step in history.steps:
            for status, count in step.labels.items():
                counted[status] += count
        assert counted == {status: statuses[status] for status in counted}
        assert sum(step.predictions for step in history.steps) == len(oracle.counted(world.predictions))


@settings(max_examples=5, phases=PHASES, suppress_health_check=SLOW)
@given(stories(settings_strategy()))
def test_a_ledger_holds_its_laws(story: Story) -> None:
    """Its sums are those of log and labels, its history folds to its values, its steps to its labels."""
    with tempfile.TemporaryDirectory() as folder:
        hold(World(Path(folder)), story)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@settings(max_examples=150, phases=PHASES, suppress_health_check=SLOW)
@given(stories(settings_strategy(provisional=st.just(True))))
def test_a_ledger_of_tiles_holds_its_laws(story: Story) -> None:
    """The same with provisional values, whose windows have a tile per hour or so."""
    with tempfile.TemporaryDirectory() as folder:
        hold(World(Path(folder)), story)


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.postgresql
@settings(max_examples=15, phases=PHASES, suppress_health_check=SLOW)
@given(stories(settings_strategy()))
def test_the_laws_of_evaluation_hold_on_postgresql(postgresql_server: Server, story: Story) -> None:
    """Final values are those of the oracle, wherever the sums are kept."""
    database = postgresql_server.new_database()
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), ledger=postgresql_server.url(database))
        hold(world, story)
        with Evaluator(world.evaluation(story.settings), environ={}) as evaluator:
            report = evaluator.run()
            as_of_us = us(report.as_of)
            agree(
                evaluator.as_of(report.as_of).values,
                oracle.values(world.predictions, world.facts, story.settings, as_of_us),
            )
    postgresql_server.drop(database)
