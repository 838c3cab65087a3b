"""Labels that a function gives: asked for what is new, in any tabular form, imported by name where a file names it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import pyarrow as pa
import pytest

from otel_ml_metrics.attribution.inputs import LABEL, Input, LabelPart, Survey
from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.declared_labels import LabelFunction, LabelsFrom
from otel_ml_metrics.errors import ConfigurationError, LabelSourceError
from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation import oracle
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, us
from tests.evaluation.oracle import Settings
from tests.evaluation.test_laws import agree
from tests.labels.material import FunctionWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LATER: Final = START + 3 * DAY
ROWS: Final[list[dict[str, Any]]] = [
    {"prediction_id": "p-0", "label": True, "received_at": START + HOUR},
    {"prediction_id": "p-1", "label": False, "received_at": START + 2 * HOUR},
]
COLUMNS: Final = {name: [row[name] for row in ROWS] for name in ROWS[0]}


@pytest.fixture
def world(tmp_path: Path) -> FunctionWorld:
    """Three logged predictions, and a function that gives labels."""
    world = FunctionWorld(tmp_path)
    world.log([Prediction(id=f"p-{row}") for row in range(3)])
    return world


def test_a_function_is_asked_for_what_is_new(world: FunctionWorld) -> None:
    """Everything at first, then what was received since the last run that had any."""
    world.label([Fact(id="p-0"), Fact(id="p-1", received_at=START + 3 * HOUR)])

    for hours in (2, 4, 6):
        world.run(START + hours * HOUR)

    assert world.calls == [
        (None, START + 2 * HOUR, 1),
        (START + 2 * HOUR, START + 4 * HOUR, 1),
        (START + 4 * HOUR, START + 6 * HOUR, 0),
    ]


class Stream:
    """What Polars and others offer: Arrow's C stream, and nothing else that is known here."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the rows."""
        stream: object = pa.table(COLUMNS).__arrow_c_stream__(requested_schema)  # type: ignore[no-untyped-call]  # theirs
        return stream


@pytest.mark.parametrize(
    "give",
    [
        lambda: ROWS,
        lambda: iter(ROWS),
        lambda: COLUMNS,
        lambda: pa.table(COLUMNS),
        lambda: pa.table(COLUMNS).to_reader(),
        lambda: pa.record_batch(COLUMNS),
        lambda: pd.DataFrame(COLUMNS),
        Stream,
        lambda: ([row] for row in ROWS),
        lambda: [pd.DataFrame(ROWS[:1]), pa.table(COLUMNS).slice(1), None, []],
    ],
    ids=["rows", "generator", "columns", "table", "reader", "batch", "pandas", "stream", "lists", "mixed"],
)
def test_anything_tabular_will_do(world: FunctionWorld, give: Callable[[], object]) -> None:
    """Nobody has to convert what they have."""
    labels = LabelFunction(lambda after, until: give() if after is None or after > until else None)

    assert world.run(LATER, labels=labels).labels["matched"] == 2


@pytest.mark.parametrize("nothing", [None, [], {}, {"prediction_id": []}, pd.DataFrame(), (), iter(())])
def test_nothing_is_nothing(world: FunctionWorld, nothing: object) -> None:
    """Labels come late; until then there is nothing to have columns."""
    report = world.run(LATER, labels=lambda _after, _until: nothing)

    assert (report.labels["matched"], report.warnings) == (0, ())


def test_more_than_was_asked_for_is_not_taken(world: FunctionWorld) -> None:
    """A function that always gives everything is slow, not wrong."""
    world.label([Fact(id="p-0"), Fact(id="p-1", received_at=START + 3 * HOUR)])
    labels = LabelFunction(lambda _after, _until: world.received(None, LATER), revision="revision")

    counts = [world.run(START + hours * HOUR, labels=labels).labels for hours in (1, 2, 3, 4)]

    assert [(each["matched"], each["duplicate"]) for each in counts] == [(1, 0), (1, 0), (2, 0), (2, 0)]


def test_a_backfill_asks_again(world: FunctionWorld) -> None:
    """What the function says now is believed."""
    world.label([Fact(id="p-0"), Fact(id="p-1")])
    world.run(LATER)
    world.facts.clear()
    world.rows.clear()
    world.label([Fact(id="p-0", label=False)])
    with Evaluator(world.evaluation(), environ={}) as evaluator:
        evaluator.backfill(START, START + DAY)
        found = evaluator.as_of(LATER).values

    agree(found, oracle.values(world.predictions, world.facts, Settings(), us(LATER)))


