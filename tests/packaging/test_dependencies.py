"""What the package imports is what it declares, and the extras are those of the design."""

from __future__ import annotations

import ast
import os
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT: Final = Path(__file__).resolve().parents[2]
SETTINGS: Final[dict[str, Any]] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: Final[dict[str, Any]] = SETTINGS["project"]
EXTRAS: Final[dict[str, list[str]]] = PROJECT["optional-dependencies"]
# Many distributions share these top-level names, so the name one level down tells which is meant.
CARRIERS: Final = {
    "google.protobuf": "protobuf",
    "google.rpc": "googleapis-common-protos",
    "opentelemetry.exporter.otlp.proto.grpc": "opentelemetry-exporter-otlp-proto-grpc",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.proto": "opentelemetry-proto",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry": "opentelemetry-api",
}


BROUGHT_BY_USERS = frozenset({"prefect_dask", "prefect_ray", "torch"})
"""What is imported only where a user hands over a metric object of it, or fans runs out over it."""


def _name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found.group().lower().replace("_", "-")


def _closure(extra: str) -> set[str]:
    """Names that an extra brings, with those of the extras it names."""
    names: set[str] = set()
    for requirement in EXTRAS[extra]:
        if inner := re.match(r"otel-ml-metrics\[(.+)]", requirement):
            names |= set().union(*(_closure(part) for part in inner.group(1).split(",")))
        else:
            names.add(_name(requirement))
    return names


def _imports(tree: ast.Module) -> set[str]:
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    parents = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    return plain | {parent for parent in parents if parent}


def _carriers(module: str, installed: Mapping[str, list[str]]) -> set[str]:
    for prefix, carrier in CARRIERS.items():
        if f"{module}.".startswith(f"{prefix}."):
            return {carrier}
    top = module.partition(".")[0]
    return {_name(carrier) for carrier in installed.get(top, [f"nobody-carries-{top}"])}


def _imported_distributions() -> set[str]:
    installed = packages_distributions()
    modules: set[str] = set()
    for folder, _, files in os.walk(CHECKOUT / "otel_ml_metrics", followlinks=True):
        for path in (Path(folder, name) for name in files if name.endswith(".py")):
            modules |= _imports(ast.parse(path.read_text(encoding="utf-8")))
    own = {*sys.stdlib_module_names, "otel_ml_metrics", *BROUGHT_BY_USERS}
    return set().union(*(_carriers(module, installed) for module in modules if module.partition(".")[0] not in own))


def test_the_core_depends_on_two_packages() -> None:
    """A model server takes on numpy and the OTel API, and nothing else."""
    assert {_name(requirement) for requirement in PROJECT["dependencies"]} == {"numpy", "opentelemetry-api"}


def test_everything_imported_is_declared() -> None:
    """A package that happens to be installed is no dependency: whatever the code imports stands in pyproject.toml."""
    declared = _closure("all") | {_name(requirement) for requirement in PROJECT["dependencies"]}

    assert _imported_distributions() - declared == set()


def test_all_is_every_extra() -> None:
    """`all` is the union of the others, and never a framework of somebody's choice."""
    others = set().union(*(_closure(extra) for extra in EXTRAS if extra != "all"))

    assert _closure("all") == others


def test_flows_bring_the_pins_without_which_prefect_does_not_start() -> None:
    """Prefect's server dies with newer FastAPI, and its scheduler with newer SQLAlchemy (DESIGN §12)."""
    assert {"prefect>=3.8.8,<3.10", "fastapi<0.151", "sqlalchemy<2.1"} <= set(EXTRAS["flows"])


def test_constraints_name_no_place() -> None:
    """The constraints hold versions and hashes only: no index, no folder."""
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()

    strange = [line for line in lines if not re.match(r"(    --hash=sha256:[0-9a-f]{64}|[\w.-]+==[\w.!]+ )", line)]
    assert strange == []


def test_constraints_fit_the_project() -> None:
    """A requirement changed without `make constraints` would leave CI on versions that the project does not allow."""
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line.removesuffix(" \\")) for line in lines if not line.startswith(" ")]
    groups = [entry for group in SETTINGS["dependency-groups"].values() for entry in group if isinstance(entry, str)]
    extras = [entry for extra in EXTRAS.values() for entry in extra]
    asked = [Requirement(entry) for entry in [*PROJECT["dependencies"], *extras, *groups]]

    versions = {(_name(pin.name), str(pin.specifier).removeprefix("==")) for pin in pinned}
    missing = [
        str(requirement)
        for requirement in asked
        if _name(requirement.name) != "otel-ml-metrics"
        and not any(name == _name(requirement.name) and version in requirement.specifier for name, version in versions)
    ]
    assert missing == []
