"""Score bins and histogram buckets put every value where their definition says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml_metrics.binning import BINS, bucket_counts, logit_bins, logit_centres, logit_edges

BOUNDS = st.lists(st.floats(-1e6, 1e6), max_size=12, unique=True).map(sorted)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (0.0, 0),
        (-0.0, 0),
        (5e-324, 0),
        (0.5, 512),
        (np.nextafter(1.0, 0.0), 1_023),
        (1.0, 1_023),
        (np.nextafter(1.0, 2.0), -1),
        (-5e-324, -1),
        (np.nan, -1),
        (np.inf, -1),
        (-np.inf, -1),
    ],
)
def test_edges_of_the_score(score: float, expected: int) -> None:
    """0 and 1 are scores; NaN and what is outside has no bin."""
    assert logit_bins(np.array([score])).tolist() == [expected]


@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_a_score_lies_between_the_edges_of_its_bin(scores: list[float]) -> None:
    """Within a rounding error, and in the same order as the scores."""
    bins, edges = logit_bins(np.array(scores)), logit_edges()

    assert (edges[bins] * (1 - 1e-12) <= scores).all()
    assert (scores <= edges[bins + 1] * (1 + 1e-12)).all()


def test_every_bin_holds_its_centre() -> None:
    """No bin is empty, skipped or doubled."""
    assert logit_bins(logit_centres()).tolist() == list(range(BINS))


def test_long_arrays_are_binned_like_short_ones() -> None:
    """Rows are binned in blocks; the seams leave no trace."""
    scores = np.linspace(0, 1, 40_001)

    assert np.array_equal(logit_bins(scores), np.concatenate([logit_bins(part) for part in np.array_split(scores, 7)]))
    assert (np.diff(logit_bins(scores)) >= 0).all()


def test_no_scores_have_no_bins() -> None:
    """An empty batch is no error."""
    assert logit_bins(np.empty(0)).tolist() == []


@given(values=st.lists(st.floats()), bounds=BOUNDS)
def test_buckets_count_as_opentelemetry_defines_them(values: list[float], bounds: list[float]) -> None:
    """Bucket i is (bounds[i - 1], bounds[i]]; NaN and infinities are counted apart."""
    finite = [value for value in values if np.isfinite(value)]
    edges = [-np.inf, *bounds, np.inf]

    found = bucket_counts(np.array(values), tuple(bounds))

    assert found.counts.tolist() == [
        sum(low < value <= high for value in finite) for low, high in itertools.pairwise(edges)
    ]
    assert (found.count, found.not_finite) == (len(finite), len(values) - len(finite))
    assert (found.lowest, found.highest) == (min(finite, default=None), max(finite, default=None))


def test_the_total_is_that_of_the_finite_values() -> None:
    """One NaN does not poison the sum of a batch."""
    assert bucket_counts(np.array([1.5, np.nan, 2.0, np.inf]), (2.0,)).total == 3.5
