"""Which versions and variants a picture shows where there are more of them than colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_ml_metrics.charts.palette import ARMS
from otel_ml_metrics.spelling import arm_names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from otel_ml_metrics.spelling import Arm


def shown_arms(served: Iterable[tuple[Arm, datetime]]) -> tuple[dict[Arm, str], list[str]]:
    """Choose the arms that served last.

    Args:
        served: Arms and windows in which they served, in any order, as often as there are.

    Returns:
        Names of the chosen ones, in the order of their colours; and the names of the others.
    """
    newest: dict[Arm, datetime] = {}
    for arm, start in served:
        newest[arm] = max(start, newest.get(arm, start))
    names = arm_names(newest)
    chosen = sorted(newest, key=lambda arm: newest[arm], reverse=True)[: len(ARMS)]
    shown = {arm: name for arm, name in names.items() if arm in chosen}
    return shown, [name for arm, name in names.items() if arm not in shown]
