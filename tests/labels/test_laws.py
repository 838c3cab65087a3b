"""Where labels come from is no part of what they say: tables and functions obey the laws that files obey."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.test_laws import QUICK, Story, entity_settings, hold, settings_strategy, stories
from tests.labels.material import FORMS, FunctionWorld, TableWorld

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.evaluation.material import World


def from_the_beginning(story: Story) -> Story:
    """The same story, but the source has every label from the beginning; runs see those received until then."""
    return replace(story, labels=(tuple(chain.from_iterable(story.labels)), *((),) * (len(story.labels) - 1)))


TOLD_AT_ONCE: Final = stories(st.one_of(settings_strategy(), entity_settings())).map(from_the_beginning)
TABLES: Final = [partial(TableWorld, form=form) for form in FORMS.values()]


@settings(max_examples=6, **QUICK)
@given(TOLD_AT_ONCE, st.sampled_from(TABLES))
def test_a_table_obeys_the_laws(story: Story, world: Callable[..., World]) -> None:
    """Whatever its instants look like."""
    hold(story, make=world)


@settings(max_examples=4, **QUICK)
@given(TOLD_AT_ONCE)
def test_a_function_obeys_the_laws(story: Story) -> None:
    """It is asked for what was received since the last run."""
    hold(story, make=FunctionWorld)


@pytest.mark.soak
@settings(max_examples=12, **QUICK)
@given(TOLD_AT_ONCE, st.sampled_from([*TABLES, FunctionWorld]))
def test_laws_hold_in_many_stories(story: Story, world: Callable[..., World]) -> None:
    """The same, tried for longer."""
    hold(story, make=world)
