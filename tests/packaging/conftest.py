"""Archives of the project and environments that they are installed into, outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

CHECKOUT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and a folder outside the checkout in which its programs run."""

    folder: Path
    workspace: Path

    def run(self, *command: str, timeout: float = 300, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment and fail with what it said if it fails."""
        done = self.attempt(*command, timeout=timeout, **settings)
        assert done.returncode == 0, f"{command} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def attempt(self, *command: str, timeout: float = 300, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, whatever its exit code; `settings` are environment variables."""
        program, *arguments = command
        found = self.folder / "bin" / program
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "COVERAGE"))
        }
        return subprocess.run(
            [str(found), *arguments],
            cwd=self.workspace,
            env=environ | settings,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )

    def python(self, code: str) -> str:
        """What a snippet prints, run by the environment's interpreter."""
        return self.run("python", "-c", code).stdout.strip()


def uv(*arguments: str, cwd: Path | None = None) -> None:
    """Run the uv of the development environment and fail with what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "uv", *arguments], cwd=cwd, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"uv {' '.join(arguments)} exited with {done.returncode}:\n{done.stderr}"


def new_environment(folder: Path) -> Environment:
    """An empty environment with the interpreter of this one, and an empty workspace beside it."""
    uv("venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
    workspace = folder / "workspace"
    workspace.mkdir()
    return Environment(folder / "venv", workspace)


def install(environment: Environment, *arguments: str) -> None:
    """Install into the environment with uv: `arguments` are those of `uv pip install`."""
    python = str(environment.folder / "bin" / "python")
    uv("pip", "install", "--quiet", "--python", python, *arguments, cwd=CHECKOUT)


def build(kind: str, source: Path, into: Path) -> Path:
    """Build the `wheel` or `sdist` of a source folder, without the network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(into)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (archive,) = into.iterdir()
    return archive


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return build("wheel", CHECKOUT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive of this checkout."""
    return build("sdist", CHECKOUT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def newest(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    """The wheel with all extras, on the newest versions that a resolver finds today: no constraints."""
    environment = new_environment(tmp_path_factory.mktemp("newest"))
    install(environment, f"otel-ml-metrics[all] @ {wheel.as_uri()}")
    return environment


@pytest.fixture(scope="session")
def lowest(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    """The wheel with all extras, on the lowest versions that pyproject.toml declares, and the test tools."""
    environment = new_environment(tmp_path_factory.mktemp("lowest"))
    install(environment, "--resolution=lowest-direct", "--all-extras", "--group=test", "--requirements=pyproject.toml")
    install(environment, "--no-deps", str(wheel))
    return environment


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    """The wheel alone, without any extra."""
    environment = new_environment(tmp_path_factory.mktemp("core"))
    install(environment, str(wheel))
    return environment
