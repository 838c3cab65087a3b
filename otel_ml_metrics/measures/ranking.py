"""Measures of models that order the rows of a query: how early the relevant ones come.

They are means over queries, and a query is no sum of rows: so they are computed from the rows of a window, like the
exact measures that users bring. Of rows with equal scores the less relevant come first, so that ties gain nothing.
Queries without a relevant row are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from otel_ml_metrics.errors import ConfigurationError
from otel_ml_metrics.measures.exact import Exact
from otel_ml_metrics.measures.measure import Undefined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    PerQuery = Callable[[NDArray[np.float64], int | None], float]

_SOURCE: Final = "Manning, Raghavan and Schütze, Introduction to Information Retrieval (2008), chapter 8"
_DEPTH: Final = 10


def ranked(
    relevance: NDArray[np.float64], score: NDArray[np.float64], query: NDArray[Any]
) -> Iterator[NDArray[np.float64]]:
    """The relevance of each query's rows, the highest scores first; only of queries with a relevant row.

    Args:
        relevance: Shape (n,), 0 for irrelevant; a negative one counts as 0.
        score: Shape (n,).
        query: Shape (n,), which query a row is of.
    """
    _, of = np.unique(query.astype(str), return_inverse=True)
    gains = np.maximum(relevance, 0.0)
    order = np.lexsort((gains, -score, of))
    starts = np.flatnonzero(np.diff(of[order])) + 1
    return (each for each in np.split(gains[order], starts) if each.any())


def _discounted(gains: NDArray[np.float64]) -> float:
    return float((gains / np.log2(np.arange(len(gains)) + 2)).sum())


def ndcg(gains: NDArray[np.float64], k: int | None) -> float:
    """Discounted gain of the first k rows, as a share of that of the best order."""
    return _discounted(gains[:k]) / _discounted(np.sort(gains)[::-1][:k])


def average_precision(gains: NDArray[np.float64], k: int | None) -> float:
    """Mean precision at each relevant row among the first k, over as many as could be there."""
    hits = gains[:k] > 0
    precisions = np.cumsum(hits) / (np.arange(len(hits)) + 1)
    return float(precisions[hits].sum() / min(len(hits), int((gains > 0).sum())))


def hit(gains: NDArray[np.float64], k: int | None) -> float:
    """Whether a relevant row is among the first k."""
    return float((gains[:k] > 0).any())


def reciprocal_rank(gains: NDArray[np.float64], _: int | None) -> float:
    """One over the place of the first relevant row."""
    return 1.0 / (int(np.argmax(gains > 0)) + 1)


@dataclass(frozen=True)
class Ranking:
    """One measure of rankings, as data.

    Args:
        name: Of the measure, before the number of rows that it looks at.
        description: One sentence without an end, which that number follows.
        formula: Of one query.
        source: Where the formula is from.
        per_query: From the relevance of the rows, the highest scores first, to a number from 0 to 1.
        looks_at: How many rows it looks at by default; None if that is no choice.
    """

    name: str
    description: str
    formula: str
    source: str
    per_query: PerQuery
    looks_at: int | None = _DEPTH

    def exact(self, query: str, *, k: int | None = None) -> Exact:
        """The measure over the first `k` rows of each query.

        Raises:
            ConfigurationError: k is no whole number above 0, or the measure takes none.
        """
        if k is not None and (type(k) is not int or k < 1 or self.looks_at is None):
            expected = "nothing: it looks at all rows" if self.looks_at is None else "a whole number above 0"
            message = f"found {k!r}, expected {expected}."
            raise ConfigurationError(message, "k")
        depth = k or self.looks_at
        first = f", among the first {depth} rows" if depth else ""

        def mean(label: NDArray[np.float64], given: NDArray[Any]) -> float | Undefined:
            values = [
                self.per_query(gains, depth) for gains in ranked(label, given[:, 0].astype(np.float64), given[:, 1])
            ]
            return float(np.mean(values)) if values else Undefined("no_positives")

        return Exact(
            name=self.name if k is None else f"{self.name}_{k}",
            unit="1",
            description=f"{self.description}{first}, mean over queries.",
            callable=mean,
            direction="higher",
            of="score",
            query=query,
            source=f"{self.name} of the first {depth}" if depth else self.name,
        )


RANKINGS: Final[Mapping[str, Ranking]] = MappingProxyType(
    {
        each.name: each
        for each in (
            Ranking(
                "ndcg",
                "Discounted gain as a share of that of the best order",
                "sum over places i of relevance_i / log2(i + 1), over the same of the best order",
                "Järvelin and Kekäläinen, Cumulated Gain-Based Evaluation of IR Techniques (2002)",
                ndcg,
            ),
            Ranking(
                "mean_average_precision",
                "Mean precision at each relevant row",
                "sum over relevant places i of precision_i / number of relevant rows that could be there",
                _SOURCE,
                average_precision,
            ),
            Ranking(
                "mean_reciprocal_rank",
                "One over the place of the first relevant row",
                "1 / place of the first relevant row",
                "Voorhees, The TREC-8 Question Answering Track Report (1999)",
                reciprocal_rank,
                looks_at=None,
            ),
            Ranking(
                "hit_rate",
                "Share of the queries with a relevant row",
                "1 if a relevant row is there, else 0",
                _SOURCE,
                hit,
            ),
        )
    }
)
