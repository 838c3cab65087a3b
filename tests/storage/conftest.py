"""Where files lie: a folder, or a bucket of a server that is started once."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

import pytest

from tests.evaluation.material import World
from tests.storage.server import ObjectServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NUMBERS: Final = count(1)


@pytest.fixture(scope="session")
def _server() -> Iterator[ObjectServer]:
    """One server for all tests; it takes two seconds to import."""
    with ObjectServer() as server:
        yield server


@pytest.fixture
def server(_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """The server as the environment names it, with no requests yet."""
    for name, value in _server.environment.items():
        monkeypatch.setenv(name, value)
    _server.requests.clear()
    _server.failing = lambda _request: False
    return _server


@pytest.fixture
def bucket(server: ObjectServer) -> str:
    """URL of a bucket of this test's own."""
    return server.make_bucket(f"bucket-{next(_NUMBERS)}")


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder, and a folder of a bucket."""
    if request.param == "folder":
        return str(tmp_path / "place")
    return f"{request.getfixturevalue('bucket')}/place"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty folder for a log and labels."""
    return World(tmp_path)
