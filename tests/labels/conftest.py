"""Databases that labels are read from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.labels.material import DATABASES, FORMS, TYPED_FORMS, TableWorld

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that tables may be made in."""
    return f"sqlite:///{tmp_path}/shop.db" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


@pytest.fixture
def table(database_url: str, tmp_path: Path) -> TableWorld:
    """Labels in a table, with instants as such a database keeps them at best."""
    form = FORMS["text in UTC"] if database_url.startswith("sqlite") else TYPED_FORMS["timestamptz"]
    return TableWorld(tmp_path, url=database_url, form=form)
