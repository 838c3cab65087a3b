"""scripts/build-tools says where the programs are, or what is missing."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.stack import BUILD_TOOLS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.stack import Tools

pytestmark = pytest.mark.end_to_end


def program(folder: Path, name: str, says: str) -> None:
    """Put a program into the folder that prints one line."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n", encoding="utf-8")
    path.chmod(0o755)


def build_tools(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script with nothing on PATH but one folder, and with an empty cache."""
    environment = {"PATH": str(path), "OTEL_ML_METRICS_CACHE": str(path / "cache")}
    return subprocess.run(
        [sys.executable, BUILD_TOOLS, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )


def test_programs_of_the_pinned_version_are_taken_from_path(tmp_path: Path, tools: Tools) -> None:
    """Who has Prometheus installed need not build it."""
    version = subprocess.run([tools.prometheus, "--version"], check=True, capture_output=True, text=True).stdout
    for name in ("prometheus", "promtool"):
        program(tmp_path, name, version.splitlines()[0].replace("prometheus,", f"{name},"))

    done = build_tools(tmp_path, "--only", "prometheus")

    assert done.stdout == f"prometheus={tmp_path / 'prometheus'}\npromtool={tmp_path / 'promtool'}\n"
    assert done.returncode == 0


@pytest.mark.parametrize("arguments", [(), ("--ignore-path",)])
def test_without_go_it_says_what_to_install(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Programs of another version will not do, and without Go nothing can be built: the message names what would do."""
    program(tmp_path, "prometheus", "prometheus, version 2.55.1 (branch: HEAD, revision: 6d7d0ec)")

    done = build_tools(tmp_path, "--only", "prometheus", *arguments)

    assert done.returncode == 2
    assert "There is no `go` on PATH. Go 1." in done.stderr
    assert "or put otelcol 0." in done.stderr
    assert done.stdout == ""


def test_an_old_go_that_may_not_update_itself_is_refused(tmp_path: Path) -> None:
    """The message says which Go is there and which is needed, before anything is downloaded."""
    program(tmp_path, "go", "go1.19.8 local")

    done = build_tools(tmp_path)

    assert done.returncode == 2
    assert "`go` on PATH is go1.19.8. Go 1." in done.stderr


def test_a_failed_build_shows_the_end_of_its_log_and_leaves_nothing(tmp_path: Path) -> None:
    """What Go said is shown, its log is kept, and the next call starts afresh."""
    (tmp_path / "go").write_text(
        '#!/bin/sh\ncase "$1" in env) echo go1.99.0 local;; *) echo no such module; exit 1;; esac\n', encoding="utf-8"
    )
    (tmp_path / "go").chmod(0o755)

    done = build_tools(tmp_path, "--only", "otelcol")

    assert done.returncode == 1
    assert "no such module" in done.stderr
    assert {entry.suffix for entry in (tmp_path / "cache").iterdir()} == {".lock", ".log"}
