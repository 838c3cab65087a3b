"""Dashboards as files: what Grafana takes, the same bytes every time, nothing that only one installation knows."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.dashboards.subject import Subject, everything, subject_of
from otel_ml_metrics.dashboards.writing import files
from otel_ml_metrics.measures import catalogue
from tests.dashboards.grafana import boards_in, panels_of, targets_of, variables_in
from tests.flows.material import MONITORING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

register_default_plugins()

NAMES = ("live", "quality", "labels", "comparison", "slices")


def evaluation(folder: Path, *, more: str = "") -> Evaluation:
    """The small evaluation of the flows' tests."""
    path = folder / "monitoring.yaml"
    path.write_text(MONITORING.format(folder=folder) + more, encoding="utf-8")
    return Evaluation.from_file(path)


@pytest.fixture(params=["everything", "an evaluation"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    """What a set is about."""
    return everything() if request.param == "everything" else subject_of(evaluation(tmp_path))


@pytest.fixture
def boards(subject: Subject) -> dict[str, Any]:
    """The dashboards of a set."""
    return boards_in(files(subject))


def texts_in(value: object) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)


def filled_parts(value: Any) -> Any:
    """A JSON value without what is empty, which the schema's reader adds."""
    if isinstance(value, dict):
        parts = {name: filled_parts(each) for name, each in value.items()}
        return {name: each for name, each in parts.items() if each not in ({}, [], None)}
    return [filled_parts(each) for each in value] if isinstance(value, list) else value


def test_there_is_one_for_each_concern(boards: dict[str, Any]) -> None:
    """An engineer looks for a question, not for a tab."""
    assert tuple(boards) == NAMES


def test_grafanas_schema_reads_what_was_written(boards: dict[str, Any]) -> None:
    """The library's own models, made from Grafana's schema, take every dashboard back without a loss."""
    for board in boards.values():
        read = JSONEncoder(sort_keys=True).encode(Dashboard.from_json(json.loads(json.dumps(board))))

        assert filled_parts(json.loads(read)) == filled_parts(board)


def test_the_same_input_gives_the_same_bytes(subject: Subject) -> None:
    """A dashboard in version control changes when its content does."""
    assert files(subject) == files(subject)


def test_panels_are_numbered_and_do_not_overlap(boards: dict[str, Any]) -> None:
    """Links to a panel go by its number, and people have to see all of it."""
    for board in boards.values():
        panels = [*panels_of(board), *(panel for panel in board["panels"] if panel["type"] == "row")]
        numbers = [panel["id"] for panel in panels]
        cells = [
            (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
            for panel in panels
            for x in range(panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["h"])
        ]

        assert sorted(numbers) == list(range(1, len(numbers) + 1))
        assert len(set(cells)) == len(cells)
        assert max(x for x, _ in cells) < 24


def test_every_panel_says_what_it_is_for(boards: dict[str, Any]) -> None:
    """Title, description, unit of the axis, and the data source that is chosen above."""
    for board in boards.values():
        for panel in panels_of(board):
            assert panel["title"]
            assert panel["description"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_every_variable_that_is_used_can_be_chosen(boards: dict[str, Any]) -> None:
    """One that is missing would reach Prometheus as it stands, and find nothing."""
    for board in boards.values():
        known = {variable["name"] for variable in board["templating"]["list"]}
        used = set[str]().union(*(variables_in(text) for text in texts_in(board)))

        assert used - known <= {"__rate_interval", "__all"}
        assert known <= used


def test_dates_are_relative_and_windows_are_utc(boards: dict[str, Any]) -> None:
    """A dashboard is opened on another day than it was made, and windows are cut in UTC."""
    for board in boards.values():
        assert board["time"]["from"].startswith("now-")
        assert board["time"]["to"] == "now"
        assert board["timezone"] == "utc"
        assert [text for text in texts_in(board) if re.search(r"\b20[0-9]{2}-[01][0-9]\b", text)] == []


def test_lagging_values_outlast_prometheus_memory(boards: dict[str, Any]) -> None:
    """Prometheus forgets a pushed gauge after five minutes, and a run comes once an hour or a day."""
    for name in NAMES[1:]:
        for place, text in targets_of(boards[name]):
            assert "[$lookback]" in text, place


def test_links_lead_to_dashboards_of_the_set(boards: dict[str, Any]) -> None:
    """From each to every other one, with the model that was chosen."""
    uids = {board["uid"] for board in boards.values()}
    for board in boards.values():
        linked = {link["url"].removeprefix("/d/").split("?")[0] for link in board["links"]}

        assert linked == uids - {board["uid"]}
        assert all("${model:queryparam}" in link["url"] for link in board["links"])


def test_uids_fit_grafana_and_tell_evaluations_apart(tmp_path: Path) -> None:
    """Grafana takes 40 characters, and replaces the dashboard that has the uid."""
    one = boards_in(files(subject_of(evaluation(tmp_path))))
    same = boards_in(files(subject_of(evaluation(tmp_path, more="minimum_support: 3\n"))))
    all_models = boards_in(files(everything()))

    assert [board["uid"] for board in one.values()] == [board["uid"] for board in same.values()]
    uids = {board["uid"] for each in (one, all_models) for board in each.values()}
    assert len(uids) == 2 * len(NAMES)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", uid) for uid in uids)


def test_every_measure_of_the_catalogue_is_shown() -> None:
    """Under the name that the catalogue promises for Prometheus."""
    shown = " ".join(text for _, text in targets_of(boards_in(files(everything()))["quality"]))

    missing = [entry["name"] for entry in catalogue.measures() if f"({entry['prometheus']}{{" not in shown]

    assert missing == []


def test_an_evaluation_shows_its_own_measures_and_no_others(tmp_path: Path) -> None:
    """Those that monitoring.yaml names, custom ones with their unit and description."""
    measures = (
        "measures: [roc_auc, {name: missed, unit: USD, sum: fare * (label & ~prediction), description: Lost fares}]\n"
    )
    text = MONITORING.format(folder=tmp_path).replace("measures: [accuracy, log_loss]\n", measures)
    (tmp_path / "monitoring.yaml").write_text(text, encoding="utf-8")

    quality = boards_in(files(subject_of(Evaluation.from_file(tmp_path / "monitoring.yaml"))))["quality"]

    panels = {panel["title"]: panel for panel in panels_of(quality)}
    assert panels.keys() == {"Coverage", "Support", "roc_auc", "missed"}
    assert panels["missed"]["fieldConfig"]["defaults"]["unit"] == "currencyUSD"
    assert "Lost fares" in panels["missed"]["description"]
    assert "ml_evaluation_missed_USD{" in panels["missed"]["targets"][0]["expr"]


def test_a_band_is_drawn_where_there_is_an_interval(tmp_path: Path) -> None:
    """From the upper end down to the lower one."""
    quality = boards_in(files(subject_of(evaluation(tmp_path))))["quality"]

    accuracy = next(panel for panel in panels_of(quality) if panel["title"] == "accuracy")

    assert [target["legendFormat"] for target in accuracy["targets"]][1:] == ["lower", "upper"]
    (upper,) = (each for each in accuracy["fieldConfig"]["overrides"] if each["matcher"]["options"] == "upper")
    assert {"id": "custom.fillBelowTo", "value": "lower"} in upper["properties"]


def test_all_rows_are_told_from_slices(tmp_path: Path) -> None:
    """A slice has the same metric; only its attributes tell it apart, and all rows have none of them."""
    quality = boards_in(files(subject_of(evaluation(tmp_path))))["quality"]

    assert [place for place, text in targets_of(quality) if 'ml_slice_carrier=""' not in text] == []


def test_without_slices_there_is_no_dashboard_of_them(tmp_path: Path) -> None:
    """Nor a link to it."""
    text = MONITORING.format(folder=tmp_path).replace("slices: [carrier]\n", "")
    (tmp_path / "monitoring.yaml").write_text(text, encoding="utf-8")

    boards = boards_in(files(subject_of(Evaluation.from_file(tmp_path / "monitoring.yaml"))))

    assert tuple(boards) == NAMES[:-1]
    assert not any("-slices" in link["url"] for board in boards.values() for link in board["links"])


@pytest.mark.parametrize(("timestamps", "lookback"), [("emit", "2d"), ("event", "3d")])
def test_a_value_stands_until_the_next_window_is_there(tmp_path: Path, timestamps: str, lookback: str) -> None:
    """With `event` its time is the window's end, so it is as old as its maturity when it comes."""
    assert str(subject_of(evaluation(tmp_path, more=f"timestamps: {timestamps}\n")).lookback) == lookback
