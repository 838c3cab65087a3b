"""Small worlds whose predictions something else writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.importing.material import ForeignTableWorld, ForeignWorld
from tests.labels.material import FORMS, POSTGRESQL, TYPED_FORMS, witnessed_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgresql import Server


@pytest.fixture
def files(tmp_path: Path) -> ForeignWorld:
    """Predictions in files."""
    return ForeignWorld(tmp_path)


@pytest.fixture(params=["sqlite", POSTGRESQL])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> ForeignTableWorld:
    """Predictions in a table, with instants as such a database keeps them at best."""
    if request.param == "sqlite":
        return ForeignTableWorld(tmp_path, form=FORMS["text in UTC"])
    server: Server = request.getfixturevalue("postgresql_server")
    url = server.url(request.getfixturevalue("postgresql_database"))
    return ForeignTableWorld(tmp_path, url=url, form=TYPED_FORMS["timestamptz"])


@pytest.fixture
def witnessed() -> Iterator[list[str]]:
    """The rows that a query with `witness(column)` looks at."""
    with witnessed_rows() as rows:
        yield rows
