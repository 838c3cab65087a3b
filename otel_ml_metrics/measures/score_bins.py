"""Ways to bin a score, for measures over the whole curve.

The bins that are computed when a prediction is logged serve most models. Where positives are very rare, four times as
many of them tell the highest scores apart; and scores that are no probabilities get edges that the user gives. Both are
computed from the score by operations that every engine rounds alike, so counts agree; cells of two schemes never meet,
because the name of the scheme is in the key of their sums.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from otel_ml_metrics.binning import LIMIT, SCHEME
from otel_ml_metrics.errors import ConfigurationError, suggest
from otel_ml_metrics.expressions import Expression, added, col, floor, present, sqrt, where
from otel_ml_metrics.measures.adapted import with_states
from otel_ml_metrics.measures.sums import SCORE_BINS, Binned, Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from otel_ml_metrics.measures.measure import Measure
    from otel_ml_metrics.measures.totals import State

EDGES_AT_MOST: Final = 200
FINE_BINS: Final = 4_096
_SCORE: Final = col("score")
_ROOTS: Final = 5
_HALVINGS: Final = 80
_OUTERMOST: Final = 1 / (1 + math.exp(-LIMIT))


@dataclass(frozen=True, eq=False)
class ScoreBins:
    """A scheme of score bins.

    Args:
        grid: Numbers them, ascending with the score.
        usable: Rows that have a bin.
        of_probabilities: Whether only probabilities have one.
    """

    grid: Grid
    usable: Expression
    of_probabilities: bool = True

    @property
    def name(self) -> str:
        """Of the scheme."""
        return self.grid.name.partition(":")[2]


def _fine_place() -> Expression:
    """Bins even in p^(1/32) - (1 - p)^(1/32), within log-odds of ±16; the outermost take what is beyond.

    That is about even in log-odds: 0.006 wide at 0.5, 0.010 at the ends. Logarithms would make it exact, but they are
    not the same on every engine, and square roots are.
    """
    roots = [_SCORE, 1 - _SCORE]
    for _ in range(_ROOTS):
        roots = [sqrt(root) for root in roots]
    inside = floor((roots[0] - roots[1]) * (FINE_BINS / 2 / float(_fine_position(_OUTERMOST))) + FINE_BINS / 2)
    beyond = where(_SCORE < 0.5, where(_SCORE < 0, -1, 0), where(_SCORE > 1, -1, FINE_BINS - 1))  # noqa: PLR2004  the middle
    return where(abs(_SCORE - 0.5) < _OUTERMOST - 0.5, inside, beyond)


def _fine_position(score: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(score ** (1 / 2**_ROOTS) - (1 - score) ** (1 / 2**_ROOTS))


def _fine_edges() -> NDArray[np.float64]:
    """The lowest score of each bin, within a rounding error, by bisection: the position rises with the score."""
    positions = np.arange(1 - FINE_BINS // 2, FINE_BINS // 2) * (float(_fine_position(_OUTERMOST)) / (FINE_BINS // 2))
    low, high = np.zeros_like(positions), np.ones_like(positions)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_below = _fine_position(middle) < positions
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return np.append(0.0, high)


_PROBABILITY: Final = (_SCORE >= 0) & (_SCORE <= 1)
LOGGED: Final = ScoreBins(SCORE_BINS, SCORE_BINS.condition)
FINE: Final = ScoreBins(Grid("score_bin:logit4096", _fine_place(), FINE_BINS, _fine_edges), _PROBABILITY)
NAMED: Final[Mapping[str, ScoreBins]] = MappingProxyType({SCHEME: LOGGED, FINE.name: FINE})


def score_bins(found: object) -> ScoreBins:
    """The scheme of a name, or of edges.

    Args:
        found: `logit1024`, which is logged; `logit4096`; or a list of 1 to 200 rising numbers, the lowest score of each
            bin but the first, whose scores may be any numbers.

    Raises:
        ConfigurationError: It is neither.

    >>> score_bins([300, 580, 720]).name
    'edges[300, 580, 720]'
    """
    if isinstance(found, str):
        if found not in NAMED:
            message = f"{found!r} are no bins. {suggest(found, NAMED)} Or list their edges, such as [300, 580, 720]."
            raise ConfigurationError(message, "bins")
        return NAMED[found]
    edges = list(found) if isinstance(found, Sequence) else []
    if not _are_rising(edges):
        message = f"found {found!r}, expected {' or '.join(NAMED)}, or 1 to {EDGES_AT_MOST} rising numbers."
        raise ConfigurationError(message, "bins")
    numbers = tuple(map(float, edges))
    place = added([(edge <= _SCORE) * 1 for edge in numbers])
    listed = ", ".join(repr(int(edge) if edge.is_integer() else edge) for edge in numbers)
    grid = Grid(f"score_bin:edges[{listed}]", place, len(numbers) + 1, lambda: np.array([-np.inf, *numbers]))
    return ScoreBins(grid, present(_SCORE), of_probabilities=False)


def _are_rising(edges: Sequence[object]) -> bool:
    numbers = [each for each in edges if isinstance(each, (int, float)) and not isinstance(each, bool)]
    if not 0 < len(numbers) == len(edges) <= EDGES_AT_MOST or not all(map(math.isfinite, numbers)):
        return False
    return all(low < high for low, high in pairwise(numbers))


def bins_scores(measure: Measure) -> bool:
    """Whether a measure is made of counts per bin that is logged."""
    return any(isinstance(state, Binned) and state.grid.name == SCORE_BINS.name for state in measure.states)


def rebinned(measure: Measure, bins: ScoreBins) -> Measure:
    """The measure over other score bins; its certificate is that of those.

    Raises:
        ConfigurationError: It does not bin scores, or takes them for probabilities where they may be anything.
    """
    if not bins_scores(measure):
        message = f"{measure.name!r} does not bin scores. Leave it out."
        raise ConfigurationError(message, "bins")
    if bins is LOGGED:
        return measure
    if not bins.of_probabilities and any(_reads_probabilities(state) for state in measure.states):
        message = f"{measure.name!r} takes scores for probabilities, whose bins are {' or '.join(NAMED)}."
        raise ConfigurationError(message, "bins")
    made = with_states(measure, {state: _over(state, bins) for state in measure.states})
    return replace(made, formula=f"{measure.formula}, bins {bins.name}")


def _reads_probabilities(state: State) -> bool:
    return isinstance(state, Binned) and state.summed.expression.same_as(_SCORE)


def _over(state: State, bins: ScoreBins) -> State:
    if isinstance(state, Binned):
        return replace(state, grid=bins.grid) if state.grid.name == SCORE_BINS.name else state
    return state.over({"score_bin": where(bins.usable, 0, -1)})  # a plain sum only asks whether there is a bin
