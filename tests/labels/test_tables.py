"""Labels in a table or query of a database: read once, by the instant at which they were received."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pytest

from otel_ml_metrics.errors import ConfigurationError, LabelSourceError
from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation import oracle
from tests.evaluation.material import DAY, HOUR, MINUTE, START, Fact, Prediction, us
from tests.evaluation.oracle import Settings
from tests.evaluation.test_laws import agree
from tests.labels.material import FORMS, KEPT, Form, TableWorld

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otel_ml_metrics.evaluation_report import Report

LATER: Final = START + 3 * DAY
MANY: Final = 40


def logged(world: TableWorld, count: int = 3) -> TableWorld:
    """A world whose log has a prediction each hour."""
    world.log([Prediction(id=f"p-{row}", predicted_at=START + row * HOUR) for row in range(count)])
    return world


def facts(first: int, end: int) -> list[Fact]:
    """The label of each prediction, two hours later."""
    return [
        Fact(id=f"p-{row}", label=row % 3 == 0, received_at=START + (row + 2) * HOUR, revision=row % 2)
        for row in range(first, end)
    ]


def equals_brute_force(world: TableWorld, as_of: datetime) -> None:
    """See that the ledger says what the oracle says of the rows as they are."""
    with Evaluator(world.evaluation(), environ={}) as evaluator:
        found = evaluator.as_of(as_of).values
    agree(found, oracle.values(world.predictions, world.facts, Settings(), us(as_of)))


def backfilled(world: TableWorld, since: datetime, until: datetime) -> Report:
    """Evaluate a range again."""
    with Evaluator(world.evaluation(), environ={}) as evaluator:
        return evaluator.backfill(since, until)


# What a table may hold


@pytest.mark.parametrize(("database_url", "form"), KEPT, indirect=["database_url"])
def test_instants_may_have_any_type(database_url: str, tmp_path: Path, form: Form) -> None:
    """Each is compared exactly, also where the database can compare only the days."""
    world = logged(TableWorld(tmp_path, url=database_url, form=form))
    world.label([Fact(id="p-0"), Fact(id="p-1", received_at=START + HOUR + MINUTE)])

    counts = [world.run(START + HOUR + minutes * MINUTE).labels["matched"] for minutes in (-1, 0, 1, 2)]

    assert counts == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("column", "write"),
    [
        ("INTEGER", int),
        ("TEXT", lambda label: "yes" if label else "no"),
        ("TEXT", lambda label: "t" if label else "f"),
        ("REAL", float),
        ("", lambda label: "true" if label else 0),
    ],
    ids=["integer", "word", "letter", "number", "mixed"],
)
def test_labels_may_be_anything_that_says_yes_or_no(
    tmp_path: Path, column: str, write: Callable[[bool], object]
) -> None:
    """A database without booleans writes them as numbers or words."""
    world = logged(TableWorld(tmp_path, labels=(column, write)))
    world.label(facts(0, 3))

    world.run(LATER)

    equals_brute_force(world, LATER)


def test_numbers_of_any_type_are_labels_of_a_regression(table: TableWorld) -> None:
    """Decimals are as good as floats."""
    table.log([Prediction(id="p-1", score=None)])
    table.execute(f"DROP TABLE {table.table}")
    columns = f"prediction_id TEXT, label NUMERIC(9, 3), received_at {table.form.column}"
    table.execute(f"CREATE TABLE {table.table} ({columns})")
    received_at = table.form.write(START + HOUR)
    value = 0.25 if table.url.startswith("sqlite") else Decimal("0.25")
    table.execute(f"INSERT INTO {table.table} VALUES ('p-1', :label, :at)", [{"label": value, "at": received_at}])

    report = table.run(
        LATER,
        labels={"url": table.url, "table": table.table},
        task="regression",
        measures=[{"name": "total", "unit": "USD", "sum": "label", "description": "All of it"}],
    )

    assert [value.value for value in report.values] == [0.25]


def test_a_row_without_an_instant_has_not_been_received(table: TableWorld) -> None:
    """A table may have a row for each prediction long before its label comes."""
    logged(table)
    table.execute(f"INSERT INTO {table.table} VALUES ('p-0', NULL, NULL, 0, NULL, NULL, NULL)")
    first = table.run(START + HOUR)

    table.execute(
        f"UPDATE {table.table} SET label = :label, received_at = :at",
        [{"label": True, "at": table.form.write(START + 2 * HOUR)}],
    )
    second = table.run(LATER)

    assert (first.labels["invalid"], first.labels["matched"], first.warnings) == (0, 0, ())
    assert (second.labels["matched"], second.warnings) == (1, ())


def test_a_query_is_as_good_as_a_table(table: TableWorld) -> None:
    """Its columns may be computed, and no part of it is taken for a parameter."""
    logged(table).label(facts(0, 3))
    query = f"SELECT prediction_id AS who, label, received_at, revision, ':x 100%' AS note FROM {table.table};"

    report = table.run(LATER, labels=table.source | {"table": None, "query": query, "id": "who"})

    assert report.labels["matched"] == 3


def test_a_bad_row_is_counted_once(table: TableWorld) -> None:
    """Runs go on, and the row is kept aside."""
    logged(table).label(facts(0, 2))
    table.execute(
        f"INSERT INTO {table.table} VALUES ('p-2', NULL, :at, 0, NULL, NULL, NULL)",
        [{"at": table.form.write(START + 3 * HOUR)}],
    )

    reports = [table.run(START + hours * HOUR) for hours in (3, 4, 60)]

    assert [report.labels["invalid"] for report in reports] == [1, 1, 1]


# Reading what is new


def test_only_new_rows_are_read(tmp_path: Path, witnessed: list[str]) -> None:
    """Rows of the days around the last run at most, however many there are."""
    world = TableWorld(tmp_path)
    world.label([Fact(id=f"q-{row}", received_at=START - row * DAY) for row in range(1, 300)])
    query = f"SELECT witness(prediction_id) AS prediction_id, label, received_at, revision FROM {world.table}"
    labels = world.source | {"table": None, "query": query}
    world.run(START, labels=labels)
    first, witnessed[:] = set(witnessed), []

    world.label([Fact(id="new", received_at=START + HOUR)])
    world.run(START + 2 * HOUR, labels=labels)

    assert len(first) == 299
    assert {"new"} < set(witnessed) <= {"new", "q-1", "q-2", "q-3"}


def test_facts_after_as_of_are_invisible_now_and_there_later(table: TableWorld) -> None:
    """Each run takes the rows since the last one, up to its own instant."""
    logged(table).label(facts(0, 3))

    counts = [table.run(START + hours * HOUR).labels["matched"] for hours in (1, 2, 3, 4, 5)]

    assert counts == [0, 1, 2, 3, 3]


def test_many_rows_are_one_part_of_a_run(table: TableWorld) -> None:
    """More than are Python values at a time."""
    table.log([Prediction(id=f"p-{row}") for row in range(50_000)])
    at = table.form.write(START + HOUR)
    rows: list[dict[str, object]] = [{"id": f"p-{row}", "label": row % 2 == 0, "at": at} for row in range(50_000)]
    table.execute(f"INSERT INTO {table.table} VALUES (:id, :label, :at, 0, NULL, NULL, NULL)", rows)

    assert table.run(LATER).labels["matched"] == 50_000


# A source that rewrites its past


@pytest.fixture
def taken(table: TableWorld) -> TableWorld:
    """A table of which everything was taken that came in until a day and a half had passed."""
    logged(table, MANY).label(facts(0, MANY - 5))
    table.run(START + 37 * HOUR)
    return table


NOW: Final = START + 37 * HOUR


def test_a_table_that_only_grows_is_never_suspected(taken: TableWorld) -> None:
    """Not by rows at the very instant of a run, nor just after it."""
    for minutes in range(0, 180, 60):
        now = NOW + minutes * MINUTE
        taken.label([Fact(id="p-39", received_at=now + MINUTE), Fact(id="p-38", received_at=now + HOUR)])
        assert taken.run(now + HOUR).warnings == ()

    assert taken.run(LATER).warnings == ()
    equals_brute_force(taken, LATER)


def late(world: TableWorld) -> None:
    """Commit a row that says it was received before the last run."""
    world.label([Fact(id="p-36", received_at=NOW - MINUTE)])


def deleted(world: TableWorld) -> None:
    """Delete a row."""
    world.delete("p-30")


def changed(world: TableWorld) -> None:
    """Change a label where it stands."""
    world.execute(f"UPDATE {world.table} SET label = NOT label WHERE prediction_id = 'p-30'")
    world.facts = [fact._replace(label=not fact.label) if fact.id == "p-30" else fact for fact in world.facts]


def moved(world: TableWorld) -> None:
    """Change when a label was received."""
    at = START + 36 * HOUR + MINUTE
    world.execute(
        f"UPDATE {world.table} SET received_at = :at WHERE prediction_id = 'p-30'", [{"at": world.form.write(at)}]
    )
    world.facts = [fact._replace(received_us=us(at)) if fact.id == "p-30" else fact for fact in world.facts]


@pytest.mark.parametrize("rewrite", [late, deleted, changed, moved])
def test_a_rewritten_past_is_told_and_repaired(taken: TableWorld, rewrite: Callable[[TableWorld], None]) -> None:
    """Each run says so until a backfill over what it names; then the ledger says what the rows say."""
    rewrite(taken)

    told = [taken.run(NOW + hours * HOUR).warnings for hours in (1, 2)]
    backfilled(taken, NOW - 2 * DAY, NOW)
    after = taken.run(LATER)

    assert [len(warnings) for warnings in told] == [1, 1]
    assert f"backfill` from {START + 13 * HOUR - DAY:%Y-%m-%dT%H:%M:%SZ}" in told[0][0]
    assert after.warnings == ()
    equals_brute_force(taken, LATER)


def test_new_rows_are_taken_while_the_past_waits_for_repair(taken: TableWorld) -> None:
    """A warning stops nothing."""
    late(taken)
    taken.label([Fact(id="p-37", received_at=NOW + MINUTE)])
    before = taken.run(NOW).labels["matched"]

    report = taken.run(NOW + HOUR)

    assert (before, report.labels["matched"]) == (35, 36)
    assert taken.run(NOW + 2 * HOUR).warnings != ()


def test_a_backfill_over_a_part_leaves_the_rest_to_be_told(taken: TableWorld) -> None:
    """What was not repaired is not forgotten."""
    deleted(taken)

    report = backfilled(taken, NOW - DAY, NOW)

    assert "a backfill from" in report.warnings[0]
    assert taken.run(LATER).warnings != ()


def test_a_backfill_before_any_run_noticed_is_enough(taken: TableWorld) -> None:
    """Whoever knows what was changed need not wait for a warning."""
    changed(taken)

    backfilled(taken, NOW - 2 * DAY, NOW)

    assert taken.run(LATER).warnings == ()
    equals_brute_force(taken, LATER)


def test_a_table_that_lost_everything_is_believed(table: TableWorld) -> None:
    """As long as it has not been purged of what is older than all that it has now, which then stays."""
    logged(table).label(facts(0, 3))
    table.run(START + 6 * HOUR)
    table.execute(f"DELETE FROM {table.table}")
    table.facts.clear()

    warned = table.run(START + 7 * HOUR).warnings
    backfilled(table, START - 2 * DAY, START + 6 * HOUR)

    assert len(warned) == 1
    assert table.run(LATER).warnings == ()
    equals_brute_force(table, LATER)


def test_what_a_purged_table_said_stays(taken: TableWorld) -> None:
    """Old rows may be thrown away; a backfill says so, and keeps what was applied of them."""
    kept = list(taken.facts)
    for row in range(10):
        taken.delete(f"p-{row}")
    taken.facts = kept

    report = backfilled(taken, START - DAY, NOW)

    assert "begins at 2013-04-08T12:00:00Z now" in report.warnings[0]
    taken.run(LATER)
    equals_brute_force(taken, LATER)


def test_an_hour_that_a_clock_shows_twice_is_not_suspected(tmp_path: Path) -> None:
    """Rows of its second time look as if they had been received in its first."""
    ended = datetime(2013, 10, 27, 0, 30, tzinfo=UTC)  # 02:30 in Berlin, and once more an hour later
    world = TableWorld(tmp_path, form=FORMS["text of a zone"])
    world.log([Prediction(id=f"p-{row}", predicted_at=ended - DAY) for row in range(3)])
    world.label([Fact(id="p-0", received_at=ended - 2 * HOUR)])
    world.run(ended)

    world.label([Fact(id="p-1", received_at=ended + 45 * MINUTE)])

    assert world.run(ended + DAY).warnings == ()


# What is wrong is told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"label": "lable"}, r"has no column 'lable' for labels. Did you mean 'label'"),
        ({"id": "order_id"}, r"has no column 'order_id' for labels"),
        ({"table": "outcome"}, r"cannot be read for its table outcome: .*outcome"),
        ({"table": None, "query": "SELEC 1"}, r"cannot be read for its query: .*syntax error"),
        ({"received_at": "revision"}, r"The column 'revision' of the table .* holds 0; expected an instant"),
    ],
)
def test_what_cannot_be_read_is_named(table: TableWorld, given: dict[str, Any], told: str) -> None:
    """With what would have worked, where that is known; nothing is done."""
    logged(table).label(facts(0, 3))

    with pytest.raises(LabelSourceError, match=told):
        table.run(LATER, labels=table.source | given)

    assert table.run(LATER).ledger_version == 1


def test_naive_instants_need_a_zone(tmp_path: Path) -> None:
    """A table is no exception."""
    world = logged(TableWorld(tmp_path, form=FORMS["text of a zone"]))
    world.label(facts(0, 3))

    with pytest.raises(LabelSourceError, match=r"of table outcomes_\w+ have no time zone.*zone: UTC"):
        world.run(LATER, labels=world.source | {"zone": None})


def test_a_database_that_is_not_there_is_named(tmp_path: Path) -> None:
    """SQLite would make an empty one."""
    world = logged(TableWorld(tmp_path))

    with pytest.raises(LabelSourceError, match=r"other\.db cannot be read .* there is no such file"):
        world.run(LATER, labels=world.source | {"url": f"sqlite:///{tmp_path}/other.db"})
    assert not (tmp_path / "other.db").exists()


SECRET: Final = "hunter2-geheim"  # noqa: S105  # of no database


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://reader:${SHOP_PASSWORD}@127.0.0.1:9/shop",
        f"postgresql+psycopg://reader:{SECRET}@127.0.0.1:9/shop",
        "${SHOP_URL}",
        f"nothing+known://reader:{SECRET}@127.0.0.1:9/shop",
        f"postgresql+psycopg://reader:a@{SECRET}@127.0.0.1:9/shop",
        f"postgresql+psycopg://127.0.0.1:9/shop?password={SECRET}",
        f"postgresql+psycopg://reader:a/{SECRET}@127.0.0.1:9/shop",
    ],
)
def test_secrets_are_never_shown(table: TableWorld, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Neither by an error, nor by what caused it, nor by the settings."""
    monkeypatch.setenv("SHOP_PASSWORD", SECRET)
    monkeypatch.setenv("SHOP_URL", f"postgresql+psycopg://reader:{SECRET}@127.0.0.1:9/shop")
    evaluation = table.evaluation(labels={"url": url, "table": "outcomes"})

    with Evaluator(evaluation, environ={}) as evaluator, pytest.raises(LabelSourceError) as raised:
        evaluator.run(as_of=LATER)

    assert "cannot be read for its table outcomes" in str(raised.value)
    chain: list[BaseException | None] = [raised.value, raised.value.__cause__]
    assert SECRET not in "".join(map(repr, [*chain, str(raised.value), evaluation.labels]))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"url": f"reader:{SECRET}@shop", "table": "t"}, r"labels\.url: this is no SQLAlchemy URL.*sqlite:///"),
        ({"url": f"postgresql://reader:{SECRET}@shop/x"}, "labels: found neither of table: and query:"),
        ({"url": f"postgresql://r:{SECRET}@shop/x", "table": "t", "query": "q"}, r"labels\.query: found both"),
        ({"url": "postgresql://r:${NOT_SET}@shop/x", "table": "t"}, "variable NOT_SET is not set"),
        ({"url": f"postgresql://r:{SECRET}@shop/x", "tabel": "t"}, "'tabel' is not known here. Did you mean 'table'"),
        ({"url": f"postgresql://r:{SECRET}@shop/x", "path": "labels"}, "expected one of path:"),
        ({"url": f"postgresql://r:{SECRET}@shop/x", "table": "t", "zone": "Mars"}, r"labels\.zone"),
        ({"table": "outcomes"}, r"expected one of path: .*url:"),
    ],
)
def test_settings_that_cannot_work_are_refused(table: TableWorld, given: dict[str, Any], told: str) -> None:
    """At set-up, with what was expected, and without secrets."""
    with pytest.raises(ConfigurationError, match=told) as raised:
        table.evaluation(labels=given)

    assert SECRET not in str(raised.value)
