"""What the sums of a ledger mean, and which changes of an evaluation a live ledger takes over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.errors import LedgerMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.configuration import Evaluation

_FIXED: Final = (
    "model", "task", "window", "window_offset", "tile", "attribution_window", "grace", "by", "sample", "labels",
    "quantiles",
)  # fmt: skip


def definition_of(evaluation: Evaluation) -> dict[str, Any]:
    """What the sums mean, as plain JSON; durations in seconds, a measure as the keys of its sums (or what it calls)."""
    measures = {
        measure.name: sorted(state.key for state in measure.states) + ([f"over {measure.over}"] if measure.over else [])
        for measure in evaluation.measures
    }
    measures |= {measure.name: [measure.key] for measure in evaluation.exact}
    said = {
        "model": evaluation.model,
        "task": evaluation.task,
        "window": evaluation.window.seconds_whole,
        "window_offset": evaluation.window_offset.total_seconds(),
        "tile": evaluation.tile.total_seconds(),
        "attribution_window": evaluation.attribution_window.seconds_whole,
        "grace": None if evaluation.grace is None else evaluation.grace.seconds_whole,
        "by": sorted(evaluation.by),
        "maturities": sorted(maturity.seconds_whole for maturity in evaluation.maturities),
        "slices": sorted(list(fields) for fields in evaluation.slices),
        "measures": measures,
        "left_out": [exclusion.reason for exclusion in evaluation.exclusions],
    }
    if evaluation.sample < 1:
        said["sample"] = evaluation.sample
    if evaluation.quantiles:
        said["quantiles"] = list(evaluation.quantiles)
    return said | _joined(evaluation)


def _joined(evaluation: Evaluation) -> dict[str, Any]:
    """Whose labels are whose and what several say together; nothing where the last one of an id counts."""
    labels = evaluation.labels
    said: dict[str, Any] = {} if labels.aggregate == "last" else {"aggregate": labels.aggregate}
    if labels.keys:
        said["key"] = [field for _, field in labels.keys]
        said["take"] = labels.take
        said["within"] = evaluation.within.seconds_whole
        said["by_occurrence"] = labels.occurred_at is not None
    return {"labels": said} if said else {}


def check_definition(evaluation: Evaluation, kept: Mapping[str, Any]) -> None:
    """See that what the ledger has said so far still stands; measures, slices and maturities may come and go.

    Raises:
        LedgerMismatchError: Names what changed, and how to go on.
    """
    found = definition_of(evaluation)
    changes = [
        f"{name} was {kept.get(name)!r} and is {found.get(name)!r}"
        for name in _FIXED
        if found.get(name) != kept.get(name)
    ]
    changes += [
        f"the measure {name!r} has another expression (give the new one another name)"
        for name, keys in found["measures"].items()
        if kept["measures"].get(name, keys) != keys
    ]
    if changes:
        message = (
            f"The ledger of {evaluation.name!r} holds sums of another definition: {'; '.join(changes)}. Write the old"
            " one again, or name a new ledger and run `otel-ml-metrics evaluate` once: it reads everything anew."
        )
        raise LedgerMismatchError(message)
