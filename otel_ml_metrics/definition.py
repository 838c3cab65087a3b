"""What the sums of a ledger mean, and which changes of an evaluation a live ledger allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.errors import LedgerMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.configuration import Evaluation

_FIXED: Final = ("model", "task", "window", "window_offset", "tile", "attribution_window", "grace", "by")
_GROWING: Final = ("maturities", "slices", "measures")


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
    for name in _FIXED:
        if found[name] != kept[name]:
            raise _mismatch(evaluation, f"{name} was {kept[name]!r} and is {found[name]!r}")
    for name, keys in found["measures"].items():
        if kept["measures"].get(name, keys) != keys:
            raise _mismatch(evaluation, f"the measure {name!r} has another expression; give it another name, or")


def is_extended(evaluation: Evaluation, kept: Mapping[str, Any]) -> bool:
    """Whether the evaluation asks for sums, slices or maturities that the ledger has not kept so far."""
    found = definition_of(evaluation)
    sums = {key for keys in found["measures"].values() for key in keys}
    kept_sums = {key for keys in kept["measures"].values() for key in keys}
    slices, kept_slices = ({tuple(fields) for fields in each["slices"]} for each in (found, kept))
    return bool(sums - kept_sums or slices - kept_slices or set(found["maturities"]) != set(kept["maturities"]))


def _mismatch(evaluation: Evaluation, change: str) -> LedgerMismatchError:
    message = (
        f"The ledger of {evaluation.name!r} holds sums of another definition: {change}. Write the old one again, or start a"
        " new ledger (another ledger: URL) and run `otel-ml-metrics evaluate` once, which reads everything anew."
    )
    return LedgerMismatchError(message)
