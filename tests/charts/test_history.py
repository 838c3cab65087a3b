"""The picture of one measure over windows."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from xml.etree import ElementTree as ET

from otel_ml_metrics.charts.history import draw_history
from otel_ml_metrics.charts.palette import ARMS
from otel_ml_metrics.evaluation_report import Value

FIRST: Final = datetime(2013, 4, 1, tzinfo=UTC)


def value(day: int, **facts: Any) -> Value:
    """One value of a measure, `day` days after the first window."""
    start = FIRST + timedelta(days=day)
    defaults: dict[str, Any] = {
        "measure": "roc_auc", "value": 0.8 + day / 100, "lower": 0.75, "upper": 0.9, "certificate": None,
        "unit": "{score}", "support": 900, "coverage": 0.97, "window_start": start,
        "window_end": start + timedelta(days=1), "maturity": "3d", "stage": "final", "model": "late", "version": None,
        "variant": None, "slice": {},
    }  # fmt: skip
    return Value(**defaults | facts)


def drawn(svg: str) -> ET.Element:
    """The picture, read as XML."""
    return ET.fromstring(svg)  # noqa: S314  drawn by this test


def strokes(svg: str, at: int) -> list[str]:
    """Paths of the lines in the colour of an arm."""
    colour = re.escape(ARMS[at].css)
    found = (path for path in drawn(svg).findall(".//{*}path") if re.search(f"stroke: {colour}", path.get("style", "")))
    return [path.attrib["d"] for path in found]


def test_a_picture_has_a_name_and_says_in_words_what_it_shows() -> None:
    """Who cannot see it learns the newest value, its interval, support, coverage and maturity."""
    picture = drawn(draw_history([value(0), value(1)], caption="ROC AUC"))

    assert (picture.get("role"), picture.get("aria-label")) == ("img", "ROC AUC")
    assert picture.findtext("{*}title") == "ROC AUC"
    assert picture.findtext("{*}desc") == (
        "2 windows; in the newest, 2013-04-02 at 3d, 0.810, 95 % interval 0.750 to 0.900, support 900,"
        " coverage 97.0%, final."
    )


def test_every_colour_is_a_variable_with_a_dark_twin() -> None:
    """Nothing is drawn in a colour that dark would not change."""
    svg = draw_history([value(0), value(1), value(1, variant="b"), value(2, stage="provisional")])

    painted = re.findall(r"(?:fill|stroke): ([^;\"]+)", svg)
    assert painted
    assert {colour for colour in painted if not colour.startswith("var(--") and colour != "none"} == set()
    assert "@media (prefers-color-scheme:dark)" in svg


def test_a_line_is_broken_where_windows_are_missing() -> None:
    """Nobody knows what was between them, so nothing is drawn there."""
    whole = draw_history([value(day) for day in range(6)])
    broken = draw_history([value(day) for day in (0, 1, 2, 4, 5)])

    assert strokes(whole, 0)[0].count("M") == 1
    assert strokes(broken, 0)[0].count("M") == 2


def test_no_line_leads_to_a_provisional_value() -> None:
    """It is a hollow dot: its window may yet say something else."""
    final = [value(0), value(1)]

    line = strokes(draw_history([*final, value(2, stage="provisional")]), 0)[0]

    assert line.count("L") == len(final) - 1


def test_versions_and_variants_are_drawn_apart_and_named() -> None:
    """Each has a line of its own, and a legend says which is which."""
    svg = draw_history([value(day, variant=arm) for day in (0, 1) for arm in ("champion", "challenger")])

    texts = ["".join(text.itertext()) for text in drawn(svg).findall(".//{*}text")]
    assert [text for text in texts if text.startswith("ch")] == ["champion", "challenger"]
    assert strokes(svg, 0)
    assert strokes(svg, 1)


def test_names_are_text_and_nothing_else() -> None:
    """A variant that is named like markup or a formula is written as it is named."""
    names = ["<script>alert(1)</script>", "$x^2$"]

    svg = draw_history([value(day, variant=name) for day in (0, 1) for name in names], caption="</svg><b>")

    texts = ["".join(text.itertext()) for text in drawn(svg).findall(".//{*}text")]
    assert {*names, "</svg><b>"} <= set(texts)
    assert drawn(svg).find(".//{*}script") is None


def test_no_value_at_all_is_said() -> None:
    """An empty ledger has a picture, too."""
    assert "No value yet" in draw_history([])


def test_one_window_alone_has_a_dot_and_its_interval() -> None:
    """A line needs two windows, and a value does not."""
    bars = [path for path in strokes(draw_history([value(0)]), 0) if path.count("L") == 1]

    (x, low), (same_x, high) = next(
        [(point[0], point[1]) for point in pairs]
        for pairs in (re.findall(r"([\d.]+) ([\d.]+)", path) for path in bars)
        if pairs[0] != pairs[1]
    )
    assert x == same_x
    assert float(low) > float(high)


def test_one_tiny_window_does_not_flatten_all_others() -> None:
    """The scale is that of nearly all intervals; one that says nothing is cut."""
    steady = [value(day, value=0.8 + day % 2 / 100, lower=0.79, upper=0.82) for day in range(100)]

    svg = draw_history([*steady, value(100, value=0.8, lower=0.0, upper=1.0)])

    told = [float(text) for text in re.findall(r">(0\.\d+)</text>", svg)]
    assert min(told) > 0.75
    assert max(told) < 0.9


def test_the_same_values_give_the_same_picture_in_any_order() -> None:
    """A report that is written twice is the same file."""
    values = [value(day, variant=arm) for day in range(3) for arm in ("a", "b")]

    assert draw_history(values) == draw_history(values[::-1])
