"""What the wheel and the source archive carry."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.packaging.conftest import CHECKOUT, build

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("archives")


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_carries_the_package_only(wheel: Path) -> None:
    """One top-level name: tests, benchmarks and a bare `flows` would collide with other people's."""
    assert {name.partition("/")[0] for name in _names(wheel)} == {"otel_ml_metrics"}


def test_the_wheel_says_that_it_is_typed(wheel: Path) -> None:
    """Type checkers read the annotations of a package only where this marker lies."""
    assert "otel_ml_metrics/py.typed" in _names(wheel)


def test_the_wheel_carries_every_module(wheel: Path) -> None:
    """All modules of the package and of `flows/` travel, the latter as `otel_ml_metrics.flows`."""
    package = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "otel_ml_metrics").rglob("*.py")}
    flows = {f"otel_ml_metrics/{path.relative_to(CHECKOUT)}" for path in (CHECKOUT / "flows").rglob("*.py")}

    assert {name for name in _names(wheel) if name.endswith(".py")} == package | flows


def test_the_wheel_carries_what_a_starting_project_is_made_of(wheel: Path) -> None:
    """`init` of an installed package writes what that of a checkout does: templates, and what links lead to here."""
    templates = CHECKOUT / "otel_ml_metrics" / "scaffold" / "project"
    deployment = CHECKOUT / "examples" / "deploy"
    expected = {f"project/{path.relative_to(templates)}" for path in templates.rglob("*") if path.is_file()}
    expected |= {f"shipped/deploy/{path.relative_to(deployment)}" for path in deployment.rglob("*") if path.is_file()}
    expected |= {f"shipped/{name}" for name in ("collector-config.yaml", "docker-compose.yml", "prefect.yaml")}

    carried = {name.removeprefix("otel_ml_metrics/scaffold/") for name in _names(wheel)}

    assert {name for name in carried if name.startswith(("project/", "shipped/"))} == expected


def test_the_source_archive_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    """Whoever builds from source gets what the wheel has, flows included."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()

    assert _names(build("wheel", source, tmp_path / "built")) == _names(wheel)


def test_a_checkout_has_the_flows_in_the_package() -> None:
    """A deployment names `otel_ml_metrics.flows...`, and that is found in a checkout and in an editable install too."""
    code = "import otel_ml_metrics.flows as flows; print(flows.__path__[0])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout.strip() == str(CHECKOUT / "otel_ml_metrics" / "flows")
