"""What the sums of a ledger mean: an evaluation that means something else needs another ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_ml_metrics.errors import LedgerMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.configuration import Evaluation


def definition_of(evaluation: Evaluation) -> dict[str, Any]:
    """What the sums mean, as plain JSON; durations in seconds, a measure as the keys of its sums."""
    return {
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
        "measures": {measure.name: sorted(state.key for state in measure.states) for measure in evaluation.measures},
    }


def check_definition(evaluation: Evaluation, kept: Mapping[str, Any]) -> None:
    """See that the sums of a ledger still mean what the evaluation says.

    Raises:
        LedgerMismatchError: Names what changed, and how to go on.
    """
    found = definition_of(evaluation)
    changes = [
        f"{name} was {kept.get(name)!r} and is {found[name]!r}" for name in found if found[name] != kept.get(name)
    ]
    if changes:
        message = (
            f"The ledger of {evaluation.name!r} holds sums of another definition: {'; '.join(changes)}. Write the old"
            " one again, or name a new ledger and run `otel-ml-metrics evaluate` once: it reads everything anew."
        )
        raise LedgerMismatchError(message)
