"""Evaluating a log that is compacted between any two steps gives what the oracle says, as if it never were."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.prediction_log.folder import ModelFolder
from otel_ml_metrics.prediction_log.reader import log_files, segments
from tests.evaluation.material import DAY, HOUR, MODEL, START, Fact, Prediction, World
from tests.evaluation.test_laws import QUICK, Story, hold, settings_strategy, stories
from tests.prediction_log.material import compact_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def compacting(grace: float, turns: list[bool]) -> Callable[[World], None]:
    """Compacts at some of the steps of a story."""
    left = list(turns)

    def between(world: World) -> None:
        if not left or left.pop():
            compact_all(ModelFolder(world.folder / "predictions", MODEL, grace=grace))

    return between


@settings(max_examples=12, **QUICK)
@given(stories(settings_strategy()), st.sampled_from([0.0, 3_600.0]), st.lists(st.booleans(), max_size=8))
def test_compaction_changes_no_number(story: Story, grace: float, turns: list[bool]) -> None:
    """Late rows, repeated ids and segments that the ledger has not taken yet included."""
    hold(story, compacting(grace, turns))


@pytest.mark.soak
@settings(max_examples=24, **QUICK)
@given(
    stories(settings_strategy()), st.sampled_from([0.0, 3_600.0]), st.lists(st.booleans(), max_size=8), st.booleans()
)
def test_compaction_changes_no_number_in_many_stories(
    story: Story, grace: float, turns: list[bool], provisional: bool
) -> None:
    """The same, tried for longer."""
    story = replace(story, settings=replace(story.settings, provisional=provisional))
    hold(story, compacting(grace, turns))


@pytest.fixture
def worlds(tmp_path: Path) -> tuple[World, World]:
    """Two of the same kind: one is compacted, the other never."""
    return World(tmp_path / "compacted"), World(tmp_path / "plain")


def both(worlds: tuple[World, World], method: str, *given: Any, **named: Any) -> list[Any]:
    """Do the same in both worlds."""
    return [getattr(world, method)(*given, **named) for world in worlds]


def compact_first(worlds: tuple[World, World]) -> None:
    """Compact one of the worlds, and delete what was superseded."""
    compact_all(ModelFolder(worlds[0].folder / "predictions", MODEL, grace=0.0))


def rows(first: int, day: int = 0) -> list[Prediction]:
    """Some predictions of a day."""
    return [
        Prediction(id=f"p-{number}", predicted_at=START + day * DAY + number * HOUR)
        for number in range(first, first + 3)
    ]


def test_a_compacted_file_may_hold_segments_that_were_not_taken_yet(worlds: tuple[World, World]) -> None:
    """Those that were are old, those that were not are new, and both lie in one file."""
    both(worlds, "log", rows(0))
    both(worlds, "label", [Fact(id="p-1", received_at=START + 5 * HOUR)])
    both(worlds, "run", START + 12 * HOUR)
    both(worlds, "log", rows(3))
    compact_first(worlds)
    both(worlds, "label", [Fact(id=f"p-{number}", received_at=START + 8 * HOUR) for number in (0, 4)])

    found, expected = both(worlds, "run", START + 3 * DAY)

    assert len(log_files(worlds[0].folder / "predictions", MODEL)) == 1
    assert found.values == expected.values
    assert found.labels == expected.labels
    assert {value.support for value in found.values if value.measure == "accuracy"} == {3}


def test_the_winner_of_a_repeated_id_stays(worlds: tuple[World, World]) -> None:
    """By instant, segment and row, wherever the rows lie by then."""
    for name, score in (("b", 0.9), ("a", 0.1)):
        both(worlds, "log", [Prediction(id="p-1", score=score), Prediction(id="p-1", score=0.5)], name=name)
    both(worlds, "run", START + HOUR)
    compact_first(worlds)
    both(worlds, "log", [Prediction(id="p-1", score=0.2)], name="0")
    both(worlds, "label", [Fact(id="p-1")])

    found, expected = both(worlds, "run", START + 3 * DAY)

    assert found.values == expected.values
    assert [value.value for value in found.values if value.measure == "brier_score"] == [pytest.approx(0.64)]


def test_a_backfill_reads_compacted_files(worlds: tuple[World, World]) -> None:
    """The segments that were evaluated are there, though their files are gone."""
    both(worlds, "log", rows(0))
    both(worlds, "log", rows(3))
    both(worlds, "label", [Fact(id="p-1", received_at=START + 5 * HOUR)])
    both(worlds, "run", START + 3 * DAY)
    compact_first(worlds)

    with Evaluator(worlds[0].evaluation(), environ={}) as evaluator:
        report = evaluator.backfill(START, START + DAY)

    assert report.values == ()
    assert all(segment.shares == 2 for segment in segments(worlds[0].folder / "predictions", MODEL).values())


def test_a_new_ledger_reads_a_compacted_log(worlds: tuple[World, World]) -> None:
    """Compaction knows of no ledger, and no ledger of compaction."""
    for first in (0, 3):
        both(worlds, "log", rows(first))
    both(worlds, "label", [Fact(id=f"p-{number}", received_at=START + 7 * HOUR) for number in range(6)])
    compact_first(worlds)

    found, expected = both(worlds, "run", START + 3 * DAY)

    assert found.values == expected.values
    assert found.values
