"""What docker-compose.yml gives to Grafana and Prometheus is what the command writes."""

from __future__ import annotations

from pathlib import Path

import yaml

from otel_ml_metrics.dashboards.subject import everything
from otel_ml_metrics.dashboards.writing import files

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "examples" / "deploy"


def test_the_files_are_fresh() -> None:
    """`otel-ml-metrics dashboards -o examples/deploy` makes them; run it again after a change."""
    made = files(everything())

    kept = {
        path.relative_to(DEPLOY).as_posix(): path.read_text(encoding="utf-8")
        for folder in ("dashboards", "rules")
        for path in (DEPLOY / folder).rglob("*.*")
    }

    assert kept == made


def test_they_are_mounted_where_they_are_looked_for() -> None:
    """A path that differs would leave Grafana and Prometheus empty, without a word."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/files.yml").read_text(encoding="utf-8"))
    prometheus = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))
    (found,) = provider["providers"]

    assert f"./examples/deploy/dashboards:{found['options']['path']}:ro" in services["grafana"]["volumes"]
    assert "./examples/deploy/rules:/etc/prometheus/rules:ro" in services["prometheus"]["volumes"]
    assert prometheus["rule_files"] == ["rules/*.yml"]
