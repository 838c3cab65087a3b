"""The catalogue: every measure and every metric as data, and as a page to read."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics import semconv
from otel_ml_metrics.measures import multiclass, quantile_forecasts
from otel_ml_metrics.measures.ranking import RANKINGS
from otel_ml_metrics.measures.table import FAMILIES, factories_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_ml_metrics.measures.measure import Measure
    from otel_ml_metrics.measures.ranking import Ranking
    from otel_ml_metrics.semconv import MetricDefinition

_EXAMPLES: Final = {
    "multiclass": multiclass.EXAMPLE,
    "multilabel": multiclass.EXAMPLE,
    "quantile": tuple(map(str, quantile_forecasts.EXAMPLE)),
}
_RANKING: Final = "Ranking"
_BETTER: Final = {"higher": "higher is better", "lower": "lower is better", "none": "neither is better"}
_INTRODUCTION: Final = """\
# Catalogue

Every measure and every metric that otel_ml_metrics knows. This page is made by
`otel-ml-metrics catalogue --format markdown`; a test keeps it fresh.

A measure is computed when labels have arrived and becomes the gauge `ml.evaluation.<measure>`, with `.lower` and
`.upper` where it has a 95 % interval. The name in Prometheus stands beside it. Where a measure is undefined no point is
sent: not 0, not NaN; the reason is counted in `ml.evaluation.undefined`. Without rows, every measure is undefined.

TP, FP, FN and TN are true and false positives and negatives, P and N the rows of either class, n all rows, e the
prediction minus the label. Measures that are marked *binned* are computed from counts per bin and say with each value
how far off that can be at most (the certificate).

A task is `binary` unless it is declared: `multiclass` and `multilabel` with their `classes`, `quantile` with the levels
in `quantiles` (there and for classes, the score is a list of numbers), `ranking` with the field `query` that says which
rows belong together, or `regression`.

The measures of fairness compare yes-or-no decisions, so they are for `binary` tasks alone: over several classes there
is no one agreed meaning of them. There, compare the slices of a measure of one class (`of: dog`).

In monitoring.yaml a measure is a name, `accuracy`, or a mapping:

