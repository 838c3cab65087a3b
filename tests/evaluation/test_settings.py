"""Settings that cannot work are refused at once, with what was found, where, and what would have worked."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import pytest

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.errors import ConfigurationError, EndpointError, InstantError, LedgerMismatchError
from otel_ml_metrics.evaluator import Evaluator
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World

if TYPE_CHECKING:
    from pathlib import Path

LATER: Final = START + 3 * DAY
GOOD: Final = """\
model: flight-delay
predictions: predictions
labels: {path: labels, revision: revision}
ledger: sqlite:///ledger.db
window: 1d
attribution_window: 1d
maturities: [6h]
slices: [carrier]
measures:
  - accuracy
  - {name: missed, unit: USD, sum: "fare * (label & ~prediction)", description: "Not foreseen"}
"""


def test_a_file_says_what_code_says(world: World) -> None:
    """The two twins have the same names and give the same values."""
    world.log([Prediction()])
    world.label([Fact()])
    path = world.folder / "monitoring.yaml"
    path.write_text(GOOD.replace("ledger.db", "other.db"))

    by_code = world.run(LATER, maturities=["6h"], slices=["carrier"], measures=Evaluation.from_file(path).measures)
    with Evaluator(Evaluation.from_file(path), environ={}) as evaluator:
        by_file = evaluator.run(as_of=LATER)

    assert by_file.values == by_code.values
    assert len(by_file.values) == 8


@pytest.mark.parametrize(
    ("right", "wrong", "line", "told"),
    [
        ("window: 1d", "windw: 1d", 5, "'window'"),
        ("window: 1d", "window: 1 day", 5, "6h"),
        ("attribution_window: 1d", "attribution_window: 1h", 7, "at most the attribution window, 1h"),
        ("[carrier]", "[carrier, version]", 8, "under by:"),
        ("[carrier]", "[carrier, revision]", 8, "under another name"),
        ("- accuracy", "- acuracy", 10, "'accuracy'"),
        ("fare * (", "fare * (fare ", 11, ""),
        ("label & ~prediction", "label & ~fare", 11, "fare"),
        ("sum: ", "summ: ", 11, "'sum'"),
        ("unit: USD", "unit: 1", 11, '"1"'),
        ("revision: revision", "revison: revision", 3, "'revision'"),
        ("sqlite:///ledger.db", "mysql://here", 4, "sqlite:///data/ledger.db"),
        ("model: flight-delay", "model: [", 3, "no YAML"),
        ("window: 1d\n", "window: 1d\nwindow: 2d\n", 6, "said twice"),
    ],
)
def test_an_error_names_its_line_and_offers_what_works(
    tmp_path: Path, right: str, wrong: str, line: int, told: str
) -> None:
    """Nobody has to search a file for a typing error."""
    path = tmp_path / "monitoring.yaml"
    path.write_text(GOOD.replace(right, wrong, 1))

    with pytest.raises(ConfigurationError) as raised:
        Evaluation.from_file(path)

    assert f"{path}:{line}:" in str(raised.value)
    assert told in str(raised.value)


@pytest.mark.parametrize("place", ["slices", "measures"])
def test_a_field_that_the_log_lacks_is_refused(world: World, place: str) -> None:
    """The error offers the fields that are there; nothing is done."""
    world.log([Prediction()])
    mean = {"name": "m", "unit": "USD", "mean": "fares", "description": "A typing error"}
    wrong = {"slices": ["fares"]} if place == "slices" else {"measures": [mean]}

    with pytest.raises(ConfigurationError, match=rf"{place}: .*'fares'. Did you mean 'fare'"):
        world.run(LATER, **wrong)

    assert world.run(LATER).ledger_version == 1


def test_the_ledger_of_another_evaluation_is_refused(world: World) -> None:
    """Two evaluations in one ledger would add up to nothing."""
    world.run(LATER)

    with pytest.raises(LedgerMismatchError, match="belongs to the evaluation 'flight-delay/flight-delay', not to 'b'"):
        world.run(LATER, name="b")


@pytest.mark.parametrize(
    "change",
    [
        {"window": "6h"},
        {"window_offset": "1h"},
        {"attribution_window": "2d"},
        {"by": ["version"]},
        {"implicit_negative": {"grace": "1h"}},
        {"provisional": True},
        {"measures": [{"name": "m", "unit": "USD", "sum": "fare * 2", "description": "Twice"}]},
    ],
)
def test_a_changed_definition_is_refused(world: World, change: dict[str, object]) -> None:
    """Old sums would be read as what they are not; the error says what was changed and how to go on."""
    world.run(LATER, measures=[{"name": "m", "unit": "USD", "sum": "fare", "description": "Once"}])

    with pytest.raises(LedgerMismatchError, match="another definition"):
        world.run(LATER, **change)


def test_an_instant_without_a_zone_is_refused(world: World) -> None:
    """It names no moment."""
    with pytest.raises(InstantError, match="no time zone"):
        world.run(datetime(2013, 4, 8))  # noqa: DTZ001  # that is the point


def test_the_ledger_cannot_say_what_is_final_later_than_it_stands(world: World) -> None:
    """A query never advances anything."""
    world.run(LATER)
    with Evaluator(world.evaluation(), environ={}) as evaluator, pytest.raises(InstantError, match="Run up to there"):
        evaluator.as_of(LATER + HOUR)


def test_a_malformed_endpoint_is_refused_before_anything_is_done(world: World) -> None:
    """And no ledger is made."""
    with pytest.raises(EndpointError):
        Evaluator(world.evaluation(), environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost 4318"})

    assert not (world.folder / "ledger.db").exists()
