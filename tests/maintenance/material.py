"""Worlds of some days, evaluated and kept in order."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.maintenance import maintain
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World, native_id

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from otel_ml_metrics.evaluation_report import Report
    from otel_ml_metrics.maintenance import Upkeep

RETENTION: Final[dict[str, Any]] = {"retention": "4d", "slices": ["carrier"], "maturities": ["6h"]}
"""Windows of a day and labels within one: after two days nothing of a window can change."""


def live(worlds: Iterable[World], days: range, seed: int = 7) -> None:
    """Log predictions of some days, and labels for most, with revisions; the same in each world."""
    worlds = list(worlds)
    for day in days:
        chance = Random(f"{seed}-{day}")
        rows = [
            Prediction(
                id=native_id(START + day * DAY + hour * HOUR, hour),
                predicted_at=START + day * DAY + hour * HOUR,
                score=chance.random(),
                prediction=chance.random() < 0.5,
                fare=float(chance.randint(1, 500)),
                carrier=chance.choice(["UA", "B6"]),
            )
            for hour in range(0, 24, 3)
        ]
        facts = [
            Fact(id=row.id, label=chance.random() < 0.5, received_at=row.predicted_at + delay * HOUR)
            for row in rows
            for delay in chance.sample([1, 5, 8, 20], chance.randint(0, 2))
        ]
        for world in worlds:
            world.log(rows[::2])
            world.log(rows[1::2])
            world.label(facts)


def run(world: World, as_of: datetime, **given: Any) -> Report:
    """One run of the evaluation with a retention."""
    with Evaluator(world.evaluation(**RETENTION | given), environ={}) as evaluator:
        return evaluator.run(as_of=as_of)


def keep(world: World, now: datetime, **given: Any) -> Upkeep:
    """Keep a world in order; superseded files go at once unless a grace is given."""
    settings = given.pop("settings", {})
    grace = given.pop("grace", timedelta())
    return maintain(world.evaluation(**RETENTION | settings), grace=grace, clock=lambda: now, **given)


def final(world: World, as_of: datetime, **given: Any) -> Report:
    """Everything that is final as of an instant."""
    with Evaluator(world.evaluation(**RETENTION | given), environ={}) as evaluator:
        return evaluator.as_of(as_of)