```yaml
measures:
  - roc_auc
  - {measure: fbeta, beta: 0.5}                          # parameters stand beside each measure below
  - {measure: precision, threshold: 0.8}                 # any measure of decisions, deciding by score >= 0.8
  - {measure: recall, weighted: true}                    # each row counted `weight` times
  - {measure: recall, of: dog}                           # of one class, where the task is multiclass
  - {measure: average_precision, bins: logit4096}        # finer bins of the score; or edges, bins: [300, 580, 720]
  - {measure: equalized_odds_difference, over: region}   # over the values of a declared slice
  - {measure: pinball_loss, level: 0.9}                  # of one of the quantiles, where the task is quantile
  - {measure: ndcg, k: 5}                                # of the first 5 rows of each query, where the task is ranking
  - {measure: r2, interval: bootstrap}                   # an interval where no formula gives one
  - {measure: mean_absolute_error, unit: min}            # the unit of your label
  - {name: missed, unit: USD, sum: "fare * (label & ~prediction)", description: "Fares we did not foresee"}
  - {name: flagged, unit: "1", rate: "score > 0.8", description: "Share of risky flights"}
  - {name: median_fare, unit: USD, quantile: {expression: fare, q: 0.5}, description: "Median fare"}
  - {name: profit, unit: USD, value: {true_positive: fare, false_positive: -40}, description: "What decisions earned"}
  - {name: best, unit: USD, best_value: {true_positive: fare, false_positive: -40}, description: "At the best cut"}
  - {name: cut, unit: "1", best_threshold: {true_positive: fare, false_positive: -40}, description: "That cut"}
  - {name: hinge, unit: "1", exact: "sklearn.metrics:hinge_loss", description: "Any function of (label, score)"}
```
"""


def measures() -> list[dict[str, Any]]:
    """Every measure as plain data, by family."""
    sums = [_measure(family, measure) for family, members in FAMILIES.items() for measure in members]
    return [*sums, *(_ranking(each) for each in RANKINGS.values())]


def metrics() -> list[dict[str, Any]]:
    """Every metric that is no measure, as plain data."""
    sides = (
        ("online", semconv.ONLINE_METRICS),
        ("lagging", semconv.LAGGING_METRICS),
        ("flows", semconv.FLOW_METRICS),
    )
    return [_metric(side, metric) for side, members in sides for metric in members]


def _measure(family: str, measure: Measure) -> dict[str, Any]:
    metric = semconv.evaluation_metric(measure.name)
    task = next(iter(measure.tasks)) if len(measure.tasks) == 1 else "any"
    factory = factories_for(task, _EXAMPLES.get(task, ())).get(measure.name)
    parameters = inspect.signature(factory).parameters if factory else {}
    return {
        "name": measure.name,
        "family": family,
        "metric": metric,
        "prometheus": semconv.prometheus_name(metric, "gauge", measure.unit),
        "tasks": sorted(measure.tasks),
        "unit": measure.unit,
        "direction": measure.direction,
        "range": [_bound(measure.lowest), _bound(measure.highest)],
        "description": measure.description,
        "formula": measure.formula,
        "source": measure.source,
        "undefined": measure.undefined,
        "interval": measure.interval_from is not None,
        "binned": measure.error_from is not None,
        "parameters": {name: _default(each) for name, each in parameters.items()},
    }


def _ranking(ranking: Ranking) -> dict[str, Any]:
    made = ranking.exact("query")
    metric = semconv.evaluation_metric(made.name)
    return {
        "name": made.name,
        "family": _RANKING,
        "metric": metric,
        "prometheus": semconv.prometheus_name(metric, "gauge", made.unit),
        "tasks": ["ranking"],
        "unit": made.unit,
        "direction": made.direction,
        "range": [0.0, 1.0],
        "description": made.description,
        "formula": f"mean over queries of {ranking.formula}",
        "source": ranking.source,
        "undefined": "no query with a relevant row",
        "interval": False,
        "binned": False,
        "parameters": {"k": ranking.looks_at} if ranking.looks_at else {},
    }


def _default(parameter: inspect.Parameter) -> Any:  # noqa: ANN401  # whatever stands there
    return None if parameter.default is inspect.Parameter.empty else parameter.default


def _bound(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None


def _metric(side: str, metric: MetricDefinition) -> dict[str, Any]:
    return {
        "name": metric.name,
        "side": side,
        "kind": metric.kind,
        "prometheus": semconv.prometheus_name(metric.name, metric.kind, metric.unit),
        "unit": metric.unit,
        "description": metric.description,
    }


def spoken_range(entry: dict[str, Any]) -> str:
    """The range of a measure in words.

    >>> spoken_range({"range": [0.0, None]})
    'from 0'
    """
    low, high = entry["range"]
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"from {low:g}" if low is not None else "any" if high is None else f"up to {high:g}"


def markdown() -> str:
    """The page."""
    return "\n".join([_INTRODUCTION, *_measures_page(), *_metrics_page()]).rstrip() + "\n"


def _measures_page() -> Iterator[str]:
    entries = measures()
    for family in (*FAMILIES, _RANKING):
        yield f"## {family}\n"
        for entry in entries:
            if entry["family"] == family:
                yield from _described(entry)


def _described(entry: dict[str, Any]) -> Iterator[str]:
    marks = ["95 % interval" if entry["interval"] else "", "binned" if entry["binned"] else ""]
    facts = [f"unit `{entry['unit']}`", spoken_range(entry), _BETTER[entry["direction"]], *filter(None, marks)]
    yield f"### {entry['name']}\n"
    yield f"{entry['description']}\n"
    yield f"    {entry['formula']}\n"
    yield f"- {'; '.join(facts)}"
    yield f"- Prometheus: `{entry['prometheus']}`"
    if entry["parameters"]:
        parameters = (
            f"`{name}` ({'required' if default is None else f'{default} by default'})"
            for name, default in entry["parameters"].items()
        )
        yield f"- Parameters: {', '.join(parameters)}"
    yield f"- Undefined: {entry['undefined']}"
    yield f"- Source: {entry['source']}\n"


def _metrics_page() -> Iterator[str]:
    yield "## Metrics besides the measures\n"
    yield "| metric | kind | unit | Prometheus | what it says |"
    yield "|---|---|---|---|---|"
    for entry in metrics():
        name, unit, prometheus = (f"`{entry[each]}`" for each in ("name", "unit", "prometheus"))
        yield f"| {name} | {entry['kind']} | {unit} | {prometheus} | {entry['description']} |"
