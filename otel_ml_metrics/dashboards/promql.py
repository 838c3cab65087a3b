"""PromQL as text: names of attributes, selectors, and the one way in which lagging values are read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otel_ml_metrics import semconv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.semconv import MetricDefinition


def attribute(key: str) -> str:
    """What Prometheus calls an attribute that it is sent by OTLP.

    >>> attribute("ml.model.name")
    'ml_model_name'
    """
    return key.replace(".", "_")


JOB: Final = "job"
MODEL: Final = attribute(semconv.MODEL_NAME)
VERSION: Final = attribute(semconv.MODEL_VERSION)
VARIANT: Final = attribute(semconv.MODEL_VARIANT)
OUTPUT: Final = attribute(semconv.OUTPUT_NAME)
OUTCOME: Final = attribute(semconv.PREDICTION_OUTCOME)
STATUS: Final = attribute(semconv.LABEL_STATUS)
WINDOW: Final = attribute(semconv.EVALUATION_WINDOW)
MATURITY: Final = attribute(semconv.EVALUATION_MATURITY)
STAGE: Final = attribute(semconv.EVALUATION_STAGE)
FLOW: Final = attribute(semconv.FLOW_NAME)
FLOW_OUTCOME: Final = attribute(semconv.FLOW_OUTCOME)
SLICE_PREFIX: Final = attribute(semconv.SLICE_PREFIX)

LOOKBACK: Final = "$lookback"
SLICE_LABELS: Final = "${slice_labels:doublequote}"
"""Grafana's list of every slice attribute that Prometheus has, and of `STATUS`, so that it is never empty."""

OF_JOB: Final = (f'{JOB}=~"$job"', f'{MODEL}="$model"')
OF_VERSION: Final = (*OF_JOB, f'{VERSION}=~"$version"', f'{VARIANT}=~"$variant"')
OF_GROUP: Final = (*OF_VERSION, f'{OUTPUT}=~"$output"', f'{STAGE}="$stage"')
AT_MATURITY: Final = f'{MATURITY}="$maturity"'


def named(metric: MetricDefinition) -> str:
    """What Prometheus calls a metric.

    >>> named(semconv.PREDICTIONS)
    'ml_predictions_total'
    """
    return semconv.prometheus_name(metric.name, metric.kind, metric.unit)


def selector(metric: str, *matchers: str) -> str:
    """The series of a metric; an empty name leaves it to the matchers.

    >>> selector("ml_labels_total", 'job="a"', 'ml_label_status="late"')
    'ml_labels_total{job="a", ml_label_status="late"}'
    """
    return f"{metric}{{{', '.join(matchers)}}}" if matchers else metric


def quoted(text: object) -> str:
    """A text as a string of PromQL."""
    return json.dumps(str(text), ensure_ascii=False)


def of_model(evaluation: Evaluation | None, *, with_service: bool = False) -> tuple[str, ...]:
    """Matchers of the model of an evaluation, and of its own points; none for all models.

    The service may stand behind a namespace, and the model's server may be another one than the evaluation's.
    """
    if evaluation is None:
        return ()
    job = f"{JOB}=~{quoted(f'(.+/)?{_literal(evaluation.service)}')}"
    return (*([job] if with_service else []), f"{MODEL}={quoted(evaluation.model)}")


def _literal(text: str) -> str:
    """A text as a regular expression that matches nothing else."""
    return re.escape(text).replace(r"\-", "-")  # which needs no escape outside of brackets


def lagging(metric: str, *matchers: str, within: str = LOOKBACK) -> str:
    """The newest value of each series: a gauge is pushed once per run, and Prometheus forgets it after five minutes."""
    return f"last_over_time({selector(metric, *matchers)}[{within}])"


def appeared(metric: str, *matchers: str, within: str) -> str:
    """By how much counters grew, those included that were not there before: a counter of faults starts with the first.

    Yields only series that grew.
    """
    series = selector(metric, *matchers)
    return f"((increase({series}[{within}]) > 0) or (({series} > 0) unless {series} offset {within}))"


def quantile(share: float, histogram: str, *matchers: str, by: str, within: str) -> str:
    """A quantile of a histogram, be it one of buckets or a native one."""
    buckets = f"sum by (le, {by}) (rate({selector(f'{histogram}_bucket', *matchers)}[{within}]))"
    native = f"sum by ({by}) (rate({selector(histogram, *matchers)}[{within}]))"
    return f"histogram_quantile({share:g}, {buckets}) or histogram_quantile({share:g}, {native})"


def mean(histogram: str, *matchers: str, by: str, within: str) -> str:
    """The mean of a histogram, be it one of buckets or a native one."""
    sums, counts = (
        f"sum by ({by}) (rate({selector(f'{histogram}_{part}', *matchers)}[{within}]))" for part in ("sum", "count")
    )
    return f"{sums} / {counts} or histogram_avg(sum by ({by}) (rate({selector(histogram, *matchers)}[{within}])))"


def cells(histogram: str, *matchers: str, within: str) -> str:
    """The cells of a heatmap of a histogram, be it one of buckets or a native one."""
    buckets = f"sum by (le) (increase({selector(f'{histogram}_bucket', *matchers)}[{within}]))"
    return f"{buckets} or sum(increase({selector(histogram, *matchers)}[{within}]))"


@dataclass(frozen=True)
class Slicing:
    """The fields by which values are sliced: they tell a slice from all rows, which carry none of them.

    Args:
        fields: Their names; None where nobody knows them, and Grafana has to list them.
    """

    fields: tuple[str, ...] | None

    @property
    def attributes(self) -> tuple[str, ...]:
        """What Prometheus calls them; empty where they are not known."""
        return tuple(f"{SLICE_PREFIX}{field}" for field in self.fields or ())

    @property
    def no_slice(self) -> tuple[str, ...]:
        """Matchers of all rows; none where the fields are not known."""
        return tuple(f'{each}=""' for each in self.attributes)

    def of_slice(self, fields: Mapping[str, str | None]) -> tuple[str, ...]:
        """Matchers of a slice by these fields alone; a value of None means each."""
        own = {f"{SLICE_PREFIX}{field}": value for field, value in fields.items()}
        return tuple(
            f'{each}=""' if each not in own else f'{each}!=""' if own[each] is None else f"{each}={quoted(own[each])}"
            for each in self.attributes
        )

    def all_rows(self, metric: str, *matchers: str) -> str:
        """The newest values over all rows, and those of no slice."""
        if self.fields is not None:
            return lagging(metric, *matchers, *self.no_slice)
        joined = f'label_join({lagging(metric, *matchers)}, "slice", "", {SLICE_LABELS})'
        return f"{joined} and on (slice) vector(1)"  # which matches where the joined attributes are all empty

    def by_slice(self, metric: str, *matchers: str) -> str:
        """The newest values of each slice by the chosen field, under its name in the label `slice`."""
        listed = SLICE_LABELS if self.fields is None else ", ".join(f'"{each}"' for each in self.attributes)
        chosen = lagging(metric, *matchers, '$slice=~"$slice_value"')
        return f'label_join({chosen}, "slice", " ", {listed})'
