"""Where the ledgers of these tests are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    """URL of a ledger that nobody has made yet."""
    return f"sqlite:///{tmp_path}/ledger.db"
