"""What only a server can do to a ledger: lose the connection, keep others waiting, know who is idle."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.errors import ConfigurationError, LedgerError, LedgerLostError
from otel_ml_metrics.ledger import schema
from otel_ml_metrics.ledger.outbox import Outbox
from otel_ml_metrics.ledger.store import schema_of
from tests.ledger.material import commit, opened, sums
from tests.postgresql import PASSWORD, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_ml_metrics.ledger.store import Ledger

pytestmark = pytest.mark.postgresql


@pytest.fixture
def url(postgresql_server: Server, postgresql_database: str) -> str:
    """Of an empty database."""
    return postgresql_server.url(postgresql_database)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """A ledger with one commit."""
    with opened(url) as ledger:
        ledger.commit(commit(states={1: sums(1)}))
        yield ledger


def end_sessions(server: Server, database: str) -> None:
    """What an administrator, a failing network or a restart does."""
    server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{database}' AND pid <> pg_backend_pid()"
    )


def test_a_connection_that_is_lost_in_the_middle_leaves_nothing(
    ledger: Ledger, postgresql_server: Server, postgresql_database: str
) -> None:
    """The error says what to do, and the next transaction finds its way."""

    def lose_the_connection() -> None:
        with ledger.database.writing() as connection:
            connection.execute(sa.delete(schema.state_block))
            end_sessions(postgresql_server, postgresql_database)
            connection.execute(sa.delete(schema.run))

    with pytest.raises(LedgerLostError, match="running again makes up for it"):
        lose_the_connection()

    assert (ledger.head().version, ledger.tiles()) == (1, [1])


def test_a_commit_whose_connection_is_lost_while_it_waits_leaves_nothing(
    ledger: Ledger, url: str, postgresql_server: Server, postgresql_database: str
) -> None:
    """It can be done again."""
    with opened(url) as other, ThreadPoolExecutor(1) as pool:
        with postgresql_server.connect(postgresql_database) as blocker:
            blocker.execute("BEGIN; UPDATE head SET version = version")
            waiting = pool.submit(other.commit, commit(1, states={2: sums(2)}))
            _wait_for_a_waiting_session(postgresql_server, postgresql_database)
            end_sessions(postgresql_server, postgresql_database)
            with pytest.raises(LedgerLostError):
                waiting.result(timeout=60)
            blocker.close()

        assert ledger.head().version == 1
        assert other.commit(commit(1, states={2: sums(2)})) == 2


def _wait_for_a_waiting_session(server: Server, database: str) -> None:
    query = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        " AND application_name = 'otel-ml-metrics'"
    )
    deadline = time.monotonic() + 60
    with server.connect() as connection:
        while connection.execute(query, [database]).fetchone() is None:
            assert time.monotonic() < deadline


def test_who_sends_keeps_no_transaction_open(
    ledger: Ledger, postgresql_server: Server, postgresql_database: str
) -> None:
    """An idle transaction would hold up vacuums, and servers end it after a while."""
    query = f"SELECT state FROM pg_stat_activity WHERE datname = '{postgresql_database}'"
    with Outbox(ledger).sole_sender() as is_sole, postgresql_server.connect() as connection:
        states = {row[0] for row in connection.execute(query.encode())}

    assert (is_sole, states) == (True, {"idle"})


def test_a_sender_whose_session_is_ended_ends_quietly(
    ledger: Ledger, postgresql_server: Server, postgresql_database: str
) -> None:
    """What it sent is sent; the lock is gone with the session."""
    outbox = Outbox(ledger)
    with outbox.sole_sender() as is_sole:
        end_sessions(postgresql_server, postgresql_database)

    with outbox.sole_sender() as again:
        assert (is_sole, again) == (True, True)


def test_two_ledgers_in_one_database_live_in_schemas_of_their_own(
    url: str, postgresql_server: Server, postgresql_database: str
) -> None:
    """Neither sees the other, and both send at once."""
    with postgresql_server.connect(postgresql_database) as connection:
        connection.execute("CREATE SCHEMA one; CREATE SCHEMA two")
    with (
        opened(f"{url}?options=-csearch_path%3Done", name="one") as one,
        opened(f"{url}?options=-csearch_path%3Dtwo", name="two") as two,
    ):
        one.commit(commit(states={1: sums(1)}))

        assert (one.head().version, two.head().version) == (1, 0)
        with Outbox(one).sole_sender() as first, Outbox(two).sole_sender() as second:
            assert (first, second) == (True, True)


def test_a_url_without_a_driver_means_psycopg(url: str) -> None:
    """People write postgresql://."""
    with opened(url.replace("+psycopg", "")) as ledger:
        assert ledger.commit(commit()) == 1


def test_no_error_shows_a_password(url: str, postgresql_server: Server) -> None:
    """Neither the message nor anything that a traceback prints of it."""
    wrong = [
        url.replace(PASSWORD, f"{PASSWORD}x"),
        url.replace("127.0.0.1:", "127.0.0.1:1"),
        postgresql_server.url("nowhere"),
        url.replace(f":{PASSWORD}", "") + f"?password={PASSWORD}x",
        f"postgresql+psycopg://postgres:{PASSWORD}@127.0.0.1:port/name",
    ]
    for each in wrong:
        with pytest.raises(LedgerError) as raised:
            schema_of(each)
        assert PASSWORD not in f"{raised.value} {raised.value.__cause__} {raised.value.args}"


def test_a_refused_setting_shows_no_password() -> None:
    """A typing error in the scheme is told without what stands behind the user's name."""
    with pytest.raises(ConfigurationError) as raised:
        Evaluation(
            model="m",
            predictions="p",
            labels={"path": "l"},
            ledger=f"postgres://user:{PASSWORD}@host/name",
            attribution_window="1d",
            measures=["accuracy"],
        )

    assert PASSWORD not in str(raised.value)
    assert "user:***@host" in str(raised.value)


def test_the_ledger_is_shown_without_its_password(url: str) -> None:
    """In reports and messages."""
    with opened(f"{url}?sslpassword=hidden-too") as ledger:
        assert PASSWORD not in ledger.shown
        assert "hidden-too" not in ledger.shown
        assert "127.0.0.1" in ledger.shown
