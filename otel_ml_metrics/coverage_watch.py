"""Early warning: whether the labels of windows that are still open come in as those of complete windows did."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from otel_ml_metrics.attribution.calendar import Calendar
from otel_ml_metrics.attribution.tables import sums_over_all
from otel_ml_metrics.emission import CLOSED_WINDOWS
from otel_ml_metrics.engines.delta_statements import EXPLICIT, PREDICTIONS
from otel_ml_metrics.instants import SECOND_US, from_us
from otel_ml_metrics.ledger.store import Ledger, schema_of
from otel_ml_metrics.semconv import LABEL_DELAY_BOUNDS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.ledger.reader import LedgerReader

TOLERANCE: Final = 0.8
"""Share of the expected labels below which a window lags."""

CHANCE: Final = 3.0
"""Standard deviations of a count by which a window falls short before that is no chance."""

_STEPS: Final = 96
"""Instants of a window at which the age of its predictions is taken."""


@dataclass(frozen=True, kw_only=True)
class OpenWindow:
    """A window whose labels are still coming in.

    Args:
        start: Of the window, by prediction time.
        end: Its end, not included.
        predictions: Logged so far.
        labelled: Those with a label.
        expected: How many of them were labelled by now if labels came as those of complete windows did.
        lags: Whether they come in clearly slower.
    """

    start: datetime
    end: datetime
    predictions: int
    labelled: int
    expected: float
    lags: bool


@dataclass(frozen=True, kw_only=True)
class Watch:
    """The open windows of an evaluation.

    Args:
        as_of: Where the ledger stands; None where there is none yet.
        windows: The open ones that have predictions, oldest first; empty where nothing is known to compare them with.
        complete: How many complete windows they are compared with.
    """

    as_of: datetime | None = None
    windows: tuple[OpenWindow, ...] = ()
    complete: int = 0

    @property
    def lagging(self) -> tuple[OpenWindow, ...]:
        """The windows whose labels come in clearly slower than expected."""
        return tuple(window for window in self.windows if window.lags)


def watch(evaluation: Evaluation, *, tolerance: float = TOLERANCE) -> Watch:
    """Compare the labels of open windows with what complete windows and the delays of labels let one expect.

    Reads the ledger as it stands: labels that no run has taken yet are not there. Predictions count as spread evenly
    over a window, up to where the ledger stands, and delays over each bucket of their histogram: that is as exact as an
    early warning has to be.

    Args:
        evaluation: Whose ledger; it is not changed.
        tolerance: Share of the expected labels, above 0 and at most 1, below which a window lags.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    if schema_of(evaluation.ledger) is None:
        return Watch()
    calendar = Calendar.of(evaluation)
    with closing(Ledger.of(evaluation)) as ledger, ledger.snapshot() as seen:
        head = seen.head()
        if head.as_of_us is None:
            return Watch()
        complete, still_open = _counts(calendar, seen, as_of_us=head.as_of_us)
    arrivals = Arrivals.of(head.totals.get("delays", {}), complete.values(), calendar.maturities[-1].us)
    found = Watch(as_of=from_us(head.as_of_us), complete=len(complete))
    if arrivals is None:
        return found
    windows = (
        _open_window(calendar, window, counts, arrivals, as_of_us=head.as_of_us, tolerance=tolerance)
        for window, counts in still_open.items()
        if counts.predictions
    )
    return replace(found, windows=tuple(windows))


@dataclass(frozen=True)
class Counts:
    """Of one window.

    Args:
        predictions: Logged so far.
        labelled: Those with an explicit label.
    """

    predictions: int
    labelled: int


@dataclass(frozen=True)
class Arrivals:
    """How labels come in: which share of all predictions has one at an age.

    Args:
        ages: Shape (n,), seconds, ascending from 0.
        shares: Shape (n,), ascending from 0; what lies between two ages is interpolated, and nothing comes after.
    """

    ages: NDArray[np.float64]
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, delays: Mapping[str, Sequence[int]], complete: Collection[Counts], horizon_us: int) -> Arrivals | None:
        """What the ledger knows of them; None where there is no label, or no complete window with predictions.

        Args:
            delays: Labels per bucket of their delay, and their sum, by version and variant.
            complete: Of the complete windows.
            horizon_us: Age from which on no label counts.
        """
        buckets = np.sum([counts[:-1] for counts in delays.values()], axis=0) if delays else np.zeros(1)
        predictions = sum(counts.predictions for counts in complete)
        if not predictions or not buckets.sum():
            return None
        last = max(horizon_us / SECOND_US, LABEL_DELAY_BOUNDS[-1] + 1)
        ages = np.array([0.0, *LABEL_DELAY_BOUNDS, last])
        arrived = np.concatenate([[0.0], np.cumsum(buckets)]) / buckets.sum()
        return cls(ages, arrived * sum(counts.labelled for counts in complete) / predictions)

    def among(self, ages: NDArray[np.float64]) -> float:
        """Mean share of labelled ones among predictions of these ages in seconds."""
        return float(np.interp(ages, self.ages, self.shares).mean())


def _counts(calendar: Calendar, ledger: LedgerReader, *, as_of_us: int) -> tuple[dict[int, Counts], dict[int, Counts]]:
    """The newest complete windows and the open ones, by start and ascending, over all versions and slices."""
    tiles: dict[int, list[int]] = {}
    for tile in ledger.tiles():
        tiles.setdefault(calendar.window_of(tile), []).append(tile)
    until_us = as_of_us - calendar.maturities[-1].us
    complete = [window for window in tiles if calendar.end_of(window) <= until_us][-CLOSED_WINDOWS:]
    still_open = [window for window in tiles if calendar.end_of(window) > until_us]

    def count(window: int) -> Counts:
        sums = sums_over_all(ledger.states(tiles[window]), (PREDICTIONS, EXPLICIT))
        return Counts(sums.get(PREDICTIONS, 0), sums.get(EXPLICIT, 0))

    return {window: count(window) for window in complete}, {window: count(window) for window in still_open}


def _open_window(
    calendar: Calendar, window: int, counts: Counts, arrivals: Arrivals, *, as_of_us: int, tolerance: float
) -> OpenWindow:
    end = calendar.end_of(window)
    made = np.linspace(window, min(end, max(as_of_us, window)), 2 * _STEPS + 1)[1::2]
    expected = counts.predictions * arrivals.among((as_of_us - made) / SECOND_US)
    return OpenWindow(
        start=from_us(window),
        end=from_us(end),
        predictions=counts.predictions,
        labelled=counts.labelled,
        expected=expected,
        lags=counts.labelled < tolerance * expected and expected - counts.labelled > CHANCE * math.sqrt(expected),
    )
