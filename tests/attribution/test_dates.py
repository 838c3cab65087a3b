"""Which dates of the log are read for some labels: all that can hold their predictions, and no other."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from otel_ml_metrics.attribution.dates import PREFIX_LENGTH, dates_among, id_range
from otel_ml_metrics.instants import DAY_US, date_of

DAYS = [(date(2013, 4, 1) + timedelta(days=day)).isoformat() for day in range(5)]
START_MS = int(datetime(2013, 4, 1, tzinfo=UTC).timestamp() * 1_000)
DAY_MS = DAY_US // 1_000


def an_id(milliseconds: int) -> str:
    """An id of ours of an instant."""
    digits = f"{milliseconds:012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"


def spans_of(ids: list[str]) -> list[tuple[str, str]]:
    """The smallest and the largest of the ids with the same leading characters."""
    alike: dict[str, list[str]] = {}
    for each in ids:
        alike.setdefault(each[:PREFIX_LENGTH], []).append(each)
    return [(min(some), max(some)) for some in alike.values()]


def test_a_whole_day_is_one_date() -> None:
    """The ids around midnight begin alike on both sides; the date on the other side is not read for that."""
    # given
    first, last = START_MS + DAY_MS, START_MS + 2 * DAY_MS - 1

    # when
    found = dates_among(spans_of([an_id(first), an_id(last)]), DAYS)

    # then
    assert found == {"2013-04-02"}


@given(st.lists(st.integers(-60_000, 5 * DAY_MS).map(lambda after: START_MS + after), max_size=20))
def test_ids_of_ours_are_of_the_dates_that_they_tell(instants: list[int]) -> None:
    """Nothing is missed, and nothing is read in vain."""
    # given
    told = {date_of(instant * 1_000) for instant in instants}

    # when
    found = dates_among(spans_of([an_id(instant) for instant in instants]), DAYS)

    # then
    assert found == told & set(DAYS)


@given(st.lists(st.text(st.sampled_from("013dec-f7"), min_size=1, max_size=14), max_size=20))
def test_ids_of_any_form_are_looked_for_where_they_sort(ids: list[str]) -> None:
    """An id that is not of ours may stand in any segment among whose ids it sorts."""
    # given
    where = {day for day in DAYS if any(id_range(day)[0] <= each < id_range(day)[1] for each in ids)}

    # when
    found = dates_among(spans_of(ids), DAYS)

    # then
    assert found >= where
