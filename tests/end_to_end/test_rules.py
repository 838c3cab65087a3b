"""Alert rules fire when they should and at no other time: Prometheus' own rule tester says so."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.dashboards.subject import everything, subject_of
from otel_ml_metrics.dashboards.writing import files

if TYPE_CHECKING:
    from pathlib import Path

    from otel_ml_metrics.dashboards.subject import Subject
    from tests.end_to_end.stack import Tools

pytestmark = pytest.mark.end_to_end

SERVICE = "shop/fraud-api"
MODEL = f'job="{SERVICE}", ml_model_name="fraud"'
OF_A_VALUE = f'{MODEL}, ml_model_version="1", ml_evaluation_window="1d", ml_evaluation_stage="final"'
ALL_ROWS = f'{OF_A_VALUE}, ml_evaluation_maturity="1d"'

DECLARED: list[dict[str, Any]] = [
    {"measure": "accuracy", "below": 0.8},
    {"measure": "accuracy", "drop": 0.1, "name": "worse"},
    {"measure": "accuracy", "drop": "10%", "name": "lost", "against": {"variant": "champion"}, "slices": ["region"]},
    {"measure": "log_loss", "above": 0.6},
    {"measure": "log_loss", "rise": "25%", "name": "unsure"},
    {
        "measure": "log_loss",
        "rise": 0.1,
        "name": "less_sure",
        "variant": "challenger",
        "against": {"variant": "champion"},
    },
]


def evaluation(timestamps: str = "emit") -> Evaluation:
    """An evaluation of daily windows with alerts."""
    return Evaluation(
        model="fraud",
        service="fraud-api",
        predictions="predictions",
        labels={"path": "labels/*.parquet", "label": "fraud", "received_at": "at"},
        ledger="sqlite:///ledger.db",
        attribution_window="1d",
        slices=["region"],
        measures=["accuracy", "log_loss"],
        timestamps=timestamps,
        alerts=DECLARED,
    )


def series(name: str, values: str) -> dict[str, str]:
    """A series in the notation of the rule tester, a point per six hours."""
    return {"series": name, "values": values}


def fired(tools: Tools, folder: Path, subject: Subject, inputs: list[dict[str, str]], *, at: str) -> set[str]:
    """Names of the alerts that fire at an instant, as promtool tells: it complains about each that was not expected."""
    ((path, text),) = ((path, text) for path, text in files(subject).items() if path.startswith("rules/"))
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text(text, encoding="utf-8")
    groups = yaml.safe_load(text)["groups"]
    names = [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]
    silent = [{"eval_time": at, "alertname": name, "exp_alerts": []} for name in names]
    tests = [{"interval": "6h", "input_series": inputs, "alert_rule_test": silent}]
    content = {
        "rule_files": [path],
        "evaluation_interval": "1h",
        "group_eval_order": [group["name"] for group in groups],  # what is recorded is forgotten after five minutes
        "tests": tests,
    }
    (folder / "test.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    command = [str(tools.promtool), "test", "rules", "test.yml"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    found = set(re.findall(r"alertname: (\w+)", said))
    assert (done.returncode == 0) == (not found), said
    return found


def healthy() -> list[dict[str, str]]:
    """A model that is served, labelled and evaluated daily; a point each six hours, for ten days."""
    return [
        series(f"ml_monitor_buffer_usage_ratio{{{MODEL}}}", "0.1x40"),
        series(f"ml_labels_waiting{{{MODEL}}}", "0x40"),
        series(f'ml_labels_total{{{MODEL}, ml_label_status="matched"}}', "0+100x40"),
        series(f"ml_evaluation_window_end_seconds{{{ALL_ROWS}}}", "0+21600x40"),
        series(f"ml_evaluation_support{{{ALL_ROWS}}}", "500x40"),
        series(f"ml_label_coverage_ratio{{{ALL_ROWS}}}", "0.9x40"),
        series(f"ml_evaluation_accuracy_ratio{{{ALL_ROWS}}}", "0.9x40"),
        series(f"ml_evaluation_log_loss{{{ALL_ROWS}}}", "0.4x40"),
    ]


def with_changed(name: str, values: str) -> list[dict[str, str]]:
    """The healthy model, one of its metrics changed."""
    return [series(each["series"], values) if each["series"].startswith(f"{name}{{") else each for each in healthy()]


@pytest.fixture(params=["everything", "an evaluation"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """Whose rules."""
    return everything() if request.param == "everything" else subject_of(evaluation())


def test_prometheus_accepts_the_rules(tools: Tools, tmp_path: Path, subject: Subject) -> None:
    """Every expression is understood, and no rule is there twice."""
    (text,) = (text for path, text in files(subject).items() if path.startswith("rules/"))
    (tmp_path / "rules.yml").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [tools.promtool, "check", "rules", "rules.yml"], cwd=tmp_path, check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_nobody_is_called_while_all_is_well(tools: Tools, tmp_path: Path, subject: Subject) -> None:
    """An alert that fires on good days is switched off before the bad one."""
    assert fired(tools, tmp_path, subject, healthy(), at="10d") == set()


@pytest.mark.parametrize(
    ("metric", "values", "alert"),
    [
        ("ml_monitor_buffer_usage_ratio", "0.1x39 0.95", "MLBufferFilling"),
        ("ml_labels_waiting", "0x20 _x20", "MLEvaluationSilent"),
        ("ml_evaluation_window_end_seconds", "0+21600x16 345600x24", "MLLedgerNotAdvanced"),
        ("ml_labels_total", "0+100x24 2400x16", "MLNoNewLabels"),
        ("ml_label_coverage_ratio", "0.9x38 0.6x2", "MLCoverageLow"),
    ],
)
def test_each_trouble_calls_by_its_name(
    tools: Tools, tmp_path: Path, subject: Subject, *, metric: str, values: str, alert: str
) -> None:
    """And by no other, so that the name says what to do."""
    assert fired(tools, tmp_path, subject, with_changed(metric, values), at="10d") == {alert}


@pytest.mark.parametrize(
    ("name", "alert"),
    [
        (f'ml_monitor_dropped_total{{{MODEL}, reason="buffer_full"}}', "MLPredictionsDropped"),
        (f'ml_monitor_faults_total{{{MODEL}, reason="wrong_length"}}', "MLMonitorFaults"),
        ('otelcol_exporter_send_failed_metric_points_total{exporter="otlp_http/lagging"}', "MLLaggingPointsNotStored"),
    ],
)
def test_the_first_loss_is_told(tools: Tools, tmp_path: Path, subject: Subject, *, name: str, alert: str) -> None:
    """Such a counter appears with its first count, which no rate sees."""
    lost = series(name, "_x40 3")

    assert fired(tools, tmp_path, subject, [*healthy(), lost], at="10d") == {alert}


@pytest.mark.parametrize(
    ("metric", "values", "alerts"),
    [
        ("ml_evaluation_accuracy_ratio", "0.7x40", {"accuracy_below"}),
        ("ml_evaluation_log_loss", "0.7x40", {"log_loss_above"}),
        ("ml_evaluation_log_loss", "0.6x40", set()),
    ],
)
def test_a_value_beyond_a_declared_threshold_calls(
    tools: Tools, tmp_path: Path, *, metric: str, values: str, alerts: set[str]
) -> None:
    """From the first window on, whatever it was before; one that equals its threshold is not beyond it."""
    inputs = with_changed(metric, values)

    assert fired(tools, tmp_path, subject_of(evaluation()), inputs, at="10d") == alerts


@pytest.mark.parametrize(
    ("metric", "values"),
    [("ml_evaluation_support", "99x40"), ("ml_label_coverage_ratio", "0.49x40")],
)
def test_a_value_with_little_behind_it_calls_nobody(tools: Tools, tmp_path: Path, metric: str, values: str) -> None:
    """A few rows, or the few whose labels came first, say nothing yet."""
    inputs = [
        series(each["series"], "0.7x40") if re.match("ml_evaluation_(accuracy|log_loss)", each["series"]) else each
        for each in with_changed(metric, values)
    ]

    assert fired(tools, tmp_path, subject_of(evaluation()), inputs, at="10d") == set()


def test_a_provisional_value_calls_nobody(tools: Tools, tmp_path: Path) -> None:
    """Its window is not complete, so it will be another one."""
    inputs = [
        {**each, "series": each["series"].replace('"final"', '"provisional"')}
        for each in with_changed("ml_evaluation_accuracy_ratio", "0.1x40")
    ]

    called = fired(tools, tmp_path, subject_of(evaluation()), inputs, at="10d")

    assert called & {"accuracy_below", "worse", "lost"} == set()


def test_a_drop_against_the_window_before_calls(tools: Tools, tmp_path: Path) -> None:
    """With `emit`, the gauge of a window ago is that of the window before."""
    dropped = with_changed("ml_evaluation_accuracy_ratio", "0.99x37 0.85x3")

    assert fired(tools, tmp_path, subject_of(evaluation()), dropped, at="10d") == {"worse"}


@pytest.mark.parametrize(
    ("values", "alerts"), [("0.4x37 0.52x3", {"unsure"}), ("0.4x37 0.48x3", set()), ("0.52x37 0.4x3", set())]
)
def test_a_rise_against_the_window_before_calls(tools: Tools, tmp_path: Path, *, values: str, alerts: set[str]) -> None:
    """By more than the share of the value before; neither a smaller one does, nor a fall."""
    inputs = with_changed("ml_evaluation_log_loss", values)

    assert fired(tools, tmp_path, subject_of(evaluation()), inputs, at="10d") == alerts


def test_a_rise_is_seen_in_points_of_the_past(tools: Tools, tmp_path: Path) -> None:
    """As a drop is."""
    daily = "0.4 _ _ _ " * 8
    inputs = with_changed("ml_evaluation_log_loss", f"{daily}0.4 _ _ _ 0.52")

    called = fired(tools, tmp_path, subject_of(evaluation("event")), inputs, at="10d6h")

    assert called & {"log_loss_above", "unsure"} == {"unsure"}


@pytest.mark.parametrize(("loss", "alerts"), [(0.55, {"less_sure"}), (0.45, set()), (0.25, set())])
def test_a_rise_against_a_variant_calls(tools: Tools, tmp_path: Path, *, loss: float, alerts: set[str]) -> None:
    """A challenger that is worse than the champion by more than is allowed, where the threshold is a number."""
    inputs = healthy()
    for variant, of_variant in (("champion", 0.4), ("challenger", loss)):
        place = f'{ALL_ROWS}, ml_model_variant="{variant}"'
        values = {"evaluation_log_loss": of_variant, "evaluation_support": 500, "label_coverage_ratio": 0.9}
        inputs += [series(f"ml_{name}{{{place}}}", f"{value}x40") for name, value in values.items()]

    assert fired(tools, tmp_path, subject_of(evaluation()), inputs, at="10d") == alerts


def test_a_drop_is_seen_in_points_of_the_past(tools: Tools, tmp_path: Path) -> None:
    """With `event`, values are stamped with their window's end, and come when they are as old as their maturity."""
    daily = "0.99 _ _ _ " * 8
    inputs = with_changed("ml_evaluation_accuracy_ratio", f"{daily}0.99 _ _ _ 0.85")

    called = fired(tools, tmp_path, subject_of(evaluation("event")), inputs, at="10d6h")

    assert called & {"accuracy_below", "worse"} == {"worse"}


def test_a_slice_of_a_challenger_is_held_against_the_champions(tools: Tools, tmp_path: Path) -> None:
    """Each against the same slice, not against all rows."""
    inputs = healthy()
    for variant, region, accuracy in (
        ("champion", "north", 0.9),
        ("champion", "south", 0.99),
        ("challenger", "north", 0.85),
        ("challenger", "south", 0.85),
    ):
        place = f'{ALL_ROWS}, ml_model_variant="{variant}", ml_slice_region="{region}"'
        values = {"evaluation_accuracy_ratio": accuracy, "evaluation_support": 500, "label_coverage_ratio": 0.9}
        inputs += [series(f"ml_{name}{{{place}}}", f"{value}x40") for name, value in values.items()]

    assert fired(tools, tmp_path, subject_of(evaluation()), inputs, at="10d") == {"lost"}
    north = [each for each in inputs if '"south"' not in each["series"]]
    assert fired(tools, tmp_path, subject_of(evaluation()), north, at="10d") == set()
