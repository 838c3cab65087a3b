"""Predictions in a table of somebody else: read by their instant, as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from otel_ml_metrics.errors import LogError
from tests.evaluation.material import DAY, HOUR, MINUTE, START, Prediction
from tests.importing.material import ForeignTableWorld
from tests.importing.test_files import equals_brute_force, labels, predictions, taken

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


LATER: Final = START + 4 * DAY
NOW: Final = START + 36 * HOUR


@pytest.fixture
def half(table: ForeignTableWorld) -> ForeignTableWorld:
    """A table of which a day and a half was taken over."""
    table.log(predictions(0, 36))
    table.label(labels(0, 60))
    table.run(NOW)
    return table


def test_each_run_takes_over_what_was_predicted_since(half: ForeignTableWorld) -> None:
    """Rows with a later instant than the run are left for another one."""
    half.log(predictions(36, 60))
    counts = []
    for hours in (40, 50, 96):
        half.run(START + hours * HOUR)
        counts.append(len(taken(half)))

    assert counts == [41, 51, 60]
    equals_brute_force(half)


def test_only_new_rows_are_read(tmp_path: Path, witnessed: list[str]) -> None:
    """Rows of the days around the last run at most."""
    world = ForeignTableWorld(tmp_path)
    world.log([Prediction(id=f"q-{row}", predicted_at=START - row * DAY) for row in range(1, 300)])
    query = f"SELECT *, witness(order_id) AS who FROM {world.table}"
    foreign = world.foreign | {"table": None, "query": query, "id": "who"}
    world.run(START, predictions=foreign)
    first, witnessed[:] = set(witnessed), []

    world.log([Prediction(id="new", predicted_at=START + HOUR)])
    world.run(START + 2 * HOUR, predictions=foreign)

    assert len(first) == 299
    assert {"new"} < set(witnessed) <= {"new", "q-1", "q-2", "q-3"}


def test_a_table_that_only_grows_is_never_suspected(half: ForeignTableWorld) -> None:
    """Not by rows at the very instant of a run, nor just after it."""
    now = NOW
    for row in range(36, 48):
        half.log([Prediction(id=f"p-{row}", predicted_at=now + MINUTE)])
        now += HOUR
        half.log([Prediction(id=f"r-{row}", predicted_at=now)])
        assert half.run(now).warnings == ()

    equals_brute_force(half, now)


def test_rows_that_come_late_are_taken_over_late(half: ForeignTableWorld) -> None:
    """A transaction may be committed after one with later instants; the run that finds it says so, once."""
    half.log([Prediction(id="late", predicted_at=NOW - 2 * HOUR), Prediction(id="new", predicted_at=NOW + HOUR)])

    reports = [half.run(NOW + 2 * HOUR), half.run(LATER)]

    assert [len(report.warnings) for report in reports] == [1, 0]
    assert "1 that came late are taken over now" in reports[0].warnings[0]
    assert len(taken(half)) == 38
    equals_brute_force(half)


def deleted(world: ForeignTableWorld) -> None:
    """Delete a row."""
    world.execute(f"DELETE FROM {world.table} WHERE order_id = 'p-30'")


def changed(world: ForeignTableWorld) -> None:
    """Change a score where it stands."""
    world.execute(f"UPDATE {world.table} SET probability = 0.123 WHERE order_id = 'p-30'")


@pytest.mark.parametrize("rewrite", [deleted, changed])
def test_a_rewritten_past_is_told_and_not_used(
    half: ForeignTableWorld, rewrite: Callable[[ForeignTableWorld], None]
) -> None:
    """What was predicted was predicted; whoever knows better is told how to begin anew."""
    rewrite(half)

    reports = [half.run(NOW + HOUR), half.run(LATER)]

    assert [len(report.warnings) for report in reports] == [1, 0]
    assert "0 that came late are taken over now; what was changed or deleted is not used" in reports[0].warnings[0]
    equals_brute_force(half)


def test_a_first_import_goes_day_by_day_where_it_can(half: ForeignTableWorld) -> None:
    """So one that dies loses a day at most; a gap of years costs nothing."""
    half.log([Prediction(id="far", predicted_at=START + 900 * DAY)])

    half.run(START + 901 * DAY)

    assert len(taken(half)) == 37
    equals_brute_force(half, START + 901 * DAY)


def test_a_column_that_is_missing_is_named(table: ForeignTableWorld) -> None:
    """As with files."""
    table.log(predictions(0, 3))

    with pytest.raises(LogError, match=r"has no column 'probabilty' for predictions. Did you mean 'probability'"):
        table.run(LATER, predictions=table.foreign | {"score": "probabilty"})


def test_secrets_are_never_shown(table: ForeignTableWorld) -> None:
    """Nor kept in the folder of the log."""
    secret = "hunter2-geheim"  # noqa: S105  # of no database
    url = f"postgresql+psycopg://reader:{secret}@127.0.0.1:9/shop"

    with pytest.raises(LogError, match="cannot be read for its table") as raised:
        table.run(LATER, predictions=table.foreign | {"url": url})

    assert secret not in f"{raised.value!r}{raised.value.__cause__!r}{table.evaluation().foreign!r}"
