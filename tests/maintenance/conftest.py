"""A world whose past can be retired."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.evaluation.material import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty folder for a log and labels."""
    return World(tmp_path)
