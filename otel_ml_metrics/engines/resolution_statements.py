"""Outcomes of entities find the predictions that they are labels of, as SQL.

An outcome names an entity and the instant at which something happened to it. It is the label of the last prediction
about that entity before that instant, or of all of them within a time. A prediction that is logged late can take an
outcome over from an earlier one, so outcomes that were settled are looked at again where new rows could be theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_ml_metrics.engines.port import Engine

OUTCOME: Final = "received_us, revision, label, entity, occurred_us"
SETTLED: Final = f"prediction_id, {OUTCOME}"


@dataclass(frozen=True)
class Span:
    """Instants between which predictions can lie, both included."""

    first_us: int
    last_us: int


def reach(engine: Engine, rows: str, within_us: int) -> Span | None:
    """Between which instants predictions lie whose outcomes rows of a relation could take over; None without rows."""
    query = f"SELECT min(_predicted_us) AS first, max(_predicted_us) AS last FROM {rows}"
    [row] = engine.sql(query).to_pylist()
    return None if row["first"] is None else Span(row["first"] - within_us, row["last"] + within_us)


def unsettle(engine: Engine, *, within_us: int) -> None:
    """Materialise `unsettled`: outcomes in `kept` that a new row could be the prediction of, or whose row is gone.

    An outcome of several predictions is taken from all of them, whichever of them is the reason.
    """
    touched = (
        f"SELECT {OUTCOME} FROM kept WHERE EXISTS (SELECT 1 FROM new_rows AS rows WHERE rows._entity = kept.entity AND"
        f" rows._predicted_us <= kept.occurred_us AND rows._predicted_us >= kept.occurred_us - {within_us})"
        " OR prediction_id IN (SELECT prediction_id FROM moved_before)"
    )
    engine.materialise("unsettled", f"SELECT {SETTLED} FROM kept WHERE ({OUTCOME}) IN ({touched})")


def open_outcomes(engine: Engine, *, within_us: int) -> Span | None:
    """Materialise `outcomes`: incoming and unsettled ones, numbered; between which instants their rows lie.

    An unsettled outcome is opened once, of however many predictions it was; one that was received twice, twice.
    """
    once = (
        f"SELECT DISTINCT {OUTCOME}, _copy FROM (SELECT {OUTCOME}, row_number() OVER (PARTITION BY {SETTLED}) AS _copy"
        " FROM unsettled) AS copies"
    )
    engine.materialise(
        "outcomes",
        f"SELECT {OUTCOME}, row_number() OVER (ORDER BY {OUTCOME}) AS _outcome FROM"
        f" (SELECT {OUTCOME} FROM incoming_outcomes UNION ALL SELECT {OUTCOME} FROM ({once}) AS once) AS opened",
    )
    [row] = engine.sql("SELECT min(occurred_us) AS first, max(occurred_us) AS last FROM outcomes").to_pylist()
    return None if row["first"] is None else Span(row["first"] - within_us, row["last"])


def resolve(engine: Engine, *, within_us: int, take: str, relations: Sequence[str] = ("new_rows", "old_rows")) -> None:
    """Materialise `incoming`: each outcome once for each prediction in these relations that it is of."""
    rows = " UNION ALL ".join(f"SELECT prediction_id, _predicted_us, _entity FROM {each}" for each in relations)
    pairs = (
        "SELECT rows.prediction_id, outcomes.*, row_number() OVER (PARTITION BY outcomes._outcome ORDER BY"
        f" rows._predicted_us DESC, rows.prediction_id DESC) AS _place FROM outcomes JOIN ({rows}) AS rows"
        " ON rows._entity = outcomes.entity"
        " WHERE rows._predicted_us <= outcomes.occurred_us"
        f" AND rows._predicted_us >= outcomes.occurred_us - {within_us}"
    )
    chosen = " WHERE _place = 1" if take == "last" else ""
    engine.materialise("incoming", f"SELECT {SETTLED}, _outcome FROM ({pairs}) AS pairs{chosen}")


def without_row() -> str:
    """SQL of the outcomes that found no prediction."""
    return (
        f"SELECT CAST(NULL AS VARCHAR) AS prediction_id, {OUTCOME} FROM outcomes WHERE _outcome NOT IN"
        " (SELECT _outcome FROM incoming)"
    )


def still_waiting() -> str:
    """SQL of the outcomes that have no prediction: those that found none, and those that nothing new could be of."""
    return (
        f"{without_row()} UNION ALL (SELECT {SETTLED} FROM waiting EXCEPT ALL"
        f" SELECT {SETTLED} FROM unsettled WHERE prediction_id IS NULL)"
    )


def withdrawn() -> str:
    """SQL of the labels of predictions that were settled and are looked at again."""
    return f"SELECT {SETTLED} FROM unsettled WHERE prediction_id IS NOT NULL"
