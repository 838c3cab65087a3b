"""The ledger on both databases: everything comes back as it was given, and a commit is whole or not there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pytest
import sqlalchemy as sa

from otel_ml_metrics.attribution.inputs import Input
from otel_ml_metrics.attribution.tables import LOST, MOVES, values
from otel_ml_metrics.errors import LedgerBusyError, LedgerError, LedgerMismatchError, LedgerMovedError
from otel_ml_metrics.ledger import schema
from otel_ml_metrics.ledger.blocks import MOST_BLOCKS
from otel_ml_metrics.ledger.commit import Head, Movement
from otel_ml_metrics.ledger.store import schema_of
from tests.ledger.material import DAY, NAME, NOW_US, commit, facts, opened, sums

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_ml_metrics.ledger.store import Ledger

FARTHEST: Final = 2**63 - 1
WIDEST: Final = 10**38 - 1
STRANGE: Final = "späte Flüge / 日本 🛬 'quoted' \\ %s ? :name \n"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A new ledger."""
    with opened(ledger_url) as ledger:
        yield ledger


def test_a_new_ledger_is_empty(ledger: Ledger) -> None:
    """Nothing was taken, nothing adds up to anything."""
    assert ledger.head() == Head()
    assert (ledger.tiles(), ledger.inputs("label")) == ([], {})
    assert [len(table) for table in (ledger.facts([DAY]), ledger.states([0]), ledger.pending(), ledger.lost())] == [
        0
    ] * 4


def test_everything_comes_back_as_it_was_given(ledger: Ledger, ledger_url: str) -> None:
    """Numbers of 64 and of 128 bits, bytes, and texts with any characters."""
    label = Input("label", STRANGE, "stat", "digest", FARTHEST, -FARTHEST)
    segment = Input("segment", "s-1.parquet", date=DAY, foreign_ids=True)
    lost = pa.Table.from_pylist([{"prediction_id": STRANGE, "date": DAY, "segment": "s", "row": FARTHEST}], LOST)
    ledger.commit(
        commit(
            as_of_us=FARTHEST,
            totals={"shown": {STRANGE: FARTHEST}},
            inputs=[label, segment],
            facts={DAY: facts(range(3))},
            states={-FARTHEST: sums(-WIDEST), 7: sums(WIDEST)},
            pending=facts(range(2)),
            lost=lost,
        )
    )

    with opened(ledger_url) as again:
        head = again.head()
        assert (head.version, head.as_of_us, head.totals) == (1, FARTHEST, {"shown": {STRANGE: FARTHEST}})
        assert again.inputs("label") == {STRANGE: label}
        assert again.inputs("segment") == {"s-1.parquet": segment}
        assert again.facts([DAY]).drop_columns(["date"]).equals(facts(range(3)))
        assert again.tiles() == [-FARTHEST, 7]
        assert again.states([-FARTHEST]).drop_columns(["tile_us"]).equals(sums(-WIDEST))
        assert again.pending().equals(facts(range(2)))
        assert again.lost().equals(lost)


def test_a_block_of_many_megabytes_fits(ledger: Ledger) -> None:
    """A day of labels is one cell, or a few."""
    many = facts(range(1_000_000))

    ledger.commit(commit(facts={DAY: many}))

    assert ledger.facts([DAY]).drop_columns(["date"]).equals(many)


def test_inputs_and_sums_are_replaced_and_facts_are_added(ledger: Ledger) -> None:
    """A commit says how far inputs are and what tiles hold now, and which labels are new."""
    ledger.commit(commit(inputs=[Input("label", "a", "old")], states={1: sums(1)}, facts={DAY: facts(range(2))}))
    ledger.commit(commit(1, inputs=[Input("label", "a", "new")], states={1: sums(2)}, facts={DAY: facts(range(2, 5))}))

    assert ledger.inputs("label")["a"].stat == "new"
    assert ledger.states([1]).column("value").to_pylist() == [2]
    assert len(ledger.facts([DAY])) == 5


