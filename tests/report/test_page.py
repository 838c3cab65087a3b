"""What the page says, and what it says where there is nothing to show."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from otel_ml_metrics.report.chapter import Chapter
from otel_ml_metrics.report.slices import harms
from otel_ml_metrics.survey import survey
from tests.evaluation.material import START, Fact, Prediction, World
from tests.report.conftest import GIVEN, HOSTILE, page, surveyed

if TYPE_CHECKING:
    from pathlib import Path


class Tags(HTMLParser):
    """Collects the tags and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        if data.strip():
            self.texts.append(data.strip())


def test_hostile_names_are_texts(served: World) -> None:
    """A slice that is named like a script is written, not run."""
    found = Tags(page(surveyed(served)))

    assert "script" not in {tag for tag, _ in found.tags}
    assert f"carrier={HOSTILE}" in found.texts


def test_nothing_is_loaded_from_elsewhere(served: World) -> None:
    """One file: no reference leaves it, and its own policy forbids to."""
    found = Tags(page(surveyed(served)))

    references = [value for _, attrs in found.tags for name, value in attrs.items() if name in {"src", "href"}]
    assert references
    assert {reference[:5] for reference in references if reference and reference[0] != "#"} == {"data:"}
    assert any("default-src 'none'" in (attrs.get("content") or "") for _, attrs in found.tags)


def test_every_section_has_its_picture_and_its_table(served: World) -> None:
    """Values, curves, slices, arms and delays are drawn, each with the numbers beside it."""
    found = Tags(page(surveyed(served)))

    names = {attrs["aria-label"] for tag, attrs in found.tags if tag == "svg"}
    assert {
        "accuracy over windows, with its coverage",
        "Reliability: share of positives by mean score",
        "ROC curve: true positive rate by false positive rate",
        "Scores of positives and negatives",
        "champion: accuracy: the slices that do most harm",
        "challenger against champion",
        "Label delay: share of labels by the time they took",
    } <= names
    captions = {text for text in found.texts if "slices by harm" in text}
    assert "champion: accuracy: slices by harm" in captions


def test_an_age_that_is_not_reached_says_when_it_will_be(served: World) -> None:
    """The triangle's empty half is not silence."""
    texts = Tags(page(surveyed(served))).texts

    assert "not final yet" in texts
    assert "at 2013-04-13 00:00Z" in texts


def test_the_worst_slice_is_the_one_with_the_worst_labels(served: World) -> None:
    """Harm ranks it first, and its interval tells it from chance."""
    found = surveyed(served)
    chapter = Chapter.of(found, None, 1)
    accuracy = next(measure for measure in chapter.measures if measure.name == "accuracy")

    ranked = harms(chapter, accuracy, (None, "champion"))

    assert [(harm.name, harm.is_clear) for harm in ranked] == [(f"carrier={HOSTILE}", True)]


def test_an_undefined_value_says_why(world: World) -> None:
    """It is neither 0 nor missing."""
    world.log([Prediction(prediction=False, score=0.1)])
    world.label([Fact(label=False)])

    texts = Tags(page(surveyed(world, measures=["accuracy", "recall"]))).texts

    assert "undefined" in texts
    assert "no positives" in texts


@pytest.mark.parametrize("is_there", [False, True])
def test_an_empty_ledger_is_told(world: World, *, is_there: bool) -> None:
    """Before the first run, and after one that found nothing, the page says what to do."""
    (world.folder / "predictions").mkdir()
    (world.folder / "labels").mkdir()
    found = surveyed(world) if is_there else survey(world.evaluation(**GIVEN))

    text = page(found)

    assert ("No prediction has been read yet" if is_there else "The ledger is empty or not there yet") in text
    assert "<svg" not in text


def test_one_window_is_enough(world: World) -> None:
    """Dots stand where lines need more."""
    world.log([Prediction(id=str(at), score=at / 10, prediction=at > 4) for at in range(10)])
    world.label([Fact(id=str(at), label=at > 3) for at in range(10)])

    text = page(surveyed(world))

    assert "accuracy over windows, with its coverage" in text
    assert "One version and variant served" in text


def test_a_regression_has_no_curves_and_says_so(tmp_path: Path) -> None:
    """What is not made for a task is told, not left out."""
    world = World(tmp_path, task="regression")
    world.log([Prediction(id=str(at), prediction=float(at), score=None) for at in range(9)])
    world.label([Fact(id=str(at), label=at + 0.5) for at in range(9)])
    given = GIVEN | {"task": "regression", "measures": ["mean_absolute_error", "mean_error"]}
    world.run(START.replace(day=20), **given)

    text = page(survey(world.evaluation(**given)))

    assert "this one is regression" in text
    assert "mean absolute error over windows, with its coverage" in text


def test_missing_sums_say_which_measure_brings_them(served: World) -> None:
    """A reliability diagram needs what only some measures add up."""
    text = page(surveyed(served, measures=["accuracy"]))

    assert "Add expected_calibration_error" in text
    assert "Add roc_auc" in text


def test_exact_measures_are_drawn_without_intervals(served: World) -> None:
    """They have values by window, and windows of them do not add up."""
    exact = {
        "name": "mine", "exact": "sklearn.metrics:roc_auc_score", "unit": "1", "description": "Of scikit-learn",
    }  # fmt: skip

    text = page(surveyed(served, measures=["accuracy", exact]))

    assert "mine over windows, with its coverage" in text
    assert "exact: windows do not add up" in text


def test_the_same_ledger_gives_the_same_page(served: World) -> None:
    """A page that is written twice can be compared."""
    surveyed(served)

    first, second = (page(survey(served.evaluation(**GIVEN))) for _ in range(2))

    assert first == second


def test_headings_go_down_by_one(served: World) -> None:
    """Who jumps from heading to heading misses none."""
    found = Tags(page(surveyed(served)))

    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
