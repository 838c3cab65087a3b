"""Intervals against their definitions, written out naively."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ml_metrics.measures import intervals

COUNTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=8)


@given(trials=st.integers(1, 10_000), share=st.floats(0, 1))
def test_proportions_get_wilson_intervals(trials: int, share: float) -> None:
    """By definition, the observed share lies 1.96 standard errors of either end away from that end."""
    hits = round(trials * share)

    for end in intervals.wilson(hits, trials):
        assert abs(end - hits / trials) == pytest.approx(intervals.Z * np.sqrt(end * (1 - end) / trials), abs=1e-7)


@settings(max_examples=50)
@given(counts=COUNTS.filter(lambda counts: min(sum(p for p, _ in counts), sum(n for _, n in counts)) >= 2))
def test_the_area_gets_delongs_interval(counts: list[tuple[int, int]]) -> None:
    """Placements of every single row, as in the paper, give the interval that the counts give."""
    positives, negatives = np.array(counts).T
    above, below = np.repeat(np.arange(len(counts)), positives), np.repeat(np.arange(len(counts)), negatives)
    wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    variance = wins.mean(axis=1).var(ddof=1) / len(above) + wins.mean(axis=0).var(ddof=1) / len(below)

    found = intervals.delong(positives, negatives)

    assert intervals.area_under_curve(positives, negatives) == pytest.approx(wins.mean())
    if variance < 1e-12:
        assert found is None or found == pytest.approx((wins.mean(), wins.mean()), abs=1e-5)
    else:
        half = 1.959963984540054 * np.sqrt(variance)
        assert found == pytest.approx((wins.mean() - half, wins.mean() + half))


def test_classes_that_do_not_overlap_have_no_interval() -> None:
    """No spread is no knowledge: a perfect separation says nothing about its own uncertainty."""
    assert intervals.delong(np.array([0, 5]), np.array([5, 0])) is None


@pytest.mark.parametrize(("positives", "negatives"), [([1, 0], [3, 2]), ([2, 2], [0, 1])])
def test_a_single_row_of_a_class_has_no_interval(positives: list[int], negatives: list[int]) -> None:
    """One row shows no spread."""
    assert intervals.delong(np.array(positives), np.array(negatives)) is None


def test_a_mean_gets_the_normal_interval() -> None:
    """From the sums alone, equal to the textbook's."""
    values = np.array([1.0, 2.0, 4.0, 8.0])
    half = 1.959963984540054 * values.std(ddof=1) / 2

    found = intervals.mean(values.sum(), (values**2).sum(), 4)

    assert found == pytest.approx((values.mean() - half, values.mean() + half))


def test_the_mean_of_one_row_has_no_interval() -> None:
    """One row shows no spread."""
    assert intervals.mean(3.0, 9.0, 1) is None


def test_large_counts_do_not_overflow() -> None:
    """A billion rows of either class in every bin."""
    counts = np.full(1_024, 10**9)

    assert intervals.area_under_curve(counts, counts) == pytest.approx(0.5)
    assert intervals.delong(counts, counts) is not None
    assert intervals.binning_error(counts, counts) == pytest.approx(0.5 / 1_024)
