"""The layers of the package hold: a file imports only from lower ones."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = CHECKOUT / "otel_ml_metrics"
KNOWS_THE_SDK: Final = ("provider", "telemetry", "testing")  # DESIGN §11; the API alone serves everybody else
NEVER_KNOWS_THE_SDK: Final = ("telemetry.instruments",)


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for folder, folders, files in os.walk(PACKAGE, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for path in (Path(folder, name) for name in files if name.endswith(".py")):
            name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def _imports(tree: ast.Module) -> set[str]:
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    members = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    }
    return plain | members


def _within(module: str, parents: tuple[str, ...]) -> bool:
    return any(module == parent or module.startswith(f"{parent}.") for parent in parents)


def test_the_import_contracts_hold() -> None:
    """Files import only from lower layers, siblings stay apart, and only the flows know Prefect."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("sdk", ["opentelemetry.sdk", "opentelemetry.exporter"])
def test_only_the_edge_of_telemetry_knows_the_sdk(sdk: str) -> None:
    """Instruments and everything below them run on the OTel API alone, so a server brings the SDK it likes."""
    knowing = {name for name, tree in _modules() if any(_within(imported, (sdk,)) for imported in _imports(tree))}

    assert {name for name in knowing if not _within(name, KNOWS_THE_SDK)} == set()
    assert {name for name in knowing if _within(name, NEVER_KNOWS_THE_SDK)} == set()


def test_inside_the_package_names_come_from_the_file_that_defines_them() -> None:
    """Re-exports of the top package are for users: inside they would hide who needs whom."""
    hiding = {f"{name}: {imported}" for name, tree in _modules() if name for imported in _re_exports(tree)}

    assert hiding == set()


def _re_exports(tree: ast.Module) -> set[str]:
    names = {imported.removeprefix("otel_ml_metrics.") for imported in _imports(tree) if _is_top(imported)}
    return {name for name in names if not (PACKAGE / name).is_dir() and not (PACKAGE / f"{name}.py").is_file()}


def _is_top(imported: str) -> bool:
    return imported.startswith("otel_ml_metrics.") and imported.count(".") == 1
