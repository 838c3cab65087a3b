"""How the values of a window moved, and what moved them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otel_ml_metrics.errors import InstantError
from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World

if TYPE_CHECKING:
    from datetime import datetime

    from otel_ml_metrics.history import History, Move

ROWS = [Prediction(id=f"p-{row}", predicted_at=START + row * HOUR, prediction=True) for row in range(4)]
LATER = START + 9 * DAY


def evaluator(world: World, **given: Any) -> Evaluator:
    """An evaluator of one measure or two at two ages."""
    defaults: dict[str, Any] = {"measures": ["accuracy"], "maturities": ["6h"], "slices": ["carrier"]}
    return Evaluator(world.evaluation(**defaults | given), environ={})


def run(world: World, as_of: datetime, **given: Any) -> None:
    """Run once."""
    with evaluator(world, **given) as each:
        each.run(as_of=as_of)


def told(world: World, **asked: Any) -> History:
    """The history of all rows."""
    with evaluator(world) as each:
        return each.history(**{"slice": {}, **asked})


def plain(moves: tuple[Move, ...]) -> list[tuple[int, str, str, float | None, float | None]]:
    """Commit, event, maturity, value and the one before."""
    return [(move.ledger_version, move.event, move.maturity, move.value, move.before) for move in moves]


@pytest.fixture
def day(world: World) -> World:
    """A day of four predictions; the first two labels say yes, and all that could be final is."""
    world.log(ROWS)
    world.label([Fact(id=f"p-{row}", label=True, received_at=START + 5 * HOUR) for row in range(2)])
    run(world, START + DAY)
    run(world, START + DAY + 6 * HOUR)
    run(world, START + 2 * DAY)
    return world


def test_a_value_moves_when_it_becomes_final_at_each_age(day: World) -> None:
    """Commits in between brought labels; they moved sums and no final value."""
    history = told(day)

    assert plain(history.moves) == [(2, "final", "6h", 1.0, None), (3, "final", "1d", 1.0, None)]
    assert [(step.ledger_version, dict(step.labels), step.predictions) for step in history.steps] == [
        (1, {"matched": 2}, 4), (2, {}, 0), (3, {}, 0)
    ]  # fmt: skip
    assert {(move.support, move.coverage, move.window_start, move.slice == {}) for move in history.moves} == {
        (2, 0.5, START, True)
    }


def test_a_revision_moves_the_ages_that_know_it_and_is_counted(day: World) -> None:
    """It came ten hours after the prediction, so the value at six hours stays."""
    day.label([Fact(id="p-1", label=False, received_at=START + 11 * HOUR)])
    run(day, LATER)

    history = told(day)

    assert plain(history.moves)[2:] == [(4, "revised", "1d", 0.5, 1.0)]
    assert history.steps[-1].labels == {"revised": 1}
    assert {move.maturity: move.value for move in history.settled} == {"6h": 1.0, "1d": 0.5}


def test_a_label_from_before_another_is_counted_for_what_it_changes(day: World) -> None:
    """The one that was first is the second now, and says what the first one says."""
    day.label([Fact(id="p-1", label=True, received_at=START + 4 * HOUR)])
    run(day, LATER)

    history = told(day)

    assert history.steps[-1].labels == {"duplicate": 1}
    assert len(history.moves) == 2


def test_a_prediction_that_is_logged_late_moves_coverage(day: World) -> None:
    """It is input like a label, and counted."""
    day.log([Prediction(id="p-9", predicted_at=START + HOUR)])
    run(day, LATER)

    history = told(day)

    assert [(move.event, move.value, move.coverage) for move in history.moves[2:]] == [("revised", 1.0, 0.4)] * 2
    assert (history.steps[-1].predictions, history.steps[-1].labels) == (1, {})


def test_a_value_that_cannot_be_given_any_more_says_why(world: World) -> None:
    """Recall is undefined without positives, and may come back."""
    given = {"measures": ["recall"], "maturities": []}
    world.log(ROWS[:1])
    world.label([Fact(id="p-0", label=True, received_at=START + HOUR)])
    run(world, LATER, **given)
    world.label([Fact(id="p-0", label=False, received_at=START + 2 * HOUR)])
    run(world, LATER, **given)
    world.label([Fact(id="p-0", label=True, received_at=START + 3 * HOUR)])
    run(world, LATER, **given)

    history = told(world)

    assert plain(history.moves) == [
        (1, "final", "1d", 1.0, None), (2, "undefined", "1d", None, 1.0), (3, "revised", "1d", 1.0, None)
    ]  # fmt: skip
    assert [move.undefined for move in history.moves] == [None, "no_positives", None]


def test_a_window_a_measure_and_a_slice_can_be_asked_for(world: World) -> None:
    """A window by any instant in it."""
    given = {"measures": ["accuracy", "f1"]}
    world.log([Prediction(id=f"p-{day}", predicted_at=START + day * DAY) for day in range(3)])
    world.label([Fact(id=f"p-{day}", received_at=START + day * DAY + HOUR) for day in range(3)])
    run(world, LATER, **given)

    with evaluator(world, **given) as each:
        one = each.history(window=START + 30 * HOUR, measure="f1", slice={"carrier": "UA"})
        everything = each.history()

    assert {(move.window_start, move.measure, str(move.slice)) for move in one.moves} == {
        (START + DAY, "f1", "{'carrier': 'UA'}")
    }
    assert [step.window_start for step in one.steps] == [START + DAY]
    assert len(everything.moves) == 3 * 2 * 2 * 2
    assert len(everything.steps) == 3


def test_nothing_has_moved_in_an_empty_ledger(world: World) -> None:
    """Which is no error."""
    history = told(world)

    assert (history.steps, history.moves, history.settled) == ((), (), ())


def test_a_window_without_a_zone_is_refused(world: World) -> None:
    """It names no moment."""
    with pytest.raises(InstantError, match="no time zone"):
        told(world, window=START.replace(tzinfo=None))


def test_a_history_is_plain_in_json(day: World) -> None:
    """Instants in ISO 8601, everything else as it is."""
    plain = told(day).to_dict()

    assert plain["evaluation"] == "flight-delay/flight-delay"
    assert plain["moves"][0]["as_of"] == "2013-04-09T06:00:00Z"
    assert plain["steps"][0]["labels"] == {"matched": 2}
    assert plain["settled"] == plain["moves"]
