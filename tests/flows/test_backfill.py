"""The flow `backfill` against Prefect's API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.flows.backfill import backfill
from otel_ml_metrics.flows.evaluate_labels import evaluate_labels
from otel_ml_metrics.flows.stretches import stretches_of
from otel_ml_metrics.standing import standing_of
from tests.flows.asking import artifacts_of, name_of, repeat
from tests.flows.material import SETTLED, START

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from otel_ml_metrics.evaluation_report import Report
    from tests.flows.material import Material

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_api")]

UNTIL = datetime(2013, 4, 3, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def evaluated(material: Material) -> Material:
    """An evaluation whose ledger has all windows final."""
    evaluate_labels(str(material.monitoring), SETTLED, send_for=0)
    return material


def run(material: Material, **parameters: Any) -> State[Report]:
    """Run the flow over both days and return its final state."""
    given = {"since": START, "until": UNTIL, "send_for": 0} | parameters
    return cast("State[Report]", backfill(str(material.monitoring), **given, return_state=True))


def values_of(material: Material) -> list[dict[str, Any]]:
    """Every final value of the ledger, to the last digit."""
    with Evaluator(Evaluation.from_file(material.monitoring), environ={}) as evaluator:
        return [value.to_dict() for value in evaluator.as_of(SETTLED).values]


def progress_of(state: State[Report]) -> list[float]:
    """What the tries of a run have shown of its progress, in per cent."""
    return sorted(float(str(artifact.data)) for artifact in artifacts_of(state) if artifact.type == "progress")


def test_a_new_measure_gets_its_past(evaluated: Material) -> None:
    """A measure starts with windows that are not final yet; the backfill gives it those that are."""
    evaluated.declare("[accuracy,", "[accuracy, recall,")

    state = run(evaluated)

    assert state.is_completed(), state.message
    assert {value.measure for value in state.result().values} == {"recall"}


def test_repeating_it_changes_nothing(evaluated: Material) -> None:
    """A backfill that nobody remembers is simply run again, in other steps even: the values are the same to the bit."""
    before = values_of(evaluated)

    states = [run(evaluated), run(evaluated, windows_at_once=1)]

    assert [state.is_completed() for state in states] == [True, True]
    assert [state.result().values for state in states] == [(), ()]
    assert values_of(evaluated) == before


def test_each_stretch_is_a_commit_and_a_step_of_the_progress(evaluated: Material) -> None:
    """A long range needs the memory of a short one, and shows how far it is."""
    before = run(evaluated).result().ledger_version

    state = run(evaluated, windows_at_once=1)

    (progress,) = artifacts_of(state)
    assert state.result().ledger_version == before + 2
    assert (progress.key, progress.type, progress.data) == ("backfill-flight-delay-api-flight-delay", "progress", 100.0)


def test_a_run_that_is_cut_off_goes_on_where_it_was(evaluated: Material) -> None:
    """The second window cannot be read, so the run fails after the first; mended and retried, it does the second."""
    second_day = next(evaluated.folder.glob("predictions/*/dt=2013-04-02"))
    aside = second_day.rename(evaluated.folder / "aside")
    second_day.mkdir()
    (second_day / "s-1-00000000-0000-7000-8000-000000000000.parquet").write_bytes(b"torn")
    failed = run(evaluated, windows_at_once=1)
    for torn in second_day.iterdir():
        torn.unlink()
    second_day.rmdir()
    aside.rename(second_day)

    before = progress_of(failed)
    state = repeat(backfill, failed)

    assert failed.is_failed()
    assert before == [50.0]
    assert state.is_completed(), state.message
    assert progress_of(state) == [50.0, 100.0]
    assert standing_of(Evaluation.from_file(evaluated.monitoring)).version == 1 + 2


def test_an_empty_range_is_refused(evaluated: Material) -> None:
    """Since and until mixed up is a slip, and not a run without work."""
    state = run(evaluated, since=UNTIL, until=START)

    assert state.is_failed()
    assert "The range is empty" in str(state.message)


def test_stretches_are_whole_windows_without_gaps(material: Material) -> None:
    """Together they cover the range, wherever it begins within a window."""
    evaluation = Evaluation.from_file(material.monitoring)

    found = stretches_of(evaluation, START + DAY / 2, START + 4 * DAY + DAY / 2, windows=2)

    assert found == [(START, START + 2 * DAY), (START + 2 * DAY, START + 4 * DAY), (START + 4 * DAY, START + 5 * DAY)]


def test_a_run_is_named_by_model_and_range(evaluated: Material) -> None:
    """An operator reads in the list of runs what each was about."""
    state = run(evaluated)

    assert name_of(state) == "flight-delay from 2013-04-01T00:00:00Z to 2013-04-03T00:00:00Z"
