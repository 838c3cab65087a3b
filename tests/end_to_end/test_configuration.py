"""The files that users deploy are valid, and say the same as the programs that the tests run."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.end_to_end.stack import (
    COLLECTOR_CONFIG,
    COLLECTOR_OVERLAYS,
    PROMETHEUS_CONFIG,
    PROMETHEUS_FLAGS,
    ROOT,
    collector_files,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.certificates import Authority
    from tests.end_to_end.stack import Tools

pytestmark = pytest.mark.end_to_end

COMPOSE_FILE = ROOT / "docker-compose.yml"
BACKENDS = ("authorization", "datadog", "remote-write", "upstream")
SECRETS = {
    "BACKEND_AUTHORIZATION": "Basic bWU6bXlzZWxm",
    "COLLECTOR_TOKEN": "a-token",
    "DD_API_KEY": "a-key",
    "UPSTREAM_TOKEN": "another-token",
}


@pytest.fixture(scope="module")
def server_files(authority: Authority) -> dict[str, str]:
    """Certificate and key of a Collector."""
    return {"COLLECTOR_TLS_CERTIFICATE": authority.server_certificate, "COLLECTOR_TLS_KEY": authority.server_key}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of docker-compose.yml."""
    compose: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
    return compose["services"]


def accepted(*command: str | Path) -> str:
    """Run a checker and return what it said, failing the test if it found fault."""
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    return done.stdout


def validated(tools: Tools, overlays: Sequence[str], settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Let the Collector read its configuration with these files over it and nothing but these settings."""
    command = [str(tools.otelcol), "validate", *collector_files(overlays)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=settings)


def version_of(program: Path) -> str:
    """The version that a program reports."""
    match = re.search(r"version (\d+\.\d+\.\d+)", accepted(program, "--version"))
    assert match
    return match[1]


def test_the_collector_accepts_its_configuration(tools: Tools) -> None:
    """Every component and option exists in the pinned Collector, with the defaults of a plain environment."""
    accepted(tools.otelcol, "validate", f"--config={COLLECTOR_CONFIG}")


def test_every_documented_combination_is_valid(tools: Tools, server_files: Mapping[str, str]) -> None:
    """Each backend's file alone and with the one that secures the receiver."""
    backends: list[tuple[str, ...]] = [(), *((backend,) for backend in BACKENDS)]

    for chosen in [*backends, *(("secured", *backend) for backend in backends)]:
        done = validated(tools, chosen, {**SECRETS, **server_files})
        assert (done.returncode, done.stderr) == (0, ""), chosen


def test_every_file_is_tried_and_told_of() -> None:
    """A file beside the Collector's configuration stands in its head and in the documentation."""
    files = {path.stem for path in COLLECTOR_OVERLAYS.iterdir()}

    assert files == {"secured", *BACKENDS}
    for text in (COLLECTOR_CONFIG, ROOT / "docs" / "backends.md"):
        assert [file for file in files if f"{file}.yaml" not in text.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(
    ("overlay", "variable"),
    [
        ("secured", "COLLECTOR_TOKEN"),
        ("secured", "COLLECTOR_TLS_CERTIFICATE"),
        ("secured", "COLLECTOR_TLS_KEY"),
        ("authorization", "BACKEND_AUTHORIZATION"),
        ("datadog", "DD_API_KEY"),
        ("upstream", "UPSTREAM_TOKEN"),
    ],
)
def test_without_a_secret_the_collector_does_not_start(
    tools: Tools, server_files: Mapping[str, str], overlay: str, variable: str
) -> None:
    """It would let everybody in, or be refused by the backend and throw away what it cannot send."""
    settings = {name: value for name, value in {**SECRETS, **server_files}.items() if name != variable}

    assert validated(tools, [overlay], settings).returncode == 1


def test_prometheus_accepts_its_configuration(tools: Tools) -> None:
    """Every option exists in the pinned Prometheus."""
    assert "SUCCESS" in accepted(tools.promtool, "check", "config", PROMETHEUS_CONFIG)


def test_the_compose_file_meets_its_specification() -> None:
    """Docker cannot run everywhere; the published schema of the specification can."""
    accepted(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE_FILE)


def test_the_compose_file_runs_the_versions_that_are_tested(services: dict[str, Any], tools: Tools) -> None:
    """The images are the releases that the end-to-end tests build."""
    assert services["collector"]["image"].endswith(f":{version_of(tools.otelcol)}")
    assert services["prometheus"]["image"].endswith(f":v{version_of(tools.prometheus)}")
    assert set(PROMETHEUS_FLAGS) < set(services["prometheus"]["command"])


def test_the_compose_file_mounts_the_files_that_are_tested(services: dict[str, Any]) -> None:
    """A file on this side of a mount exists, and two of them are what the tests run."""
    mounts = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]

    files = {(ROOT / mount).resolve() for mount in mounts if mount.startswith(".")}

    assert {COLLECTOR_CONFIG, PROMETHEUS_CONFIG} < files
    assert [file for file in files if not file.exists()] == []


def test_the_compose_file_is_careful(services: dict[str, Any]) -> None:
    """Ports are open to this machine only, images are pinned, each service says how it is, and no password is given."""
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert [service["image"] for service in services.values() if not re.search(r":v?\d+\.\d+", service["image"])] == []
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"collector"}
    secrets = re.findall(r"\w*(?:PASSWORD|AUTH_STRING): (.*)", COMPOSE_FILE.read_text(encoding="utf-8"))
    assert len(secrets) == 4
    assert [secret for secret in secrets if not re.search(r":\?|^\*", secret)] == []
