"""A small world whose ledger is surveyed, and the page of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from otel_ml_metrics.report.writing import html, page_of
from otel_ml_metrics.survey import survey
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World

if TYPE_CHECKING:
    from pathlib import Path

    from otel_ml_metrics.survey import Survey

HOSTILE: Final = "<script>alert(1)</script>"
PER_DAY: Final = 120
DAYS: Final = 4
NOW: Final = START + DAYS * DAY + 2 * HOUR
GIVEN: Final[dict[str, Any]] = {
    "measures": [
        "accuracy", "recall", "roc_auc", "log_loss", "expected_calibration_error",
        {"name": "missed", "unit": "USD", "sum": "fare * (label & ~prediction)", "description": "Fares not flagged"},
    ],
    "slices": ["carrier"],
    "maturities": ["6h", "1d"],
    "attribution_window": "1d",
    "window": "1d",
    "by": ["variant"],
}  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty folder for a log and labels."""
    return World(tmp_path)


@pytest.fixture
def served(world: World) -> World:
    """Four days of two variants, of which one carrier has a hostile name and worse predictions."""
    random = np.random.default_rng(11)
    rows, facts = [], []
    for at in range(PER_DAY * DAYS):
        score, is_hostile = float(random.uniform(0.02, 0.98)), at % 3 == 0
        truth = bool(random.uniform() < (1 - score if is_hostile else score))
        made = START + at * DAY / PER_DAY
        variant = "champion" if at % 2 else "challenger"
        carrier = HOSTILE if is_hostile else "UA"
        told: dict[str, Any] = {"score": score, "prediction": score > 0.5, "carrier": carrier, "variant": variant}
        rows.append(Prediction(id=f"p-{at}", predicted_at=made, **told))
        facts.append(Fact(id=f"p-{at}", label=truth, received_at=made + random.uniform(0.1, 20) * HOUR))
    world.log(rows)
    world.label(facts)
    return world


def surveyed(world: World, **given: Any) -> Survey:
    """Evaluate up to now, and look."""
    world.run(NOW, **GIVEN | given)
    return survey(world.evaluation(**GIVEN | given))


def page(found: Survey) -> str:
    """The page of a survey."""
    return html(page_of(found))
