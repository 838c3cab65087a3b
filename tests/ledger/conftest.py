"""Fixtures of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.evaluation.material import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path, ledger_url: str) -> World:
    """An empty folder for a log and labels, and a ledger that nobody has made yet, in each kind of database."""
    return World(tmp_path / "world", ledger=ledger_url)
