"""Laws of recording: it does not matter how rows are cut into calls and drains, or what library a column comes from."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ml_metrics import ModelMonitor, counter, gauge, histogram
from otel_ml_metrics.columns import Categories
from otel_ml_metrics.identifiers import IdSource, PredictionIds, instant_ms
from otel_ml_metrics.telemetry.accumulators import AttributeSets, Sums
from otel_ml_metrics.telemetry.distributions import Distributions
from otel_ml_metrics.testing import TelemetryCapture

if TYPE_CHECKING:
    from collections.abc import Callable

# Multiples of 1/64 add up without rounding, so that sums of any order are equal to the last bit.
AMOUNTS = st.integers(-64, 64_000).map(lambda number: number / 64)
ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "score": st.one_of(st.floats(0, 1), st.just(math.nan), st.just("high"), st.none()),
            "prediction": st.one_of(st.booleans(), st.just("?")),
            "country": st.sampled_from(["NL", "DE", "", None, 7, "(missing)"]),
            "amount": st.one_of(AMOUNTS, st.none(), st.just("much"), st.just(math.inf)),
            "duration": st.one_of(AMOUNTS, st.just(math.nan)),
            "color": st.just("red"),
        },
    ),
    max_size=12,
)


def recorded(record: Callable[[ModelMonitor], None]) -> dict[str, Any]:
    """Every metric that a way of recording leaves, in a form that compares."""
    metrics = [
        counter("paid", unit="USD", value="amount"),
        counter("risky", unit="{payment}", value="score > 0.5"),
        gauge("last", unit="USD", value="amount"),
        histogram("amounts", unit="USD", value="amount", bounds=[1, 10, 100]),
    ]
    with TelemetryCapture() as telemetry:
        monitor = ModelMonitor(
            "fraud",
            task="binary",
            slices=["country"],
            fields=["amount"],
            metrics=metrics,
            interval=3600,
            meter_provider=telemetry.meter_provider,
        )
        record(monitor)
        monitor.shutdown()
        return {
            name: sorted(_comparable(point) for point in metric.data.data_points)
            for name, metric in telemetry.metrics(flush=False).items()
            if name != "ml.monitor.buffer.usage"
        }


def _comparable(point: Any) -> tuple[Any, ...]:
    attributes = sorted((key, str(value)) for key, value in (point.attributes or {}).items())
    if hasattr(point, "bucket_counts"):  # sums of scores depend on the order in their last bits
        return (attributes, list(point.bucket_counts), round(point.sum, 9), point.min, point.max)
    return (attributes, point.value)


@settings(max_examples=25)
@given(rows=ROWS, cuts=st.sets(st.integers(0, 12)))
def test_it_does_not_matter_when_rows_are_drained(rows: list[dict[str, Any]], cuts: set[int]) -> None:
    """Drains cut the stream anywhere, and the metrics are the same."""

    def at_once(monitor: ModelMonitor) -> None:
        for row in rows:
            monitor.record(**row)

    def in_parts(monitor: ModelMonitor) -> None:
        for position, row in enumerate(rows):
            monitor.record(**row)
            if position in cuts:
                monitor.force_flush()

    assert recorded(at_once) == recorded(in_parts)


@settings(max_examples=25)
@given(rows=ROWS)
def test_a_batch_is_the_rows_that_it_is_made_of(rows: list[dict[str, Any]]) -> None:
    """`record_batch` counts what `record` counts, faults included; a value that is not given is None in a column."""
    names = sorted(set().union(*rows))
    full = [{name: row.get(name) for name in names} for row in rows]

    def by_row(monitor: ModelMonitor) -> None:
        for row in full:
            monitor.record(**row)

    def by_batch(monitor: ModelMonitor) -> None:
        monitor.record_batch(**{name: [row[name] for row in full] for name in names})

    if full and names:
        assert recorded(by_row) == recorded(by_batch)


def test_a_long_batch_is_the_sum_of_short_ones() -> None:
    """A batch is added up in blocks; which rows meet in one, or follow after the last full one, shows nowhere."""
    random = np.random.default_rng(1)
    rows = 70_001
    columns = {
        "score": np.where(random.random(rows) < 0.01, math.nan, random.integers(0, 64, rows) / 64),
        "country": random.choice(["NL", "DE", "FR"], rows),
        "amount": random.integers(-64, 6_400, rows) / 64,
    }

    def at_once(monitor: ModelMonitor) -> None:
        monitor.record_batch(**columns)

    def in_parts(monitor: ModelMonitor) -> None:
        for start in range(0, rows, 999):
            monitor.record_batch(**{name: column[start : start + 999] for name, column in columns.items()})
            assert start % 20 or monitor.force_flush()  # all of them are more than waits at most

    assert recorded(at_once) == recorded(in_parts)


@given(
    bounds=st.one_of(st.sets(st.integers(-9, 9), max_size=9), st.just(set(range(-50, 50)))),
    values=st.lists(st.tuples(st.integers(0, 2), st.one_of(st.integers(-60, 60), st.floats(-60, 60))), min_size=1),
    sets=st.integers(1, 3),
)
def test_buckets_include_their_upper_bound(bounds: set[int], values: list[tuple[int, float]], sets: int) -> None:
    """Few bounds or many, one set of attributes or several: bucket i is (bounds[i - 1], bounds[i]]."""
    limits = tuple(map(float, sorted(bounds)))
    slots = np.array([slot % sets for slot, _ in values], dtype=np.int64)
    distributions = Distributions(limits)

    distributions.add(np.array([value for _, value in values], dtype=np.float64), slots)

    found = {each.slot: each.buckets for each in distributions}
    for slot in set(slots.tolist()):
        counts = Counter(bisect_left(limits, values[row][1]) for row in np.flatnonzero(slots == slot).tolist())
        assert found[slot] == tuple(counts[bucket] for bucket in range(len(limits) + 1))


LIBRARIES: dict[str, Callable[[list[Any]], Any]] = {
    "tuple": tuple,
    "object array": lambda values: np.array([*values, None], dtype=object)[:-1],
    "pandas": pd.Series,
    "pandas nullable": lambda values: pd.Series(values).convert_dtypes(),
    "pandas category": lambda values: pd.Series(values, dtype="category"),
    "pandas index": pd.Index,
    "pyarrow array": pa.array,
    "pyarrow chunked": lambda values: pa.chunked_array([values[:1], values[1:]]),
    "pyarrow dictionary": lambda values: pa.array(values).dictionary_encode(),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_columns_of_every_library_count_alike(library: str) -> None:
    """Whatever holds the values, the metrics are those of a plain list."""
    columns: dict[str, list[Any]] = {
        "score": [0.25, 0.75, None],
        "prediction": [True, False, True],
        "country": ["NL", None, "DE"],
        "amount": [1, 2, 3],
    }
    if library in {"pandas", "pandas category", "pandas index"}:
        columns["score"] = [0.25, 0.75, 0.5]  # these turn None into NaN, which is not the same

    plain = recorded(lambda monitor: _record_batch(monitor, columns))
    wrapped = {name: LIBRARIES[library](values) for name, values in columns.items()}

    assert recorded(lambda monitor: _record_batch(monitor, wrapped)) == plain


def _record_batch(monitor: ModelMonitor, columns: dict[str, Any]) -> None:
    assert len(monitor.record_batch(**columns)) == 3


@pytest.mark.parametrize(
    "instants",
    [
        np.array(["2013-04-01T08:15", "2013-04-02"], dtype="datetime64[ns]"),
        pd.Series(pd.to_datetime(["2013-04-01T08:15", "2013-04-02T00:00"], utc=True)),
        pd.Series(pd.to_datetime(["2013-04-01T10:15+02:00", "2013-04-02T02:00+02:00"])),
        pa.array([datetime(2013, 4, 1, 8, 15, tzinfo=UTC), datetime(2013, 4, 2, tzinfo=UTC)]),
        [datetime(2013, 4, 1, 8, 15, tzinfo=UTC), np.datetime64("2013-04-02")],
    ],
    ids=["numpy", "pandas UTC", "pandas zone", "pyarrow", "mixed list"],
)
def test_instants_of_every_library_are_the_same(instants: Any) -> None:
    """An instant keeps its zone on the way in."""
    monitor = ModelMonitor("fraud", on_fault="raise")

    ids = monitor.record_batch(predicted_at=instants)

    assert [instant_ms(each) for each in ids] == [1_364_804_100_000, 1_364_860_800_000]


@given(
    widths=st.lists(st.integers(1, 2**20), min_size=1, max_size=5),
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 50),
    budget=st.integers(1, 60),
)
def test_every_row_gets_the_slot_of_its_own_slices(widths: list[int], seed: int, rows: int, budget: int) -> None:
    """Grouping is a dictionary lookup, whatever the number of distinct values; a set past the budget is folded."""
    random = np.random.default_rng(seed)
    columns = {
        f"s{number}": Categories(
            random.integers(-1, min(width, 6), rows).astype(np.int32), tuple(map(str, range(min(width, 6))))
        )
        for number, width in enumerate(widths)
    }
    sets = AttributeSets("fraud", budget)

    slots = sets.slots({"ml.model.name": "fraud"}, columns, rows)

    wanted = [tuple(str(column.texts("(missing)")[row]) for column in columns.values()) for row in range(rows)]
    for slot, texts in zip(slots.tolist(), wanted, strict=True):
        if slot:
            assert tuple(sets.attributes[slot].values()) == ("fraud", *texts)
    assert len({texts for slot, texts in zip(slots.tolist(), wanted, strict=True) if slot}) == min(
        budget, len(set(wanted))
    )


def test_many_wide_slices_do_not_overflow() -> None:
    """The product of the numbers of values may exceed any integer."""
    codes = np.arange(1_000, dtype=np.int32)
    column = Categories(codes, tuple(map(str, codes)))
    sets = AttributeSets("fraud", 2_000)

    slots = sets.slots({"ml.model.name": "fraud"}, {f"s{number}": column for number in range(12)}, 1_000)

    assert len(set(slots.tolist())) == 1_000


@given(values=st.lists(st.tuples(st.integers(0, 5), AMOUNTS), max_size=30), cut=st.integers(0, 30))
def test_sums_of_parts_are_the_sum(values: list[tuple[int, float]], cut: int) -> None:
    """Adding in two steps is adding in one."""
    sets = AttributeSets("fraud", 10)
    sets.attributes.extend({"slot": str(slot)} for slot in range(6))
    whole, parts = Sums(whole=False), Sums(whole=False)

    for sums, pieces in ((whole, [values]), (parts, [values[:cut], values[cut:]])):
        for piece in pieces:
            slots = np.array([slot for slot, _ in piece], dtype=np.int64)
            sums.add(slots, np.array([value for _, value in piece], dtype=np.float64))

    assert list(whole.observed(sets)) == list(parts.observed(sets))


@given(instants=st.lists(st.integers(0, 2**47), min_size=1, max_size=20), lane=st.integers(0, 2**48 - 1))
def test_ids_of_a_batch_are_the_same_one_by_one_and_as_characters(instants: list[int], lane: int) -> None:
    """There is one spelling of an id, however it is looked at."""
    ids = PredictionIds(np.array(instants, dtype=np.int64) * 1000, lane)

    characters = [bytes(row).decode() for row in ids.characters()]

    assert characters == list(ids) == [ids[position] for position in range(len(ids))]
    assert [instant_ms(each) for each in ids] == instants


def test_a_lane_is_left_when_its_numbers_are_used_up() -> None:
    """After 2^26 ids the next ones differ still; up to there they sort as they were made."""
    source = IdSource()
    source._blocks = iter(())  # noqa: SLF001  # 67 million ids would take a minute, the last 4,096 do not

    ids = [source.next_id(0) for _ in range(2 * 4_096)]

    assert ids[:4_096] == sorted(ids[:4_096])
    assert {each[24:] for each in ids[:4_096]} != {each[24:] for each in ids[4_096:]}
    assert len(set(ids)) == len(ids)


def test_numbers_go_on_from_block_to_block() -> None:
    """Ids of one millisecond sort in the order in which they were made."""
    source = IdSource()
    ids = [source.next_id(7_000) for _ in range(3 * 4_096 + 1)]

    assert ids == sorted(set(ids))
    assert {instant_ms(each) for each in ids} == {7}
