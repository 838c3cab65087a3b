"""What an operator sees of a run in Prefect's UI, which a real server serves and a real browser shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.flows.showing import CHANGE
from otel_ml_metrics.report.writing import write_report
from otel_ml_metrics.spelling import number
from otel_ml_metrics.survey import survey
from tests.browser import visiting
from tests.flows.asking import artifact_of, evaluate, run_id
from tests.flows.material import START, lay_down

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from otel_ml_metrics.evaluation_report import Report

pytestmark = [pytest.mark.browser, pytest.mark.prefect, pytest.mark.slow]

DAYS: Final = 21
NOW: Final = START + timedelta(days=DAYS + 1)
NAME: Final = "flight-delay as of 2013-04-23T00:00:00Z"
DASHBOARD: Final = "https://grafana.example.com/d/flight-delay"


@dataclass(frozen=True)
class Finished:
    """A run that is over, as the server knows it.

    Args:
        url: Of the server.
        monitoring: What it was about.
        report: What it gave.
        run: Its id.
        table: Id of its table.
        picture: Id of its picture.
    """

    url: str
    monitoring: Path
    report: Report
    run: UUID
    table: UUID
    picture: UUID


@pytest.fixture(scope="module")
def finished(server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Three weeks, the last window of which came with the newest run."""
    material = lay_down(tmp_path_factory.mktemp("seen"), days=DAYS, skilled=True)
    material.declare("task: binary", f"task: binary\ndashboard: {DASHBOARD}")
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        evaluate(material, as_of=NOW - timedelta(days=1))
        state = evaluate(material, as_of=NOW)
    return Finished(
        url=server["PREFECT_API_URL"].removesuffix("/api"),
        monitoring=material.monitoring,
        report=state.result(),
        run=run_id(state),
        table=artifact_of(state, "table").id,
        picture=artifact_of(state, "markdown").id,
    )


@pytest.mark.parametrize("ui", ["", "/v2"], ids=["first", "second"])
def test_run_table_and_picture_are_seen(finished: Finished, ui: str) -> None:
    """In both UIs that Prefect serves; the picture is there without asking anybody for it."""
    with visiting(width=1280, height=900) as visit:
        page = visit.page
        page.goto(f"{finished.url}{ui}/runs/flow-run/{finished.run}")
        page.get_by_text(NAME).first.wait_for()
        visit.keep(f"prefect{ui.replace('/', '-')}-run")

        page.goto(f"{finished.url}{ui}/artifacts/artifact/{finished.table}")
        page.get_by_text(CHANGE).first.wait_for()
        page.get_by_text("log_loss").first.wait_for()
        page.locator(f"a[href='{DASHBOARD}']").wait_for()
        visit.keep(f"prefect{ui.replace('/', '-')}-table")

        page.goto(f"{finished.url}{ui}/artifacts/artifact/{finished.picture}")
        pictures = page.locator("img[src^='data:image/svg+xml']")
        pictures.last.wait_for()
        widths = pictures.evaluate_all("all => Promise.all(all.map(one => one.decode().then(() => one.naturalWidth)))")
        visit.keep(f"prefect{ui.replace('/', '-')}-picture")

    assert len(widths) == 2
    assert all(width > 0 for width in widths)


def test_the_report_shows_the_same_values(finished: Finished, tmp_path: Path) -> None:
    """Whoever goes on from Prefect to the page of `otel-ml-metrics report` meets the numbers again."""
    path = tmp_path / "report.html"
    write_report(survey(Evaluation.from_file(finished.monitoring)), path)

    with visiting(width=1280, height=900) as visit:
        visit.page.goto(path.as_uri())
        glance = visit.page.locator("#glance").inner_text()
        visit.keep("report")

    complete = [value for value in finished.report.values if value.maturity == "1d" and not value.slice]
    assert {(value.measure, value.variant) for value in complete} == {
        (measure, variant) for measure in ("accuracy", "log_loss") for variant in ("champion", "challenger")
    }
    assert [value for value in complete if number(value.value) not in glance] == []
