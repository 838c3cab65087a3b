"""Whatever order the truth comes in, and however often a run is repeated, every number is that of the naive oracle."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation import oracle
from tests.evaluation.material import DAY, HOUR, MINUTE, START, Fact, Prediction, World, key_of, native_id, us
from tests.evaluation.oracle import DAY_US, HOUR_US, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from otel_ml_metrics.evaluation_report import Report, Value

IDS: Final = 7
ROUNDS: Final = 3
MOMENTS: Final = [step * 6 * HOUR for step in range(13)] + [
    HOUR, 2 * HOUR, 2 * HOUR - MINUTE, 5 * HOUR, 23 * HOUR, 24 * HOUR - MINUTE, 27 * HOUR, 47 * HOUR,
]  # fmt: skip
DELAYS: Final = [
    -2 * DAY, -HOUR, -MINUTE, 0 * HOUR, MINUTE, 2 * HOUR, 2 * HOUR + MINUTE, 6 * HOUR, 6 * HOUR + MINUTE, 12 * HOUR,
    DAY, DAY + MINUTE, 30 * HOUR, 30 * HOUR + MINUTE, 3 * DAY,
]  # fmt: skip
_EITHER: Final = st.booleans()
LAGS: Final = [0 * HOUR, MINUTE, HOUR, 3 * HOUR, 12 * HOUR, -HOUR]
RUNS: Final = [step * 6 * HOUR for step in range(21)] + [2 * HOUR, 26 * HOUR, 50 * HOUR, 54 * HOUR - MINUTE, 10 * DAY]


@dataclass(frozen=True)
class Story:
    """What happens: rounds of new segments and label files, each followed by runs."""

    settings: Settings
    segments: tuple[tuple[tuple[int, Prediction], ...], ...]
    labels: tuple[tuple[tuple[int, Fact], ...], ...]
    runs: tuple[tuple[datetime, ...], ...]
    older: datetime
    form: str


def settings_strategy(**others: st.SearchStrategy[Any]) -> st.SearchStrategy[Settings]:
    """Windows, maturities, splits and slices, and what else is given."""
    drawn: dict[str, st.SearchStrategy[Any]] = {
        "window_us": st.sampled_from([DAY_US, 6 * HOUR_US]),
        "offset_us": st.sampled_from([0, 3 * HOUR_US]),
        "maturities_us": st.sampled_from([(), (2 * HOUR_US, 6 * HOUR_US), (6 * HOUR_US,)]),
        "grace_us": st.sampled_from([None, None, 6 * HOUR_US]),
        "slices": st.sampled_from(
            [(), (("carrier",),), (("carrier",), ("origin",)), (("carrier",), ("carrier", "origin"))]
        ),
        "top": st.sampled_from([None, None, 1, 2]),
        "by": st.sampled_from([("version", "variant"), ("variant",), ()]),
    }
    return st.builds(Settings, **drawn | others)


def entity_settings(**others: st.SearchStrategy[Any]) -> st.SearchStrategy[Settings]:
    """The same where labels name entities, or several labels of a prediction are taken together."""
    whose: dict[str, st.SearchStrategy[Any]] = {
        "key": st.sampled_from([("customer",), ("customer", "region"), ()]),
        "within_us": st.sampled_from([None, 2 * HOUR_US, 12 * HOUR_US]),
        "take": st.sampled_from(["last", "all"]),
        **others,
    }
    binary = settings_strategy(aggregate=st.sampled_from(["last", "last", "any"]), **whose)
    summed = settings_strategy(
        task=st.just("regression"), aggregate=st.sampled_from(["sum", "sum", "last"]), grace_us=st.none(), **whose
    )
    return st.one_of(binary, summed)


@st.composite
def stories(draw: st.DrawFn, settings: st.SearchStrategy[Settings], native: st.SearchStrategy[bool] = _EITHER) -> Story:
    """Draw a story; small, so that ids, instants and slices meet often."""
    chosen = draw(settings)
    numbers = chosen.task == "regression"
    decisions = st.sampled_from([0.1, -2.5, 7.0, 1e6, None] if numbers else [True, False, True, False, None])
    truths = st.sampled_from([0.1, 0.2, -1 / 3, 250.0]) if numbers else st.booleans()
    natives = draw(st.lists(native, min_size=IDS, max_size=IDS))
    first = draw(st.lists(st.sampled_from(MOMENTS), min_size=IDS, max_size=IDS))
    ids = [native_id(START + first[at], at) if natives[at] else f"p-{at}" for at in range(IDS)]

    def entity() -> dict[str, Any]:
        if not chosen.key:
            return {}
        return {
            "customer": draw(st.sampled_from([1, 1, 2])),
            "region": draw(st.sampled_from(["north", "north", "south"])),
        }

    def prediction() -> tuple[int, int, Prediction]:
        number = draw(st.integers(0, IDS - 2))
        again = draw(st.integers(0, 5)) == 0
        moment = draw(st.sampled_from(MOMENTS)) if again else first[number]
        return (
            draw(st.integers(0, ROUNDS - 1)),
            draw(st.integers(0, 2)),
            Prediction(
                id=ids[number],
                predicted_at=START + moment,
                score=draw(st.sampled_from([0.0, 0.125, 0.3, 0.3000001, 0.5, 0.9, 1.0, 1.5, None])),
                prediction=draw(decisions),
                fare=draw(st.sampled_from([0.0, 0.1, -7.3, 1e9, 250.25, None])),
                carrier=draw(st.sampled_from(["UA", "B6", None])),
                origin=draw(st.sampled_from(["EWR", None])),
                version=draw(st.sampled_from(["1", "2"])),
                variant=draw(st.sampled_from(["champion", "champion", "challenger"])),
                **entity(),
            ),
        )

    def fact() -> tuple[int, int, Fact]:
        number = draw(st.integers(0, IDS - 1))
        received_at = START + first[number] + draw(st.sampled_from(DELAYS))
        return (
            draw(st.integers(0, ROUNDS - 1)),
            draw(st.integers(0, 1)),
            Fact(
                id=ids[number],
                label=draw(truths),
                received_at=received_at,
                revision=draw(st.integers(0, 1)),
                occurred_at=received_at - draw(st.sampled_from(LAGS)) if chosen.key else None,
                **entity(),
            ),
        )

    logged = [prediction() for _ in range(draw(st.integers(0, 10)))]
    received = [fact() for _ in range(draw(st.integers(0, 12)))]
    instants = sorted(START + each for each in draw(st.lists(st.sampled_from(RUNS), min_size=ROUNDS - 1, max_size=4)))
    cuts = sorted(draw(st.integers(0, len(instants))) for _ in range(ROUNDS - 1))
    bounds = [0, *cuts, len(instants)]
    return Story(
        settings=chosen,
        segments=tuple(tuple((part, row) for turn, part, row in logged if turn == at) for at in range(ROUNDS)),
        labels=tuple(tuple((part, row) for turn, part, row in received if turn == at) for at in range(ROUNDS)),
        runs=tuple(tuple(instants[low:high]) for low, high in pairwise(bounds)),
        older=START + draw(st.sampled_from(RUNS)),
        form=draw(st.sampled_from(["parquet", "csv"])),
    )


def put(world: World, story: Story, turn: int) -> None:
    """Write the segments and label files of one round."""
    for part in sorted({part for part, _ in story.segments[turn]}):
        # Later rounds write smaller names, so what comes later is not always what loses.
        world.log([row for each, row in story.segments[turn] if each == part], name=f"{7 * turn % 10}{part}")
    for part in sorted({part for part, _ in story.labels[turn]}):
        rows = [row for each, row in story.labels[turn] if each == part]
        world.label(rows, name=f"{turn}-{part}", form=story.form)


def nothing(_world: World) -> None:
    """Let a story go on."""


def told(story: Story, world: World, between: Callable[[World], None] = nothing) -> tuple[list[Report], Report, Report]:
    """Play a story: the reports of its runs, the last one repeated at its end, and the state at an older instant."""
    last = max((each for runs in story.runs for each in runs), default=START)
    reports = []
    with Evaluator(world.evaluation(story.settings), environ={}) as evaluator:
        for turn in range(ROUNDS):
            put(world, story, turn)
            between(world)
            for each in story.runs[turn]:
                reports.append(evaluator.run(as_of=each))
                between(world)
        reports.append(evaluator.run(as_of=last))
        return reports, evaluator.as_of(last), evaluator.as_of(min(story.older, last))


def agree(found: Iterable[Value], expected: dict[oracle.Key, oracle.Expected]) -> None:
    """See that values are those of the oracle, each once."""
    listed = [(key_of(value), value) for value in found]
    by_key = dict(listed)
    assert len(by_key) == len(listed)
    assert sorted(by_key) == sorted(expected)
    for key, each in expected.items():
        value = by_key[key]
        assert (value.support, value.coverage) == (each.support, each.coverage), key
        assert value.value == pytest.approx(each.value, rel=1e-12, abs=each.tolerance), key
        if each.exact is not None:
            assert value.certificate is not None
            assert abs(value.value - each.exact) <= value.certificate + 1e-12, key
        assert value.lower is None or value.upper is None or value.lower - 1e-9 <= value.value <= value.upper + 1e-9


def hold(story: Story, between: Callable[[World], None] = nothing, make: Callable[..., World] = World) -> None:
    """Play a story in a world of some kind, and see that all its laws hold, whatever is done between its steps."""
    with tempfile.TemporaryDirectory() as folder:
        world = make(Path(folder), task=story.settings.task)
        reports, newest, older = told(story, world, between)
        facts, predictions = world.facts, world.predictions
        last_us = us(newest.as_of)

        everything = oracle.values(predictions, facts, story.settings, last_us)
        final = {key: each for key, each in everything.items() if key.stage == "final"}
        agree(newest.values, final)

        agree(
            older.values,
            {
                key: each
                for key, each in oracle.values(predictions, facts, story.settings, us(older.as_of)).items()
                if key.stage == "final"
            },
        )

        seen = {key_of(value): value for report in reports for value in report.values if value.stage == "final"}
        agree([value for key, value in seen.items() if key in final], final)

        provisional = {key: each for key, each in everything.items() if key.stage == "provisional"}
        agree([value for value in reports[-1].values if value.stage == "provisional"], provisional)

        last = reports[-1]
        if last.held:  # statuses are told when labels are applied
            event("labels are held back at the end")
            with Evaluator(world.evaluation(replace(story.settings, hold_back=None)), environ={}) as evaluator:
                last = evaluator.run(as_of=last.as_of)
        statuses = oracle.statuses(predictions, facts, story.settings, last_us)
        assert {**last.labels, "waiting": last.waiting} == {**statuses, "invalid": 0}
        if story.settings.measures is None:  # the reasons are those of the measures that there are
            assert last.left_out == oracle.left_out(predictions, facts, story.settings, last_us)
        event(f"{min(len(final) // 20, 5) * 20}+ final values")


QUICK: Final[dict[str, Any]] = {
    "phases": [Phase.explicit, Phase.reuse, Phase.generate],  # shrinking such stories takes longer than reading them
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}


@settings(max_examples=12, **QUICK)
@given(stories(settings_strategy()))
def test_final_values_depend_on_the_data_and_as_of_alone(story: Story) -> None:
    """Not on how labels were cut into files and runs, nor on their order; the same for what is logged late or twice."""
    hold(story)


@settings(max_examples=4, **QUICK)
@given(stories(settings_strategy(provisional=st.just(True))))
def test_provisional_values_add_the_tiles_that_are_old_enough(story: Story) -> None:
    """A value at m adds the tiles with tile end + m <= as_of; final values are what they are without."""
    hold(story)


@settings(max_examples=8, **QUICK)
@given(
    stories(
        settings_strategy(
            hold_back=st.tuples(st.sampled_from([2, 4, 100]), st.sampled_from([6 * HOUR_US, 9 * DAY_US]))
        ),
        native=st.just(True),
    )
)
def test_labels_that_are_held_back_change_no_final_value(story: Story) -> None:
    """A sparse date waits only while nothing of it that a label could change is final."""
    hold(story)


@settings(max_examples=12, **QUICK)
@given(stories(entity_settings()))
def test_labels_of_entities_find_their_predictions(story: Story) -> None:
    """The last one before the outcome, or all within a time, whatever was logged first; and several say one thing."""
    hold(story)


WITH_EXACT: Final = st.sampled_from([("middle_gap", "ranked_gap"), ("middle_gap", "fares_at_stake", "ranked_gap")])


@settings(max_examples=12, **QUICK)
@given(
    stories(
        st.one_of(settings_strategy(measures=WITH_EXACT), entity_settings(measures=WITH_EXACT)),
    ),
    st.booleans(),
)
def test_exact_measures_obey_the_same_laws(story: Story, provisional: bool) -> None:
    """Computed anew from the rows of touched windows and otherwise remembered, they are what the data say."""
    hold(replace(story, settings=replace(story.settings, provisional=provisional)))


@pytest.mark.slow
@settings(max_examples=16, **QUICK)
@given(stories(st.one_of(settings_strategy(), entity_settings())), st.booleans())
def test_laws_hold_in_many_stories(story: Story, provisional: bool) -> None:
    """The same laws, tried for longer."""
    hold(replace(story, settings=replace(story.settings, provisional=provisional)))
