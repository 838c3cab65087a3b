"""What retired windows can still say: their sums are those of the definition under which they were retired."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from otel_ml_metrics.definition import definition_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.attribution.retirement import Retirement
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.valuation import Group, GroupKey


def as_retired(
    groups: Mapping[GroupKey, Group], retirement: Retirement, evaluation: Evaluation
) -> dict[GroupKey, Group]:
    """Groups with only the measures, maturities and slices that their windows had; others would be counted from 0."""
    found = definition_of(evaluation)
    kept = {}
    for key, group in groups.items():
        era = retirement.era_of(key[0])
        if era is None:
            kept[key] = group
        elif _is_known(group, era.definition):
            kept[key] = _known_part(group, era.definition, found)
    return kept


def _is_known(group: Group, definition: Mapping[str, Any]) -> bool:
    fields = sorted(group.slice)
    has_slice = not fields or fields in definition["slices"]
    return has_slice and group.judgement.maturity.seconds_whole in definition["maturities"]


def _known_part(group: Group, definition: Mapping[str, Any], found: Mapping[str, Any]) -> Group:
    """The measures that the definition had, by the same sums."""
    known = {name for name, keys in found["measures"].items() if definition["measures"].get(name) == keys}
    return replace(
        group,
        values={name: value for name, value in group.values.items() if name in known},
        undefined={name: reason for name, reason in group.undefined.items() if name in known},
    )
