"""The life of an evaluation, at random: every kind of label, run and mishap, in every order."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.state_machine.drawing import FAMILIES
from tests.state_machine.machine import Life

SETTINGS: Final[dict[str, Any]] = {
    "deadline": None,
    "stateful_step_count": 8,
    "suppress_health_check": list(HealthCheck),
}
LIVES: Final = 225
"""In the long form, of each family."""


def live(family: str, *, lives: int) -> None:
    """Live through so many lives of a family."""
    life = seed(sorted(FAMILIES).index(family))(type("Life", (Life,), {"family": family}))
    run_state_machine_as_test(life, settings=settings(max_examples=lives, **SETTINGS))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_evaluation_says_what_is_so(family: str) -> None:
    """A few lives of each family."""
    live(family, lives=5)


@pytest.mark.soak
@pytest.mark.timeout(2_400)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_evaluation_says_what_is_so_in_many_lives(family: str) -> None:
    """The same, tried for longer: more than two thousand lives of all families together."""
    live(family, lives=LIVES)
