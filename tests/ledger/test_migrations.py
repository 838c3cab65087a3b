"""A ledger of an earlier version of the package goes along; one of a later version is refused."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from otel_ml_metrics.errors import LedgerError, LedgerMismatchError
from otel_ml_metrics.ledger import schema
from otel_ml_metrics.ledger.store import schema_of
from tests.ledger import schema_1
from tests.ledger.material import DAY, NOW_US, commit, facts, opened, sums

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgresql import Server


def test_a_ledger_of_schema_1_says_what_it_said(ledger_url: str) -> None:
    """Opening it is all that is needed; the next commit goes on from there."""
    schema_1.make(ledger_url)
    found = schema_of(ledger_url)

    with opened(ledger_url) as ledger:
        assert (found, schema_of(ledger_url)) == (1, schema.SCHEMA_VERSION)
        assert (ledger.head().version, ledger.head().as_of_us) == (1, NOW_US)
        assert ledger.facts([DAY]).drop_columns(["date"]).equals(facts(range(3)))
        assert ledger.states([86_400]).drop_columns(["tile_us"]).equals(sums(4))
        assert ledger.commit(commit(1, facts={DAY: facts(range(3, 5))}, once=[("c", 1)])) == 2


def test_what_schema_1_sent_is_still_known(ledger_url: str) -> None:
    """There the outbox kept every point for ever; now it need not."""
    schema_1.make(ledger_url)

    with opened(ledger_url) as ledger:
        assert ledger.emitted([*schema_1.POINTS, ("b", 2), ("c", 1)]) == set(schema_1.POINTS)


def test_a_ledger_that_nothing_was_committed_to_goes_along(ledger_url: str) -> None:
    """It has tables and no head."""
    schema_1.make(ledger_url, commits=0)

    with opened(ledger_url) as ledger:
        assert ledger.commit(commit(facts={DAY: facts(range(3))}, once=[("c", 1)])) == 1


def test_the_steps_lead_to_the_newest_schema(ledger_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A ledger that went along has the tables of one that is new, column by column."""
    schema_1.make(ledger_url)
    fresh_url = f"sqlite:///{tmp_path}/fresh.db"
    if not ledger_url.startswith("sqlite"):
        server: Server = request.getfixturevalue("postgresql_server")
        fresh_url = server.url(server.new_database())

    with opened(ledger_url), opened(fresh_url):
        assert _tables(ledger_url) == _tables(fresh_url)


def _tables(url: str) -> dict[str, Any]:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    inspector = sa.inspect(engine)
    return {
        table: (
            [(each["name"], _type(engine, each), each["nullable"]) for each in inspector.get_columns(table)],
            sorted((str(each["name"]), each["column_names"]) for each in inspector.get_indexes(table)),
            inspector.get_pk_constraint(table)["constrained_columns"],
        )
        for table in inspector.get_table_names()
    }


def _type(engine: sa.Engine, column: Any) -> str:
    """What a column holds; SQLite has no texts of limited length, whatever it was told."""
    declared = str(column["type"])
    return re.sub(r"VARCHAR\(\d+\)", "TEXT", declared) if engine.dialect.name == "sqlite" else declared


def test_a_step_that_fails_leaves_the_ledger_as_it_was(ledger_url: str) -> None:
    """All of it is one transaction; here a table of the same name is in the way of its last statements."""
    schema_1.make(ledger_url)
    engine = sa.create_engine(ledger_url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE emitted (mine INTEGER)")
    before = _tables(ledger_url)

    with pytest.raises(LedgerError, match="emitted"), opened(ledger_url):
        pass

    assert _tables(ledger_url) == before
    assert schema_of(ledger_url) == 1


def test_of_many_that_find_an_old_ledger_one_takes_it_along(ledger_url: str) -> None:
    """The others wait and find it done."""
    schema_1.make(ledger_url)

    with ThreadPoolExecutor(6) as pool:
        versions = list(pool.map(_version, [ledger_url] * 6))

    assert versions == [1] * 6


def _version(url: str) -> int:
    with opened(url) as ledger:
        return ledger.head().version


def test_a_newer_schema_is_refused_with_the_way_out(ledger_url: str) -> None:
    """This version cannot know what it means; nothing is touched."""
    with opened(ledger_url) as ledger:
        ledger.commit(commit())
        with ledger.database.writing() as connection:
            connection.execute(sa.insert(schema.ledger_schema), [{"version": schema.SCHEMA_VERSION + 1}])

    with (
        pytest.raises(LedgerMismatchError, match=r"has schema 4, .* up to 3\. Upgrade .* or name a new ledger"),
        opened(ledger_url),
    ):
        pass


def test_a_run_that_began_before_the_schema_changed_commits_nothing(ledger_url: str) -> None:
    """It would write what the new tables do not expect."""
    with opened(ledger_url) as ledger:
        ledger.commit(commit())
        with ledger.database.writing() as connection:
            connection.execute(sa.update(schema.head).values(schema_version=schema.SCHEMA_VERSION + 1))

        with pytest.raises(LedgerMismatchError, match="has schema 4"):
            ledger.commit(commit(1))
