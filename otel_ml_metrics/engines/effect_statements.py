"""Labels meet rows: what was known of each prediction before and after, and what each label counts as, as SQL.

A label is *known* at a maturity if it is the newest of its prediction with at most that delay. Bucket j of a sum takes
`f(label known at m_j) - f(label known at m_{j-1})`, so that the sum at maturity m is the sum over the buckets up to m.
Where labels are aggregated, what is known at a maturity is the aggregate of all labels with at most that delay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics.engines.delta_statements import SECOND_US, UNITS_OF_A_SUM, bucket_sql, tile_sql
from otel_ml_metrics.engines.text import name_sql

if TYPE_CHECKING:
    from otel_ml_metrics.engines.delta_statements import DeltaPlan
    from otel_ml_metrics.engines.port import Engine

FACT: Final = "prediction_id, received_us, revision, label"


def attribute(engine: Engine, plan: DeltaPlan, *, fact: str, waiting: bool) -> int:
    """Materialise `attributed`: the labels in `incoming` (and `waiting`) with the row of their prediction.

    A waiting label was compared with every older row before, so only new rows can be its prediction. The labels come
    second: DuckDB keeps what does in memory, and a label is narrower than a row.

    Args:
        engine: Where.
        plan: What a row carries.
        fact: Columns of a label.
        waiting: Whether `waiting` has labels.
    """
    columns = ", ".join(f"rows.{name_sql(name)}" for name in plan.columns)
    facts, where = f"SELECT {fact}, FALSE AS _has_waited FROM incoming", ""
    if waiting:
        facts += f" UNION ALL SELECT {fact}, TRUE FROM waiting"
        where = " WHERE rows._is_new OR NOT facts._has_waited"
    return engine.materialise(
        "attributed",
        f"SELECT {', '.join(f'facts.{name}' for name in fact.split(', '))}, rows._is_new, rows._predicted_us,"
        f" {bucket_sql(plan)} AS _bucket, {columns} FROM (SELECT *, TRUE AS _is_new FROM new_rows UNION ALL"
        f" SELECT *, FALSE AS _is_new FROM old_rows) AS rows JOIN ({facts}) AS facts"
        f" ON facts.prediction_id = rows.prediction_id{where}",
    )


def unmatched(facts: str) -> str:
    """SQL of the labels in a relation that found no prediction."""
    return (
        f"SELECT {FACT} FROM {facts} AS facts WHERE NOT EXISTS"
        " (SELECT 1 FROM attributed WHERE attributed.prediction_id = facts.prediction_id)"
    )


def are_single(engine: Engine) -> bool:
    """Whether every prediction in `attributed` has one label there."""
    return not engine.may_repeat("prediction_id", "SELECT prediction_id FROM attributed")


def define_single_effects(engine: Engine, plan: DeltaPlan) -> None:
    """Define `effects` where each prediction has its first and only label in `attributed`: each label adds itself."""
    engine.define(
        "effects",
        f"SELECT *, {tile_sql(plan)} AS _tile_us, TRUE AS _explicit, 1 AS _sign FROM attributed"
        " WHERE _bucket IS NOT NULL",
    )


def place(engine: Engine, plan: DeltaPlan, moment: str) -> None:
    """Materialise `placed_<moment>`: the labels in `facts_<moment>` with bucket and delay, by `rows_<moment>`."""
    engine.materialise(
        f"placed_{moment}",
        f"SELECT facts.*, {bucket_sql(plan)} AS _bucket, rows._predicted_us,"
        " greatest(facts.received_us - rows._predicted_us, 0) AS delay_us, rows.version, rows.variant"
        f" FROM facts_{moment} AS facts JOIN rows_{moment} AS rows ON facts.prediction_id = rows.prediction_id",
    )


def materialise_effects(engine: Engine, plan: DeltaPlan, *, moments: tuple[str, ...] = ("before", "after")) -> None:
    """Materialise `effects` from what was placed: what was known before is taken back, what is known after is added.

    Reads `rows_<moment>` and `placed_<moment>`.
    """
    parts = []
    for moment in moments:
        sign = -1 if moment == "before" else 1
        columns = ", ".join(f"rows.{name_sql(name)}" for name in plan.columns)
        parts.append(
            f"SELECT rows.prediction_id, rows._predicted_us, {tile_sql(plan)} AS _tile_us, {columns}, known._bucket,"
            f" known.label, known._explicit, known._sign * {sign} AS _sign FROM ({_known_sql(plan, moment)}) AS known"
            f" JOIN rows_{moment} AS rows ON known.prediction_id = rows.prediction_id"
        )
    engine.materialise("effects", " UNION ALL ".join(parts))


def _known_sql(plan: DeltaPlan, moment: str) -> str:
    """What is known from each bucket on, and taken back again from the next on."""
    newest = _explicit_sql(plan, moment)
    if plan.implicit_from is not None:
        newest += (
            f" UNION ALL SELECT prediction_id, {plan.implicit_from}, FALSE, FALSE FROM rows_{moment} WHERE"
            f" prediction_id NOT IN (SELECT prediction_id FROM placed_{moment} WHERE _bucket <= {plan.implicit_from})"
        )
    steps = (
        "SELECT *, lag(label) OVER one AS label_before, lag(_explicit) OVER one AS explicit_before"
        f" FROM ({newest}) AS newest WINDOW one AS (PARTITION BY prediction_id ORDER BY _bucket)"
    )
    return (
        f"WITH steps AS ({steps}) SELECT prediction_id, _bucket, label, _explicit, 1 AS _sign FROM steps UNION ALL"
        " SELECT prediction_id, _bucket, label_before, explicit_before, -1 FROM steps WHERE explicit_before IS NOT NULL"
    )


def _explicit_sql(plan: DeltaPlan, moment: str) -> str:
    """What the labels of each prediction say in each bucket: the newest of it, or all until then together."""
    placed = f"placed_{moment} WHERE _bucket IS NOT NULL"
    if plan.aggregate == "last":
        return (
            "SELECT prediction_id, _bucket, label, TRUE AS _explicit FROM (SELECT *, row_number() OVER (PARTITION BY"
            " prediction_id, _bucket ORDER BY received_us DESC, revision DESC, label DESC) AS age"
            f" FROM {placed}) AS aged WHERE age = 1"
        )
    in_units = f"CAST(label * {UNITS_OF_A_SUM} AS HUGEINT)"
    total, said = (
        ("bool_or(label)", "bool_or(part)")
        if plan.aggregate == "any"
        else (f"sum({in_units})", f"CAST(sum(part) AS DOUBLE) / {UNITS_OF_A_SUM}")
    )
    said = said.replace("(part)", "(part) OVER (PARTITION BY prediction_id ORDER BY _bucket)")
    return (
        f"SELECT prediction_id, _bucket, {said} AS label, TRUE AS _explicit FROM (SELECT prediction_id, _bucket,"
        f" {total} AS part FROM (SELECT DISTINCT * FROM {placed}) AS facts"
        " GROUP BY prediction_id, _bucket) AS parts"
    )


def label_counts(engine: Engine, plan: DeltaPlan, moment: str, *, fact: str) -> list[dict[str, object]]:
    """Count the labels in `placed_<moment>` by tile, version, variant, delay bin and status, and the skewed of them.

    The first of a prediction in the order (received, revision, label) is matched; a later one is revised where it says
    something else than the one before, else duplicate; what is past the horizon is late and belongs to no order. Where
    labels are aggregated, each is matched, and only the very same one once more is a duplicate.

    Args:
        engine: Where.
        plan: How labels are aggregated.
        moment: `before` or `after`.
        fact: Columns of a label.
    """
    if plan.aggregate == "last":
        window = "PARTITION BY prediction_id, _bucket IS NULL ORDER BY received_us, revision, label"
        later = "WHEN label = label_before THEN 'duplicate' ELSE 'revised'"
    else:
        window = f"PARTITION BY {fact} ORDER BY label"
        later = "ELSE 'duplicate'"
    ordered = (
        "SELECT *, row_number() OVER one AS place, lag(label) OVER one AS label_before"
        f" FROM placed_{moment} WINDOW one AS ({window})"
    )
    status = f"CASE WHEN _bucket IS NULL THEN 'late' WHEN place = 1 THEN 'matched' {later} END"
    return _counted(engine, plan, f"SELECT *, {status} AS status FROM ({ordered}) AS ordered")


def single_label_counts(engine: Engine, plan: DeltaPlan) -> list[dict[str, object]]:
    """Count the labels in `attributed` where each prediction has its first and only label there."""
    return _counted(
        engine,
        plan,
        "SELECT version, variant, received_us, _predicted_us, greatest(received_us - _predicted_us, 0) AS delay_us,"
        " CASE WHEN _bucket IS NULL THEN 'late' ELSE 'matched' END AS status FROM attributed",
    )


def _counted(engine: Engine, plan: DeltaPlan, labels: str) -> list[dict[str, object]]:
    cases = " ".join(
        f"WHEN delay_us <= {round(bound * SECOND_US)} THEN {at}" for at, bound in enumerate(plan.delay_bounds)
    )
    query = (
        f"SELECT {tile_sql(plan)} AS tile_us, version, variant, status,"
        f" CASE {cases} ELSE {len(plan.delay_bounds)} END AS delay_bin,"
        " count(*) AS labels, CAST(sum(delay_us) AS BIGINT) AS delay_us,"
        f" count(*) FILTER (received_us < _predicted_us) AS skewed FROM ({labels}) AS labels"
        " GROUP BY ALL"
    )
    return engine.sql(query).to_pylist()
