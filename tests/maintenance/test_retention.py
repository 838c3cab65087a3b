"""What is retired is gone, and every window keeps what it said."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otel_ml_metrics.auditor import Auditor
from otel_ml_metrics.errors import ConfigurationError, InstantError, LogBusyError
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.ledger.store import Ledger
from otel_ml_metrics.prediction_log.folder import ModelFolder
from otel_ml_metrics.prediction_log.reader import segments
from tests.evaluation.material import DAY, HOUR, MODEL, START, Fact, Prediction, World, native_id
from tests.maintenance.material import RETENTION, final, keep, live, run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_ml_metrics.evaluation_report import Value

LAST = START + 9 * DAY
"""The ledger stands here in most tests; with four days kept, START + 5 days is the first that stays."""
KEPT = START + 5 * DAY


def dates(world: World) -> list[str]:
    """Dates that the log has."""
    return sorted({segment.date for segment in segments(world.folder / "predictions", MODEL).values()})


def of_windows(values: Iterable[Value], *, retired: bool) -> list[Value]:
    """The values of windows before the first that stays, or from it on."""
    return [value for value in values if (value.window_start < KEPT) is retired]


@pytest.fixture
def retired(world: World) -> World:
    """Nine days, of which five are retired and gone."""
    live([world], range(9))
    run(world, LAST)
    keep(world, LAST)
    return world


def test_sums_stay_and_everything_else_goes(world: World) -> None:
    """Log, segments and labels in the ledger; the values of all windows are the same."""
    live([world], range(9))
    run(world, LAST)
    before = final(world, LAST).values

    done = keep(world, LAST)

    assert done.retired is not None
    assert (done.retired.before, done.retired.dates, done.retired.segments) == ("2013-04-13", 5, 10)
    assert dates(world) == ["2013-04-13", "2013-04-14", "2013-04-15", "2013-04-16"]
    assert sorted(path.name for path in (world.folder / "predictions").rglob("dt=*") if any(path.iterdir())) == [
        f"dt=2013-04-{day}" for day in (13, 14, 15, 16)
    ]
    ledger = Ledger.of(world.evaluation())
    assert {each.date for each in ledger.inputs("segment").values()} == set(dates(world))
    assert len(ledger.facts(f"2013-04-{day:02}" for day in range(8, 13))) == 0
    ledger.close()
    assert final(world, LAST).values == before
    assert of_windows(before, retired=True)


def test_a_retiring_world_says_the_same_as_one_that_keeps_all(tmp_path: Path) -> None:
    """In every run, with labels that come and change, and with compaction and retention after each."""
    keeping, retiring = World(tmp_path / "keeping"), World(tmp_path / "retiring")
    for day in range(14):
        live([keeping, retiring], range(day, day + 1))
        for hour in (7, 25):
            now = START + day * DAY + hour * HOUR
            expected, found = run(keeping, now, retention=None), run(retiring, now)
            assert found.values == expected.values
            assert (found.labels, found.waiting) == (expected.labels, expected.waiting)
            keep(retiring, now)

    end = START + 14 * DAY + HOUR
    assert final(retiring, end).values == final(keeping, end, retention=None).values
    assert len(dates(retiring)) == 4


def test_nothing_goes_that_was_not_evaluated(world: World) -> None:
    """Age counts from where the ledger stands, however late it is by the clock."""
    live([world], range(9))
    run(world, START + 2 * DAY)

    done = keep(world, LAST + 365 * DAY)

    assert done.retired is not None
    assert (done.retired.before, done.retired.files) == ("2013-04-06", 0)
    assert len(dates(world)) == 9


def test_without_a_ledger_or_a_retention_nothing_is_retired(world: World) -> None:
    """And no ledger is made."""
    live([world], range(9))

    done = [keep(world, LAST), keep(world, LAST, settings={"retention": None}), keep(world, LAST, retention=False)]

    assert [each.retired is None or each.retired.before is None for each in done] == [True, True, True]
    assert not (world.folder / "ledger.db").exists()
    assert len(dates(world)) == 9


def test_a_second_time_there_is_nothing_to_do(retired: World) -> None:
    """And nothing is committed."""
    with Ledger.of(retired.evaluation()).snapshot() as ledger:
        version = ledger.head().version

    done = keep(retired, LAST)

    assert done.retired is not None
    assert (done.retired.before, done.retired.dates, done.retired.files) == ("2013-04-13", 0, 0)
    with Ledger.of(retired.evaluation()).snapshot() as ledger:
        assert ledger.head().version == version


@pytest.mark.parametrize(
    ("retention", "grace", "told"),
    [("47h", None, "expected at least 2d"), ("2d", "6h", "expected at least 54h"), ("1d", None, "labels of younger")],
)
def test_a_retention_that_is_too_short_is_refused(world: World, retention: str, grace: str | None, told: str) -> None:
    """At set-up, before anything is lost."""
    given: dict[str, Any] = {} if grace is None else {"implicit_negative": {"grace": grace}}

    with pytest.raises(ConfigurationError, match=rf"retention: .*{told}"):
        world.evaluation(retention=retention, **given)
    assert world.evaluation(retention=timedelta(hours=54), **given).retention == timedelta(hours=54)


def test_a_dry_run_says_what_would_go(world: World) -> None:
    """And changes neither log nor ledger."""
    live([world], range(9))
    run(world, LAST)
    before = sorted(path for path in world.folder.rglob("*") if path.is_file() and "ledger" not in path.name)

    planned = keep(world, LAST, dry_run=True)

    assert sorted(path for path in world.folder.rglob("*") if path.is_file() and "ledger" not in path.name) == before
    assert planned.dry_run
    done = keep(world, LAST)
    assert planned.retired == done.retired
    assert {merged.date for merged in planned.merged} >= {merged.date for merged in done.merged}


def test_a_label_of_a_retired_prediction_is_told(retired: World) -> None:
    """It changes nothing, and is an orphan once it has waited."""
    before = final(retired, LAST).values
    retired.label([Fact(id=native_id(START, 0), received_at=START + HOUR)], name="lost on the way")

    report = run(retired, LAST + HOUR)
    later = run(retired, LAST + 3 * DAY)

    assert "1 labels are of predictions before 2013-04-13, which were retired" in report.warnings[0]
    assert report.labels["orphan"] == 1
    assert later.warnings == ()
    assert [value for value in final(retired, LAST + 3 * DAY).values if value in before] == list(before)


def test_a_prediction_that_is_logged_for_a_retired_date_is_ignored(retired: World) -> None:
    """It came after its window was closed for good; the next maintenance takes it away."""
    before = final(retired, LAST).values
    retired.log([Prediction(id="late", predicted_at=START + DAY)])

    report = run(retired, LAST + HOUR)
    done = keep(retired, LAST + HOUR)

    assert [value for value in report.values if value.window_start < KEPT] == []
    assert final(retired, LAST).values == before
    assert done.retired is not None
    assert done.retired.files == 1
    assert dates(retired)[0] == "2013-04-13"


def test_segments_that_were_never_evaluated_are_counted(world: World) -> None:
    """An operator should know what was lost."""
    live([world], range(9))
    run(world, LAST)
    world.log([Prediction(id="late", predicted_at=START + DAY)])

    done = keep(world, LAST)

    assert done.retired is not None
    assert (done.retired.segments, done.retired.unread) == (10, 1)


def test_backfill_goes_as_far_as_there_are_predictions(retired: World) -> None:
    """What cannot be computed again is refused, with the instant from which on it can."""
    with Evaluator(retired.evaluation(**RETENTION), environ={}) as evaluator:
        with pytest.raises(InstantError, match=r"were retired.*Backfill from 2013-04-13T00:00:00Z on"):
            evaluator.backfill(KEPT - HOUR, LAST)
        report = evaluator.backfill(KEPT, LAST)

    assert report.values == ()


def test_a_check_looks_at_what_is_left(retired: World) -> None:
    """The retired part cannot be computed again, and is no difference."""
    with Auditor(retired.evaluation(**RETENTION), environ={}) as auditor:
        check = auditor.check()

    assert (check.verdict, check.windows, check.problems) == ("equal", 4, ())


def test_closed_windows_keep_what_they_had_when_the_definition_changes(world: World) -> None:
    """A measure, maturity or slice that is added says nothing of them, one that goes is gone; the others have all."""
    old: dict[str, Any] = {"measures": ["accuracy", "precision", "brier_score"]}
    new: dict[str, Any] = {
        "measures": ["accuracy", "brier_score", "recall", "roc_auc"],
        "maturities": ["12h"],
        "slices": ["carrier", "origin"],
    }
    live([world], range(9))
    run(world, LAST, **old)
    keep(world, LAST, settings=old)
    before = of_windows(final(world, LAST, **old).values, retired=True)

    report = run(world, LAST, **new)
    after = final(world, LAST, **new).values

    assert of_windows(after, retired=True) == [
        value for value in before if value.measure in {"accuracy", "brier_score"} and value.maturity == "1d"
    ]
    assert of_windows(after, retired=True)
    assert of_windows(report.values, retired=True) == []
    young = of_windows(after, retired=False)
    assert {value.measure for value in young} == {"accuracy", "brier_score", "recall", "roc_auc"}
    assert {value.maturity for value in young} == {"12h", "1d"}
    assert {tuple(value.slice) for value in young} == {(), ("carrier",), ("origin",)}


def test_each_era_keeps_its_own_definition(world: World) -> None:
    """Windows that were retired before a change and after it say what they could say then."""
    live([world], range(6))
    run(world, START + 6 * DAY)
    keep(world, START + 6 * DAY)
    live([world], range(6, 10))
    wider = {"measures": [*world.evaluation().measures, "matthews_corrcoef"]}
    run(world, START + 10 * DAY, **wider)
    keep(world, START + 10 * DAY, settings=wider)
    wider = {"measures": [*wider["measures"], "balanced_accuracy"]}

    run(world, START + 10 * DAY, **wider)
    values = final(world, START + 10 * DAY, **wider).values

    firsts = {
        name: min(value.window_start for value in values if value.measure == name)
        for name in ("accuracy", "matthews_corrcoef", "balanced_accuracy")
    }
    assert firsts == {
        "accuracy": START,
        "matthews_corrcoef": START + 2 * DAY,
        "balanced_accuracy": START + 6 * DAY,
    }


def test_windows_that_straddle_the_last_retired_date_are_closed_too(world: World) -> None:
    """A part of their predictions is gone."""
    offset: dict[str, Any] = {"window_offset": "3h"}
    live([world], range(9))
    run(world, LAST, **offset)
    before = final(world, LAST, **offset).values
    keep(world, LAST, settings=offset)

    with Evaluator(world.evaluation(**RETENTION | offset), environ={}) as evaluator:
        with pytest.raises(InstantError, match=r"Backfill from 2013-04-13T03:00:00Z on"):
            evaluator.backfill(KEPT, LAST)
        assert evaluator.backfill(KEPT + 3 * HOUR, LAST).values == ()
    wider = offset | {"measures": [*world.evaluation().measures, "matthews_corrcoef"]}
    run(world, LAST, **wider)
    after = final(world, LAST, **wider).values

    assert [value for value in after if value.measure != "matthews_corrcoef"] == list(before)
    assert min(value.window_start for value in after if value.measure == "matthews_corrcoef") == KEPT + 3 * HOUR


def test_a_run_that_has_the_old_list_goes_on(world: World) -> None:
    """Files go when the grace is over; until then nobody misses them."""
    live([world], range(9))
    run(world, LAST)
    held = [segment.path for segment in segments(world.folder / "predictions", MODEL).values()]

    keep(world, LAST, grace=timedelta(hours=1))
    still = [Path(path).exists() for path in held]
    keep(world, LAST + 2 * HOUR, grace=timedelta(hours=1))

    assert all(still)
    assert not any(Path(path).exists() for path in held)
    assert len(dates(world)) == 4


def test_a_crash_after_the_commit_is_made_up_for(world: World) -> None:
    """The ledger says what is retired and ignores it; the next maintenance takes the files away."""
    live([world], range(9))
    run(world, LAST)
    before = final(world, LAST).values
    with ModelFolder(world.folder / "predictions", MODEL).alone(), pytest.raises(LogBusyError):
        keep(world, LAST)
    left = len(dates(world))
    in_between = run(world, LAST + HOUR)

    done = keep(world, LAST + HOUR)

    assert done.retired is not None
    assert (left, done.retired.dates, done.retired.files) == (9, 0, 10)
    assert (in_between.values, in_between.warnings) == ((), ())
    assert len(dates(world)) == 4
    assert final(world, LAST).values == before


def test_label_files_that_are_gone_are_forgotten(world: World) -> None:
    """Not those that are still there: they would be read again."""
    live([world], range(9))
    run(world, LAST)
    known = Ledger.of(world.evaluation()).inputs("label")
    old = sorted(known)[:3]
    for name in old[:2]:
        (world.folder / "labels" / name).unlink()

    done = keep(world, LAST)
    report = run(world, LAST + HOUR)

    assert done.retired is not None
    assert done.retired.label_files == 2
    assert set(Ledger.of(world.evaluation()).inputs("label")) == set(known) - set(old[:2])
    assert report.values == ()
    assert report.warnings == ()


def test_compacted_dates_are_retired_as_well(world: World) -> None:
    """By whatever files hold them."""
    live([world], range(9))
    run(world, LAST)
    keep(world, LAST, retention=False)
    before = final(world, LAST).values

    done = keep(world, LAST)

    assert done.retired is not None
    assert (done.retired.files, done.retired.segments) == (5, 10)
    assert len(dates(world)) == 4
    assert final(world, LAST).values == before
    assert ModelFolder(world.folder / "predictions", MODEL).manifest.leaving == {}
