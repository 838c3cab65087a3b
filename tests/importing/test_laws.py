"""Predictions that something else writes are worth as much as those of our own log."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.material import START
from tests.evaluation.test_laws import QUICK, Story, entity_settings, hold, settings_strategy, stories
from tests.importing.material import ForeignTableWorld, ForeignWorld
from tests.labels.material import FORMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.evaluation.material import World


def from_the_beginning(story: Story) -> Story:
    """The same story, but the table has every prediction from the beginning, and none after the last run."""
    last = max((each for runs in story.runs for each in runs), default=START)
    kept = tuple((part, row) for part, row in chain.from_iterable(story.segments) if row.predicted_at <= last)
    return replace(story, segments=(kept, *((),) * (len(story.segments) - 1)))


STORIES: Final = stories(st.one_of(settings_strategy(), entity_settings()))
TABLES: Final = [partial(ForeignTableWorld, form=form) for form in FORMS.values()]


@settings(max_examples=6, **QUICK)
@given(STORIES)
def test_files_of_others_obey_the_laws(story: Story) -> None:
    """Whenever they come, and whatever they have twice."""
    hold(story, make=ForeignWorld)


@settings(max_examples=4, **QUICK)
@given(STORIES.map(from_the_beginning), st.sampled_from(TABLES))
def test_a_table_of_others_obeys_the_laws(story: Story, world: Callable[..., World]) -> None:
    """Each run takes over what was predicted until then."""
    hold(story, make=world)


@pytest.mark.slow
@settings(max_examples=30, **QUICK)
@given(STORIES, st.sampled_from([*TABLES, ForeignWorld]))
def test_laws_hold_in_many_stories(story: Story, world: Callable[..., World]) -> None:
    """The same, tried for longer."""
    hold(story if world is ForeignWorld else from_the_beginning(story), make=world)
