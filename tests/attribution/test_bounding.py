"""What the ledger tells apart does not depend on the order in which rows come, and nothing is lost."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from otel_ml_metrics.attribution.bounding import bounded, bounds_of, rest_of
from otel_ml_metrics.attribution.tables import SUMS, slice_text

AT_MOST: Final = 3
ROWS: Final = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xy"), st.integers(1, 3), st.integers(0, 2)), max_size=40
)


def sums_of(rows: list[tuple[str, str, int, int]]) -> pa.Table:
    """Sums by merchant, by merchant and country, and over all rows."""
    totals: dict[tuple[str, str], int] = {}
    for merchant, country, value, _ in rows:
        crossed = slice_text({"merchant": merchant, "country": country})
        for chosen in ("{}", slice_text({"merchant": merchant}), crossed):
            for name in ("predictions", country):
                totals[chosen, name] = totals.get((chosen, name), 0) + value
    fixed = {"output": "", "version": "1", "variant": "", "bucket": 0, "bin": -1}
    listed = [fixed | {"slice": chosen, "sum": name, "value": total} for (chosen, name), total in totals.items()]
    return pa.Table.from_pylist(listed, SUMS)


def told(sums: pa.Table) -> dict[tuple[str, str], int]:
    """Every sum by slice and name."""
    rows = pa.concat_tables([sums]).group_by(["slice", "sum"]).aggregate([("value", "sum")]).to_pylist()
    return {(row["slice"], row["sum"]): int(row["value_sum"]) for row in rows}


def added(left: pa.Table, right: pa.Table) -> pa.Table:
    """The sums of both."""
    keys = [name for name in SUMS.names if name != "value"]
    both = pa.concat_tables([left, right]).group_by(keys).aggregate([("value", "sum")])
    return both.rename_columns([*keys, "value"]).select(SUMS.names).cast(SUMS)


@given(ROWS)
def test_batches_in_any_order_leave_the_same(rows: list[tuple[str, str, int, int]]) -> None:
    """The fourth number of a row says in which of three batches it comes."""
    kept = SUMS.empty_table()
    for batch in range(3):
        now = added(kept, sums_of([row for row in rows if row[3] == batch]))
        kept = bounded(now, kept, at_most=AT_MOST)

    assert told(kept) == told(bounded(sums_of(rows), at_most=AT_MOST))


@given(ROWS)
def test_what_is_kept_apart_is_whole_and_the_rest_is_the_rest(rows: list[tuple[str, str, int, int]]) -> None:
    """At most so many slices of a kind have their own sums, all of them; what they lack is in one."""
    whole, kept = told(sums_of(rows)), told(bounded(sums_of(rows), at_most=AT_MOST))

    merchants = {chosen for chosen, _ in kept if "country" not in chosen} - {"{}", rest_of(["merchant"])}
    assert len(merchants) <= AT_MOST
    assert all(kept[key] == whole[key] for key in kept if key[0] in merchants or key[0] == "{}")
    apart = sum(kept.get((chosen, "predictions"), 0) for chosen in merchants)
    assert apart + kept.get((rest_of(["merchant"]), "predictions"), 0) == whole.get(("{}", "predictions"), 0)


def test_a_value_that_looks_like_the_rest_is_a_value() -> None:
    """Nobody can write what the ledger writes for the rest."""
    assert bounds_of([slice_text({"merchant": "null"}), slice_text({"merchant": ': null"'})]) == {}
