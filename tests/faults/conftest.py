"""A world of a few chapters, and where its ledger is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.evaluation.material import World
from tests.faults import story

if TYPE_CHECKING:
    from pathlib import Path

CHAPTERS = 4


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    """URL of a ledger that nobody has made yet."""
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def world(tmp_path: Path, ledger_url: str) -> World:
    """What there is after a few chapters."""
    world = World(tmp_path / "world", ledger=ledger_url)
    for chapter in range(CHAPTERS):
        story.tell(world, chapter)
    return world
