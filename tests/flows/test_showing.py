"""What a run leaves in Prefect beside its state: a table against the window before, and a picture over windows."""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from prefect import flow

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.flows.earlier import known_values
from otel_ml_metrics.flows.showing import CHANGE
from tests.flows.asking import artifact_of, artifacts_of, evaluate
from tests.flows.material import START

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from otel_ml_metrics.evaluation_report import Report, Value
    from tests.flows.material import Material

pytestmark = [pytest.mark.prefect, pytest.mark.usefixtures("prefect_api")]

Row = dict[str, Any]

FIRST_IS_FINAL = START + timedelta(days=2, hours=1)
"""As of here the first window is final at both maturities, and the second at none."""

DASHBOARD = "https://grafana.example.com/d/flight-delay"


def rows_of(state: State[Report]) -> list[Row]:
    """The table that a run left."""
    return cast("list[Row]", json.loads(str(artifact_of(state, "table").data)))


def series(row: Row) -> tuple[str, ...]:
    """What a row is the value of, in any window."""
    return tuple(row[name] for name in ("measure", "maturity", "variant", "slice"))


def panels_of(state: State[Report]) -> list[str]:
    """The pictures that a run left, as SVG."""
    _, *parts = str(artifact_of(state, "markdown").data).split("data:image/svg+xml;base64,")
    return [b64decode(part.partition(")")[0]).decode() for part in parts]


@pytest.fixture
def without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand for an environment that lacks the library, and has loaded nothing that needs it."""
    drawing = ("otel_ml_metrics.charts.", "otel_ml_metrics.flows.picture")
    for name in [name for name in sys.modules if name.startswith(drawing)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_the_table_holds_values_against_the_window_before(material: Material) -> None:
    """Each against its own series at its own age, which an earlier run left in the ledger; the first has none."""
    first = rows_of(evaluate(material, as_of=FIRST_IS_FINAL))
    second = rows_of(evaluate(material))

    before = {series(row): row["value"] for row in first}
    assert {row[CHANGE] for row in first} == {None}
    assert {row["slice"] for row in second} == {"all", "carrier=AA", "carrier=UA"}
    assert {series(row): row[CHANGE] for row in second} == {
        series(row): pytest.approx(row["value"] - before[series(row)]) for row in second
    }


def test_one_run_holds_its_own_windows_against_each_other(material: Material) -> None:
    """A dry run commits nothing, so the window before is not in the ledger yet."""
    rows = rows_of(evaluate(material, dry_run=True))

    values = {(row["window"], *series(row)): row["value"] for row in rows}
    of_second = [row for row in rows if row["window"] == "2013-04-02"]
    assert of_second
    for row in of_second:
        assert row[CHANGE] == pytest.approx(row["value"] - values[("2013-04-01", *series(row))])


def test_a_look_back_knows_nothing_of_later_runs(material: Material) -> None:
    """As of an earlier instant the second window has no value to be seen, in the table as in the picture."""
    evaluate(material)

    state = evaluate(material, as_of=FIRST_IS_FINAL)

    assert {row["window"] for row in rows_of(state)} == {"2013-04-01"}
    assert "champion: 1 windows" in panels_of(state)[0]


def test_a_run_leaves_a_picture_of_its_measures(material: Material) -> None:
    """One panel per measure, the variants as lines in it, over the windows of earlier runs as well."""
    evaluate(material, as_of=FIRST_IS_FINAL)

    state = evaluate(material)

    panels = panels_of(state)
    assert [panel.partition('aria-label="')[2].partition('"')[0] for panel in panels] == ["accuracy", "log loss"]
    for panel in panels:
        assert "champion: 2 windows; in the newest, 2013-04-02 at 1d," in panel
        assert "challenger: 2 windows;" in panel
    assert artifact_of(state, "markdown").key == "flight-delay-api-flight-delay-picture"


def test_a_picture_says_where_it_is_cut(material: Material) -> None:
    """What there is no room for is named, instead of missing silently."""
    many = "accuracy, log_loss, precision, recall, specificity, f1, brier_score, roc_auc"
    material.declare("measures: [accuracy, log_loss]", f"measures: [{many}]")

    state = evaluate(material)

    assert len(panels_of(state)) == 6
    assert "Not drawn, for want of room: brier score, roc auc." in str(artifact_of(state, "markdown").description)


def test_table_and_picture_link_to_the_dashboard(material: Material) -> None:
    """The way from a run to the same values over a year is one click."""
    material.declare("task: binary", f"task: binary\ndashboard: {DASHBOARD}")

    state = evaluate(material)

    for kind in ("table", "markdown"):
        assert f"[Dashboard]({DASHBOARD})" in str(artifact_of(state, kind).description)


@pytest.mark.usefixtures("without_matplotlib")
def test_a_run_does_without_the_library_that_draws(material: Material, caplog: pytest.LogCaptureFixture) -> None:
    """The table is there all the same, and the log of the run says once what to install."""
    state = evaluate(material)

    assert state.is_completed(), state.message
    assert [artifact.type for artifact in artifacts_of(state)] == ["table"]
    assert caplog.text.count("pip install 'otel-ml-metrics[flows]'") == 1


def test_a_ledger_that_cannot_be_read_now_fails_no_run(material: Material, caplog: pytest.LogCaptureFixture) -> None:
    """The values are committed by then; the run shows its own, and says why there are no others."""
    report = evaluate(material, as_of=FIRST_IS_FINAL).result()
    material.ledger.write_bytes(b"not a database any more")

    @flow
    def look() -> list[Value]:
        return list(known_values(Evaluation.from_file(material.monitoring), report, report.values))

    assert look() == list(report.values)
    assert "Values of earlier windows are not shown" in caplog.text