def test_a_date_whose_facts_are_replaced_has_the_new_ones_alone(ledger: Ledger) -> None:
    """Predictions that moved take their labels along."""
    ledger.commit(commit(facts={DAY: facts(range(9)), "2013-04-10": facts(range(1))}))
    ledger.commit(commit(1, facts={DAY: facts(range(2))}, replaced_dates=frozenset({DAY, "2013-04-10"})))

    assert (len(ledger.facts([DAY])), len(ledger.facts(["2013-04-10"]))) == (2, 0)


def test_many_small_commits_leave_few_blocks(ledger: Ledger) -> None:
    """Reading a date stays as quick as it was, however many runs brought its labels."""
    rounds = MOST_BLOCKS * MOST_BLOCKS + 3
    for version in range(rounds):
        ledger.commit(commit(version, facts={DAY: facts(range(version, version + 1))}))

    with ledger.database.reading() as connection:
        blocks = connection.scalar(sa.select(sa.func.count()).select_from(schema.fact_block))
    ids = values(ledger.facts([DAY]), "prediction_id")
    assert blocks is not None
    assert blocks < 2 * MOST_BLOCKS
    assert sorted(ids) == sorted(f"p-{number}" for number in range(rounds))


def test_more_names_and_tiles_than_a_statement_takes_parameters(ledger: Ledger) -> None:
    """A first run over years of small files is one commit as well."""
    inputs = [Input("label", f"{number}.csv", "old") for number in range(40_000)]
    ledger.commit(commit(inputs=inputs, states={tile: sums(tile) for tile in range(1200)}))
    ledger.commit(commit(1, inputs=inputs, states={tile: sums(tile + 1) for tile in range(1200)}))

    assert len(ledger.inputs("label")) == 40_000
    assert sorted(values(ledger.states(range(1200)), "value")) == list(range(1, 1201))


def test_what_was_sent_once_is_known_for_more_times_than_a_statement_takes_parameters(ledger: Ledger) -> None:
    """Years of hourly windows may be touched at once."""
    once = [(f"series {number % 7}", number) for number in range(70_000)]
    ledger.commit(commit(once=once))
    ledger.commit(commit(1, once=[("another series", 5), ("series 5", 5), ("late", FARTHEST)]))

    asked = [*once, ("series 1", 0), ("another series", 5), ("late", FARTHEST), ("later", FARTHEST)]
    assert ledger.emitted(asked) == {*once, ("another series", 5), ("late", FARTHEST)}


def test_movements_come_back_by_window_and_version(ledger: Ledger) -> None:
    """With the instants of the run that made them."""
    row = {"maturity": "1d", "maturity_s": 86_400, "measure": "accuracy", "value": 0.25, "support": 4, "slice": "{}"}
    moves = pa.Table.from_pylist([row], MOVES)
    full = Movement(labels={"matched": 3, "revised": -1}, predictions=2, rebuilt=True, moves=moves)
    ledger.commit(commit(movements={10: full, 20: Movement(predictions=1)}))
    ledger.commit(commit(1, movements={10: Movement(labels={"late": 1})}))

    found = ledger.movements()
    assert [(each.window_us, each.version, each.as_of_us - NOW_US) for each in found] == [
        (10, 1, 0),
        (10, 2, 1),
        (20, 1, 0),
    ]
    assert found[0].movement == full
    assert [each.version for each in ledger.movements(10)] == [1, 2]


def test_of_commits_at_once_one_wins(ledger_url: str) -> None:
    """The others are told that the ledger moved, and leave nothing behind; also the very first one."""
    won = 0
    for version in range(3):
        with ThreadPoolExecutor(6) as pool:
            outcomes = list(pool.map(_try_commit, [(ledger_url, version, number) for number in range(6)]))
        won += outcomes.count("won")
        assert sorted(outcomes) == ["moved"] * 5 + ["won"]

    with opened(ledger_url) as ledger:
        assert (ledger.head().version, won) == (3, 3)
        assert len(ledger.facts([DAY])) == 3
        assert [run["version"] for run in ledger.runs()] == [1, 2, 3]


def _try_commit(attempt: tuple[str, int, int]) -> str:
    url, version, number = attempt
    with opened(url) as ledger:
        try:
            ledger.commit(commit(version, facts={DAY: facts(range(number, number + 1))}))
        except LedgerMovedError:
            return "moved"
    return "won"


