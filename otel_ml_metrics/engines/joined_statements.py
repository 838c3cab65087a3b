"""The rows that are judged at a maturity, each with the label known of it, by group and in one order, as SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_ml_metrics.engines.text import name_sql, text_sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_ml_metrics.engines.port import Engine

SPLIT = ("output", "version", "variant")


def materialise_judged(engine: Engine, *, maturity_s: int, until_us: int) -> int:
    """Materialise `judged_rows`: the rows of `effects` that are labelled at a maturity; how many they are.

    Args:
        engine: Where.
        maturity_s: The maturity in seconds.
        until_us: Tiles that start before this instant are old enough.
    """
    known = f"SELECT * FROM effects WHERE _sign = 1 AND _bucket <= {maturity_s} AND _tile_us < {until_us}"
    if len(engine.sql("SELECT 1 FROM effects WHERE _sign = -1 LIMIT 1")):  # else nothing was said twice
        newest = "row_number() OVER (PARTITION BY prediction_id ORDER BY _bucket DESC) AS _age"
        known = f"SELECT * FROM (SELECT *, {newest} FROM ({known}) AS known) AS aged WHERE _age = 1"
    return engine.materialise(
        "judged_rows", f"SELECT *, row_number() OVER (ORDER BY prediction_id) AS _place FROM ({known}) AS judged"
    )


def listed_rows(
    fields: Sequence[str], columns: Sequence[str], *, weighted: bool = False, classes: Sequence[str] = ()
) -> str:
    """SQL of the rows in `judged_rows` that have some columns, as lists by the id of the prediction, a row per group.

    Args:
        fields: Of the slices: groups are split by them, and by output, version and variant.
        columns: Given as lists _c0, _c1, …, beside the lists _label and _place, by which groups can be put together.
        weighted: Whether a row needs a weight of at least 0, which is given as _weight.
        classes: Where there are any, labels are given by their place among these.
    """
    keys = ", ".join(map(name_sql, (*SPLIT, *fields)))
    label = "label"
    if classes:
        places = " ".join(f"WHEN label = {text_sql(name)} THEN {at}" for at, name in enumerate(classes))
        label = f"CASE {places} END"
    wanted = {"_place": "_place", "_label": label, **{f"_c{at}": name_sql(name) for at, name in enumerate(columns)}}
    if weighted:
        wanted["_weight"] = "CASE WHEN weight >= 0 THEN weight END"
    lists = ", ".join(f"list({source} ORDER BY _place) AS {name}" for name, source in wanted.items())
    there = " AND ".join(f"{source} IS NOT NULL" for source in wanted.values())
    return f"SELECT {keys}, {lists} FROM judged_rows WHERE {there} GROUP BY {keys}"
