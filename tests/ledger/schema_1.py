"""Ledgers as schema 1 had them: its tables written out, since the package knows its newest schema only."""

from __future__ import annotations

import json
from typing import Final

import sqlalchemy as sa

from otel_ml_metrics.ledger.schema import encode
from tests.ledger.material import DAY, NAME, NOW_US, facts, sums

_TYPES: Final = {
    "sqlite": {"bytes": "BLOB", "counted": "INTEGER NOT NULL PRIMARY KEY"},
    "postgresql": {"bytes": "BYTEA", "counted": "SERIAL NOT NULL PRIMARY KEY"},
}
_TABLES: Final = (
    """CREATE TABLE head (id INTEGER NOT NULL, schema_version INTEGER NOT NULL, version BIGINT NOT NULL,
       as_of_us BIGINT, created_us BIGINT NOT NULL, name TEXT NOT NULL, definition TEXT NOT NULL, totals TEXT NOT NULL,
       PRIMARY KEY (id))""",
    """CREATE TABLE input_file (kind VARCHAR(16) NOT NULL, name VARCHAR(500) NOT NULL, stat TEXT NOT NULL,
       fingerprint TEXT NOT NULL, taken_until_us BIGINT, last_us BIGINT, date VARCHAR(10), foreign_ids BOOLEAN,
       version BIGINT NOT NULL, PRIMARY KEY (kind, name))""",
    """CREATE TABLE fact_block (id {counted}, date VARCHAR(10) NOT NULL, version BIGINT NOT NULL,
       facts {bytes} NOT NULL)""",
    "CREATE INDEX ix_fact_block_date ON fact_block (date)",
    """CREATE TABLE state_block (tile_us BIGINT NOT NULL, version BIGINT NOT NULL, sums {bytes} NOT NULL,
       PRIMARY KEY (tile_us))""",
    """CREATE TABLE aside (name VARCHAR(16) NOT NULL, version BIGINT NOT NULL, "rows" {bytes} NOT NULL,
       PRIMARY KEY (name))""",
    """CREATE TABLE outbox (id {counted}, version BIGINT NOT NULL, series TEXT NOT NULL,
       time_unix_nano BIGINT NOT NULL, point TEXT NOT NULL, status VARCHAR(12) NOT NULL, message TEXT)""",
    "CREATE INDEX outbox_waiting ON outbox (status, id)",
    """CREATE TABLE run (version BIGINT NOT NULL, as_of_us BIGINT NOT NULL, committed_us BIGINT NOT NULL,
       summary TEXT NOT NULL, PRIMARY KEY (version))""",
)

POINTS: Final = (("a", 1), ("b", 1), ("a", 2))
"""Series and time of what stands in the outbox."""


def make(url: str, *, commits: int = 1) -> None:
    """Make a ledger of schema 1; with one commit, or with none."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        for statement in _TABLES:
            connection.exec_driver_sql(statement.format(**_TYPES[connection.dialect.name]))
        if commits:
            _commit(connection)
    engine.dispose()


def _commit(connection: sa.Connection) -> None:
    head = {"name": NAME, "as_of": NOW_US, "definition": json.dumps({"model": "flight-delay"}), "totals": "{}"}
    values = ":as_of, :as_of, :name, :definition, :totals"
    connection.execute(sa.text(f"INSERT INTO head VALUES (1, 1, 1, {values})"), head)
    connection.execute(sa.text("INSERT INTO run VALUES (1, :as_of, :as_of, '{}')"), {"as_of": NOW_US})
    block = {"date": DAY, "facts": encode(facts(range(3)))}
    connection.execute(sa.text("INSERT INTO fact_block (date, version, facts) VALUES (:date, 1, :facts)"), block)
    connection.execute(sa.text("INSERT INTO state_block VALUES (86400, 1, :sums)"), {"sums": encode(sums(4))})
    statement = (
        "INSERT INTO outbox (version, series, time_unix_nano, point, status) VALUES (1, :series, :time, '{}', :was)"
    )
    rows = [{"series": series, "time": time, "was": "accepted"} for series, time in POINTS]
    connection.execute(sa.text(statement), rows)