def test_a_failing_function_is_named(world: FunctionWorld) -> None:
    """With what it was asked for and what it said; nothing is done."""

    def shop_labels(_after: datetime | None, _until: datetime) -> object:
        message = "no route to the shop"
        raise OSError(message)

    with pytest.raises(LabelSourceError, match=r"shop_labels failed .*2013-04-11T.*OSError: no route to the shop"):
        world.run(LATER, labels=shop_labels)

    assert world.run(LATER).ledger_version == 1


@pytest.mark.parametrize("given", [7, "yes", [1, 2], {"prediction_id": ["p-0"], "label": [True, False]}])
def test_what_is_not_tabular_is_refused(world: FunctionWorld, given: object) -> None:
    """The error says what would be."""
    with pytest.raises(LabelSourceError, match=r"failed when .*(expected an Arrow, pandas|different lengths)"):
        world.run(LATER, labels=lambda _after, _until: given)


def test_a_column_that_is_missing_is_named(world: FunctionWorld) -> None:
    """As with files."""
    rows = [{"prediction_id": "p-0", "late": True, "received_at": START}]

    with pytest.raises(LabelSourceError, match=r"function .* has no column 'label' for labels.*late"):
        world.run(LATER, labels=lambda _after, _until: rows)


MONITORING: Final = """\
model: flight-delay
predictions: predictions
labels: {function: "FUNCTION"}
ledger: sqlite:///ledger.db
attribution_window: 1d
measures: [accuracy]
"""


def said_in_a_file(folder: Path, function: str) -> Path:
    """A monitoring.yaml that names a function."""
    path = folder / "monitoring.yaml"
    path.write_text(MONITORING.replace("FUNCTION", function))
    return path


def test_a_file_names_a_function(world: FunctionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is imported from where Python finds modules."""
    module = f"import datetime\n\ndef received(after, until):\n    return {ROWS!r}\n"
    (world.folder / "shop_outcomes.py").write_text(module)
    monkeypatch.syspath_prepend(str(world.folder))
    evaluation = Evaluation.from_file(said_in_a_file(world.folder, "shop_outcomes:received"))

    with Evaluator(evaluation, environ={}) as evaluator:
        report = evaluator.run(as_of=LATER)

    assert report.labels["matched"] == 2


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("no_such_shop:received", "there is no module 'no_such_shop'. Install it, or put .* on PYTHONPATH"),
        ("shop_parts:recieved", "shop_parts has no 'recieved'. Did you mean 'received'"),
        ("shop_parts:VERSION", "expected a function under that name, not a value of type int"),
        ("shop_parts", "expected package.module:name"),
        ("shop_broken:received", "ZeroDivisionError: division by zero. Mend shop_broken"),
        ("os.system('ls')", "expected package.module:name"),
    ],
)
def test_a_function_that_cannot_be_imported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, told: str
) -> None:
    """At set-up, with the line and what is missing; a name is never evaluated."""
    (tmp_path / "shop_parts.py").write_text("VERSION = 1\n\ndef received(after, until):\n    return []\n")
    (tmp_path / "shop_broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(ConfigurationError, match=told) as raised:
        Evaluation.from_file(said_in_a_file(tmp_path, function))

    assert "monitoring.yaml:3: labels.function:" in str(raised.value)


class OwnSource:
    """A source as a user may write it: one part, read once."""

    def survey(self, known: Mapping[str, Input], *, as_of_us: int) -> Survey:
        """Everything, at first."""
        assert as_of_us == us(LATER)
        if "own" in known:
            return Survey()
        return Survey([LabelPart(Input(LABEL, "own"), "my source", "table", table=pa.table(COLUMNS))])

    def again(self, known: Mapping[str, Input], *, since_us: int, until_us: int) -> Survey:
        """Nothing."""
        assert known
        assert since_us <= until_us
        return Survey()


@pytest.mark.parametrize("wrap", [lambda source: source, lambda source: {"source": source}, LabelsFrom])
def test_a_source_of_ones_own_is_used_as_it_is(
    world: FunctionWorld, wrap: Callable[[OwnSource], Mapping[str, object]]
) -> None:
    """Whatever says what there is to read can be read."""
    counts = [world.run(LATER, labels=wrap(OwnSource())).labels["matched"] for _ in range(2)]

    assert counts == [2, 2]


def test_what_is_no_source_is_refused(world: FunctionWorld) -> None:
    """The error names what it lacks."""
    with pytest.raises(ConfigurationError, match=r"labels\.source: .*survey is missing"):
        world.evaluation(labels={"source": datetime(2013, 4, 8, tzinfo=UTC)})
