"""Other bins than those of the log: fine ones for rare events, and edges for scores that are no probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest
from sklearn import metrics

from otel_ml_metrics.declared_measures import measures
from otel_ml_metrics.errors import ConfigurationError, LedgerMismatchError
from otel_ml_metrics.measures.measure import totals_of
from otel_ml_metrics.measures.score_bins import FINE, LOGGED, ScoreBins, rebinned, score_bins
from otel_ml_metrics.measures.table import MEASURES
from otel_ml_metrics.presence import evaluate, present_sql
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World
from tests.measures.material import KINDS, totals

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from otel_ml_metrics.expressions import Kind

NUMBER: Mapping[str, Kind] = {"score": "number"}
CREDIT: list[float] = [300, 450, 580.5, 720]


def _places(bins: ScoreBins, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return evaluate(bins.grid.place, {"score": scores}, NUMBER)[0]


def _edges(bins: ScoreBins) -> NDArray[np.float64]:
    assert bins.grid.lowest is not None
    return bins.grid.lowest()[1:]


@pytest.mark.parametrize("bins", [FINE, score_bins(CREDIT)], ids=["fine", "edges"])
def test_a_bin_starts_at_its_edge(bins: ScoreBins) -> None:
    """The place of a score is the number of edges at or below it."""
    edges = _edges(bins)
    middles = (edges[:-1] + edges[1:]) / 2
    close = np.sort(np.concatenate([edges, np.nextafter(edges, -np.inf)]))

    found = _places(bins, close)

    assert np.array_equal(_places(bins, middles), np.arange(1, len(edges)))
    rounding = 1 if bins is FINE else 0
    assert np.abs(found - np.searchsorted(edges, close, side="right")).max() <= rounding
    assert (np.diff(found) >= 0).all()


def test_fine_bins_are_about_even_in_log_odds() -> None:
    """No bin is wider than a third of one that is logged."""
    edges = _edges(FINE)

    widths = np.diff(np.log(edges) - np.log1p(-edges))

    assert 0.006 < widths.min() < widths.max() < 1 / 96


def test_scores_outside_have_no_fine_bin() -> None:
    """0 and 1 are in the outermost bins; what is no probability is in none."""
    assert _places(FINE, np.array([0.0, 1e-300, 1.0, -0.1, 1.1])).tolist() == [0, 0, 4095, -1, -1]


@pytest.mark.parametrize("bins", [FINE, score_bins(CREDIT)], ids=["fine", "edges"])
def test_the_engine_finds_the_same_bins(bins: ScoreBins) -> None:
    """SQL gives the places of numpy, to the last one, at the edges too."""
    chance = np.random.default_rng(4)
    edges = _edges(bins)
    spread = 1 / (1 + np.exp(-chance.normal(0, 6, 3_000))) if bins is FINE else chance.normal(500, 300, 3_000)
    scores = np.concatenate([spread, edges, np.nextafter(edges, -np.inf), [0.0, 1.0, -1.0, 2.0, 5e-324]])
    with duckdb.connect(config={"threads": 1}) as engine:
        engine.execute("CREATE TABLE rows (turn INTEGER, score DOUBLE)")
        engine.executemany("INSERT INTO rows VALUES (?, ?)", [[at, each] for at, each in enumerate(scores.tolist())])
        place, within = bins.grid.place.to_sql(NUMBER), present_sql(bins.grid.place, NUMBER)
        found = engine.execute(f"SELECT CASE WHEN {within} THEN {place} END FROM rows ORDER BY turn").fetchnumpy()

    assert np.array_equal(next(iter(found.values())), _places(bins, scores))


def test_fine_bins_tell_rare_events_apart() -> None:
    """Where positives are rare, the certificate of average precision shrinks with the bins."""
    chance = np.random.default_rng(5)
    label = chance.random(200_000) < 0.002
    score = 1 / (1 + np.exp(-(chance.normal(-7, 1, len(label)) + 2 * label)))
    rows = [{"label": bool(y), "prediction": False, "score": float(p)} for y, p in zip(label, score, strict=True)]
    coarse, fine = MEASURES["average_precision"], rebinned(MEASURES["average_precision"], FINE)
    added = totals([coarse, fine], rows, "binary")
    expected = metrics.average_precision_score(label, score)

    errors = [abs(float(each.value(added)) - expected) for each in (coarse, fine)]  # type: ignore[arg-type]  # defined
    bounds = [each.certificate(added) or 0.0 for each in (coarse, fine)]

    assert all(error <= bound for error, bound in zip(errors, bounds, strict=True))
    assert bounds[1] < bounds[0] / 2


def test_two_schemes_are_two_states() -> None:
    """The name of the scheme is in the key, so that cells of two schemes are never added."""
    keys = [
        {state.key for state in rebinned(MEASURES["ks"], bins).states} for bins in (LOGGED, FINE, score_bins(CREDIT))
    ]

    assert not keys[0] & keys[1]
    assert not keys[1] & keys[2]
    assert "sum[label]@0 by score_bin:edges[300, 450, 580.5, 720]" in keys[2]


def test_scores_of_any_unit_through_the_evaluator(tmp_path: Path) -> None:
    """Credit scores: the bins of all measures are edges, and what takes a probability says that it cannot."""
    chance = np.random.default_rng(6)
    world = World(tmp_path)
    scores = chance.choice([250.0, 400.0, 500.0, 600.0, 800.0], 200)
    labels = chance.random(200) < (900 - scores) / 900
    world.log(
        Prediction(id=f"p-{at}", predicted_at=START + at * HOUR / 20, score=-float(each), prediction=False)
        for at, each in enumerate(scores)
    )
    world.label(Fact(id=f"p-{at}", label=bool(y), received_at=START + 15 * HOUR) for at, y in enumerate(labels))
    given: dict[str, Any] = {"bins": [-720, -580.5, -450, -300]}

    report = world.run(START + 3 * DAY, measures=["roc_auc", "average_precision", "accuracy"], **given)

    found = {each.measure: each for each in report.values}
    assert found["roc_auc"].value == pytest.approx(metrics.roc_auc_score(labels, -scores))
    assert found["average_precision"].value == pytest.approx(metrics.average_precision_score(labels, -scores))
    assert found["roc_auc"].support == 200
    with pytest.raises(LedgerMismatchError, match="another expression"):
        world.run(START + 4 * DAY, measures=["roc_auc"])


def test_bins_of_one_measure() -> None:
    """A measure may have bins of its own, whatever those of the others are."""
    declared = ["roc_auc", {"measure": "average_precision", "bins": "logit4096"}, {"measure": "ks", "bins": [0.5]}]
    found, _ = measures(declared, "binary", bins=LOGGED)

    grids = [next(iter(each.sums)).key.partition(" by ")[2] for each in found]

    assert grids == ["score_bin:logit1024", "score_bin:logit4096", "score_bin:edges[0.5]"]
    assert totals_of(found, {name: np.array([]) for name in KINDS["binary"]}, KINDS["binary"]).whole


@pytest.mark.parametrize(
    ("declared", "where", "told"),
    [
        ({"measure": "roc_auc", "bins": "logit4095"}, "bins", "Did you mean 'logit4096'"),
        ({"measure": "roc_auc", "bins": []}, "bins", "1 to 200 rising numbers"),
        ({"measure": "roc_auc", "bins": [2, 1]}, "bins", "rising numbers"),
        ({"measure": "roc_auc", "bins": [0.5, float("inf")]}, "bins", "rising numbers"),
        ({"measure": "roc_auc", "bins": list(range(201))}, "bins", "rising numbers"),
        ({"measure": "accuracy", "bins": "logit4096"}, "bins", "does not bin scores"),
        ({"measure": "calibration_slope", "bins": [300, 500]}, "bins", "takes scores for probabilities"),
    ],
)
def test_what_does_not_fit_is_refused(declared: Any, where: str, told: str) -> None:
    """With what would have worked."""
    with pytest.raises(ConfigurationError, match=told) as refused:
        measures([declared], "binary")

    assert refused.value.where == f"measures[0].{where}"


def test_bins_of_all_measures_have_to_fit_them() -> None:
    """Edges for all, and a measure that takes scores for probabilities: it says what to write."""
    with pytest.raises(ConfigurationError, match="Say so for this one, such as bins: logit1024"):
        measures(["roc_auc", "calibration_slope"], "binary", bins=score_bins(CREDIT))
