"""A process that is killed while it commits leaves the version before or the version after, whole."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from otel_ml_metrics.attribution.inputs import Input
from otel_ml_metrics.attribution.tables import values
from otel_ml_metrics.ledger import integrity
from otel_ml_metrics.ledger.commit import Movement
from otel_ml_metrics.ledger.outbox import Outbox
from otel_ml_metrics.ledger.store import Ledger
from tests.ledger.material import DAY, NAME, commit, exact_values, facts, opened, sums
from tests.patience import eventually

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext

    from otel_ml_metrics.ledger.commit import Commit

KILLS: Final = 30
LABELS: Final = 5_000
NEW_LABELS: Final = 50
POINTS: Final = 100
TILES: Final = range(20)
OTHER_DAY: Final = "2013-04-10"
LONGEST: Final = 0.3
"""Seconds from one commit to the kill, at most; a commit takes about a tenth of that."""


def whole(version: int) -> Commit:
    """A commit that writes to every table, with the version to be in all of it."""
    return commit(
        version,
        inputs=[Input("label", f"{version}.parquet", last_us=version)],
        facts={DAY: facts(range(version, version + LABELS)), OTHER_DAY: facts(range(NEW_LABELS))},
        replaced_dates=frozenset({DAY}),
        states={tile: sums(version + 1, count=20) for tile in TILES},
        exact={tile: exact_values(version + 1) for tile in TILES},
        pending=facts(range(version + 1)),
        movements={0: Movement(predictions=version + 1)},
        points=[(f"series {at}", version, "{}") for at in range(POINTS)],
        once=[(f"series {at}", version) for at in range(POINTS)],
    )


def commit_until_killed(url: str, told: Connection) -> None:
    """Commit again and again, and tell when a commit begins and when it is done; in a process of its own."""
    ledger = Ledger(url, name=NAME, label_kind="boolean")
    while True:
        version = ledger.head().version
        made = whole(version)
        told.send((version, True))
        told.send((ledger.commit(made), False))


def processes() -> ForkServerContext:
    """Where processes start from: a server that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "pandas", "psycopg"])  # pyarrow and SQLAlchemy load them when first used
    return context


def kill_one(context: ForkServerContext, url: str, seconds: float) -> tuple[int, bool]:
    """Start a process that commits, and kill it some time after it began.

    Returns:
        The last version that it told, and whether it was committing the next one.
    """
    heard, told = context.Pipe(duplex=False)
    process = context.Process(target=commit_until_killed, args=(url, told))
    process.start()
    told.close()
    last: tuple[int, bool] = heard.recv()
    process.join(timeout=seconds)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    process.close()
    try:
        while True:
            last = heard.recv()
    except EOFError:
        return last


def is_alone(ledger: Ledger) -> bool:
    """Whether a database server has done with everybody else: it may still finish the commit of a killed client."""
    others = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    with ledger.database.reading() as connection:
        return connection.dialect.name != "postgresql" or connection.exec_driver_sql(others).scalar() == 0


def is_whole(ledger: Ledger, version: int) -> None:
    """See that everything is of this version, and sound."""
    with ledger.database.reading() as connection:
        assert [*integrity.problems(connection, facts=ledger.fact_schema)] == []
    assert ledger.database.problems() == []
    labels = facts(range(version - 1, version - 1 + LABELS)) if version else facts(range(0))
    assert ledger.facts([DAY]).drop_columns(["date"]).equals(labels)
    assert len(ledger.facts([OTHER_DAY])) == version * NEW_LABELS
    assert set(values(ledger.states(TILES), "value")) == ({version} if version else set())
    kept = {value for block in ledger.exact(TILES).values() for value in values(block, "value")}
    assert kept == ({version} if version else set())
    assert len(ledger.pending()) == version
    assert len(ledger.inputs("label")) == len(ledger.movements(0)) == version
    assert Outbox(ledger).count() == version * POINTS
    assert len(ledger.emitted([("series 7", time) for time in range(version + 1)])) == version


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_9_at_random_times_leaves_one_version_whole(ledger_url: str) -> None:
    """Thirty processes die while they commit: none loses what it told, and none leaves half of a commit."""
    random_ = random.Random(20130409)
    context = processes()
    in_the_middle = 0
    for _ in range(KILLS):
        told, was_committing = kill_one(context, ledger_url, random_.uniform(0, LONGEST))
        with opened(ledger_url) as ledger:
            eventually(partial(is_alone, ledger))
            version = ledger.head().version
            assert version in ({told, told + 1} if was_committing else {told})
            is_whole(ledger, version)
        in_the_middle += was_committing

    assert in_the_middle >= KILLS // 3
