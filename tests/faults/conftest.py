"""A world of a few chapters, and ledgers for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.evaluation.material import World
from tests.faults import story

if TYPE_CHECKING:
    from pathlib import Path

CHAPTERS: Final = 4
MONITORING: Final = """\
model: flight-delay
predictions: world/predictions
labels: {{path: world/labels, revision: revision}}
ledger: {ledger}
window: 6h
attribution_window: 12h
maturities: [2h]
slices: [carrier]
by: [variant]
measures:
  - accuracy
  - log_loss
  - {{name: fares_at_stake, unit: USD, sum: fare, rows: predictions, description: All fares}}
  - {{name: ranked_gap, unit: "1", exact: "tests.evaluation.callables:ranked_gap", description: By rank}}
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """What there is after a few chapters."""
    world = World(tmp_path / "world")
    for chapter in range(CHAPTERS):
        story.tell(world, chapter)
    return world


def write_monitoring(folder: Path, ledger: str) -> Path:
    """The evaluation of the world in a folder, as a file."""
    path = folder / "monitoring.yaml"
    path.write_text(MONITORING.format(ledger=ledger))
    return path
