"""Databases that labels are read from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.labels.material import FORMS, POSTGRESQL, TYPED_FORMS, TableWorld, witnessed_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgresql import Server


@pytest.fixture(params=["sqlite", POSTGRESQL])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that tables may be made in."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shop.db"
    server: Server = request.getfixturevalue("postgresql_server")
    return server.url(request.getfixturevalue("postgresql_database"))


@pytest.fixture
def table(database_url: str, tmp_path: Path) -> TableWorld:
    """Labels in a table, with instants as such a database keeps them at best."""
    form = FORMS["text in UTC"] if database_url.startswith("sqlite") else TYPED_FORMS["timestamptz"]
    return TableWorld(tmp_path, url=database_url, form=form)


@pytest.fixture
def witnessed() -> Iterator[list[str]]:
    """The rows that a query with `witness(column)` looks at."""
    with witnessed_rows() as rows:
        yield rows
