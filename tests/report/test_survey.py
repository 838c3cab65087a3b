"""What a survey gathers from a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_ml_metrics.errors import InstantError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.survey import survey
from tests.evaluation.material import DAY, EPOCH, START, World
from tests.report.conftest import GIVEN, NOW, surveyed

if TYPE_CHECKING:
    from otel_ml_metrics.evaluation_report import Value


def numbers(value: Value) -> tuple[object, ...]:
    """All that a value says, but not of when."""
    return value.value, value.lower, value.upper, value.certificate, value.support, value.coverage


def test_a_pool_is_what_one_long_window_would_say(served: World) -> None:
    """Windows taken together have the values, slices and intervals of one window as long as all of them."""
    pool = surveyed(served).pool
    assert pool.windows == (START, START + DAY, START + 2 * DAY)

    whole = World(served.folder, ledger=f"sqlite:///{served.folder}/whole.db")
    report = whole.run(NOW, **GIVEN | {"window": "3d", "window_offset": (START - EPOCH) % (3 * DAY)})
    longest = {(v.measure, v.variant, *v.slice.values()): v for v in report.values if v.maturity == "1d"}

    assert {v.window_start for v in longest.values()} == {START}
    assert {(v.measure, v.variant, *v.slice.values()): numbers(v) for v in pool.values} == {
        place: numbers(value) for place, value in longest.items()
    }


def test_a_survey_has_the_values_of_the_ledger(served: World) -> None:
    """All rows of every window at every age, as a query of the same instant gives them."""
    found = surveyed(served)

    with Evaluator(served.evaluation(**GIVEN), environ={}) as evaluator:
        queried = evaluator.as_of(NOW).values
    assert {value.place: value for value in found.values} == {v.place: v for v in queried if not v.slice}


def test_fewer_windows_are_the_newest_ones(served: World) -> None:
    """What is left out is counted."""
    surveyed(served)

    found = survey(served.evaluation(**GIVEN), windows=2)

    assert found.windows == (START + 2 * DAY, START + 3 * DAY)
    assert found.earlier == 2
    assert {value.window_start for value in found.values} <= set(found.windows)


def test_an_earlier_instant_has_what_was_final_then(served: World) -> None:
    """Windows that had not reached an age have no value at it."""
    surveyed(served)

    found = survey(served.evaluation(**GIVEN), as_of=START + 2 * DAY)

    assert {(v.window_start, v.maturity) for v in found.values} == {(START, "6h"), (START, "1d")}


def test_an_instant_past_the_ledger_is_refused(served: World) -> None:
    """Nobody has read the labels up to there."""
    surveyed(served)

    with pytest.raises(InstantError, match="Evaluate up to there first"):
        survey(served.evaluation(**GIVEN), as_of=NOW + DAY)


def test_a_ledger_that_is_not_there_is_not_made(world: World) -> None:
    """Looking leaves no file behind."""
    found = survey(world.evaluation(**GIVEN))

    assert found.as_of is None
    assert not (world.folder / "ledger.db").exists()