def test_a_ledger_is_made_once_however_many_make_it(ledger_url: str) -> None:
    """Two runs may find out at once that there is none."""
    with ThreadPoolExecutor(8) as pool:
        heads = list(pool.map(_look, [ledger_url] * 8))

    assert heads == [Head()] * 8
    assert schema_of(ledger_url) == schema.SCHEMA_VERSION


def _look(url: str) -> Head:
    with opened(url) as ledger:
        return ledger.head()


def test_a_commit_that_waits_for_too_long_is_told_who_is_in_the_way(ledger: Ledger, ledger_url: str) -> None:
    """It gives up after a bounded time, and nothing was changed."""
    ledger.commit(commit())
    with opened(ledger_url, busy_seconds=0.2) as other, ledger.database.writing() as connection:
        connection.execute(sa.update(schema.head).values(as_of_us=0))

        with pytest.raises(LedgerBusyError, match="Another run holds the ledger"):
            other.commit(commit(1))

    assert ledger.head().version == 1


def test_a_commit_that_waited_for_another_sees_that_the_ledger_moved(ledger: Ledger, ledger_url: str) -> None:
    """Waiting for the lock and losing the race is no success."""
    ledger.commit(commit())
    with opened(ledger_url) as other, ThreadPoolExecutor(1) as pool:
        with ledger.database.writing() as connection:
            connection.execute(sa.update(schema.head).values(version=2))
            waiting = pool.submit(other.commit, commit(1))
        with pytest.raises(LedgerMovedError):
            waiting.result(timeout=60)

        assert other.head().version == 2


def test_a_commit_that_fails_half_way_leaves_nothing(ledger: Ledger) -> None:
    """Its last row cannot be written, so none is."""
    ledger.commit(commit(facts={DAY: facts(range(1))}))
    with ledger.database.writing() as connection:
        row = {"version": 2, "as_of_us": 0, "committed_us": 0, "summary": "{}"}
        connection.execute(sa.insert(schema.run), [row])

    with pytest.raises(LedgerError):
        ledger.commit(commit(1, facts={DAY: facts(range(1, 9))}, states={1: sums(1)}))

    assert (ledger.head().version, len(ledger.facts([DAY])), ledger.tiles()) == (1, 1, [])


def test_a_snapshot_stays_at_its_version(ledger: Ledger, ledger_url: str) -> None:
    """Head, sums and labels of one moment, whatever is committed in between."""
    ledger.commit(commit(states={1: sums(1)}, facts={DAY: facts(range(1))}))
    with opened(ledger_url) as other, ledger.snapshot() as seen:
        before = seen.head().version
        other.commit(commit(1, states={1: sums(2), 2: sums(2)}, facts={DAY: facts(range(1, 5))}))

        assert (before, seen.head().version, seen.tiles(), len(seen.facts([DAY]))) == (1, 1, [1], 1)
        assert seen.states([1, 2]).column("value").to_pylist() == [1]

    assert ledger.head().version == 2


def test_the_ledger_of_another_evaluation_is_refused(ledger: Ledger, ledger_url: str) -> None:
    """Two evaluations in one ledger would add up to nothing."""
    ledger.commit(commit())

    with (
        pytest.raises(LedgerMismatchError, match=f"belongs to the evaluation '{NAME}', not to 'b'"),
        opened(ledger_url, name="b"),
    ):
        pass


def test_looking_for_a_ledger_makes_none(ledger_url: str) -> None:
    """Neither tables nor a file."""
    assert schema_of(ledger_url) is None
    assert schema_of(ledger_url) is None


def test_a_damaged_block_is_named(ledger: Ledger) -> None:
    """The error says which, and where to look."""
    ledger.commit(commit(states={86_400: sums(1)}))
    with ledger.database.writing() as connection:
        connection.execute(sa.update(schema.state_block).values(sums=b"not Arrow"))

    with pytest.raises(LedgerError, match=r"block of sums of tile 86400 .*otel-ml-metrics ledger check"):
        ledger.states([86_400])
