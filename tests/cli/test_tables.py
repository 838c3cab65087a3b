"""Tables for people: what stands where, whatever the width."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from otel_ml_metrics.console.tables import show_values
from otel_ml_metrics.evaluation_report import Value

START = datetime(2013, 4, 1, tzinfo=UTC)
CHAMPION = {"version": "1", "variant": "champion"}
CHALLENGER = {"version": "2", "variant": "challenger"}


def value(measure: str, number: float, **changes: Any) -> Value:
    """A value of the champion's first day."""
    facts: dict[str, Any] = {
        "lower": None,
        "upper": None,
        "certificate": None,
        "unit": "1",
        "support": 480,
        "coverage": 0.975,
        "window_start": START,
        "window_end": START + timedelta(days=1),
        "maturity": "1d",
        "stage": "final",
        "model": "flight-delay",
        "slice": {},
    }
    return Value(measure=measure, value=number, **(facts | CHAMPION | changes))


def shown(values: list[Value], *, width: int = 120) -> list[str]:
    """The lines that a terminal of this width shows, without spaces around."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    show_values(console, values, title="Flights")
    written = console.file
    assert isinstance(written, io.StringIO)
    return [line.strip() for line in written.getvalue().splitlines() if line.strip()]


def test_variants_stand_side_by_side() -> None:
    """Champion and challenger are compared in one cell, the champion first."""
    lines = shown([value("accuracy", 0.7, **CHALLENGER), value("accuracy", 0.8)])

    assert lines[0] == "Flights: champion | challenger"
    assert lines[-1].split(maxsplit=2) == ["2013-04-01", "1d", "0.800 | 0.700  97.5% | 97.5%  480 | 480"]


def test_variants_stand_below_each_other_where_the_terminal_is_narrow() -> None:
    """Nothing is cut off: a number without its end is a wrong number."""
    challenger = [value(measure, 0.7, **CHALLENGER) for measure in ("accuracy", "recall")]
    champion = [value(measure, 0.8) for measure in ("accuracy", "recall")]

    lines = shown([*challenger, *champion], width=70)

    assert [line.split()[2:4] for line in lines[-2:]] == [["champion", "0.800"], ["challenger", "0.700"]]
    assert "…" not in "".join(lines)


def test_measures_that_do_not_fit_get_a_table_of_their_own() -> None:
    """As many as fit stand together, and every one is there."""
    lines = shown([value(f"measure{at}", at / 10) for at in range(10)], width=80)

    assert [f"0.{at}00" in "".join(lines) for at in range(10)] == [True] * 10
    assert "…" not in "".join(lines)


def test_an_undefined_value_leaves_a_dash() -> None:
    """Undefined is neither 0 nor NaN, and the rest of its line stands."""
    lines = shown([value("accuracy", 0.8), value("recall", 0.5), value("accuracy", 0.7, **CHALLENGER)])

    assert "0.500 | -" in lines[-1]


def test_ages_are_in_their_order() -> None:
    """6 hours come before a day, whatever the alphabet says."""
    lines = shown([value("accuracy", 0.8, maturity=maturity) for maturity in ("1d", "6h", "10d", "2d")])

    assert [line.split()[1] for line in lines[-4:]] == ["6h", "1d", "2d", "10d"]


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (START, timedelta(days=1), "2013-04-01 "),
        (START, timedelta(hours=1), "2013-04-01 00:00Z +1:00:00 "),
        (START + timedelta(hours=6), timedelta(days=1), "2013-04-01 06:00Z +1 day, 0:00:00 "),
    ],
)
def test_a_window_is_named_by_its_day_where_it_is_one(start: datetime, length: timedelta, expected: str) -> None:
    """A date is enough for a day in UTC; any other window says where it starts and how long it is."""
    lines = shown([value("accuracy", 0.8, window_start=start, window_end=start + length)])

    assert lines[-1].startswith(expected)


def test_arms_of_one_variant_are_told_apart_by_version() -> None:
    """A roll-out has two versions under one variant."""
    lines = shown([value("accuracy", 0.8), value("accuracy", 0.7, version="2")])

    assert lines[0] == "Flights: 1 | 2"


def test_a_unit_stands_under_its_measure() -> None:
    """Money is read with its currency; fractions and counts need no word."""
    lines = shown([value("missed_refunds", 14_060.4, unit="USD"), value("log_loss", 0.5, unit="{nat}")])

    assert "USD" in "".join(lines)
    assert "nat" not in "".join(lines)
    assert "14,060" in lines[-1]
