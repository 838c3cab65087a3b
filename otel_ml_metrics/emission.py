"""Which points a run puts into the outbox: values by the timestamp policy, and what the ledger counts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics import semconv
from otel_ml_metrics.instants import SECOND_US
from otel_ml_metrics.telemetry.lagging import LaggingPoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.evaluation_report import Value
    from otel_ml_metrics.semconv import MetricDefinition
    from otel_ml_metrics.valuation import Group, GroupKey

Changes = dict["GroupKey", frozenset[str]]

CLOSED_WINDOWS: Final = 30
"""Complete windows from which the share of labels to expect is taken."""

_NANO_PER_US: Final = 1_000


@dataclass
class Totals:
    """What the cumulative metrics count, kept in the ledger.

    A label that comes out of order can change what an earlier one counts as, so a count can fall; `shown` is the
    highest that was sent, since a falling counter would look like a restart.

    Args:
        labels: Labels by status.
        invalid: Those that cannot be used, by reason.
        left_out: Labelled predictions that measures had to leave out, by reason.
        delays: By version and variant, as JSON: counts per bin of the delay, and their sum in microseconds.
        revisions: Revised final values by version and variant, as JSON.
        undefined: Values that could not be given, by reason.
        skewed: Labels received before their prediction, by version and variant, as JSON.
        closed: By version and variant, as JSON: of the newest complete windows, by start, the labelled predictions at
            each maturity in seconds.
        shown: The highest count that was sent, by series.
    """

    labels: dict[str, int] = field(default_factory=lambda: dict.fromkeys(semconv.LABEL_STATUSES, 0))
    invalid: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    delays: dict[str, list[int]] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    undefined: dict[str, int] = field(default_factory=dict)
    skewed: dict[str, int] = field(default_factory=dict)
    closed: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    shown: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Totals:
        """What the ledger kept."""
        totals = cls()
        for name, counts in kept.items():
            getattr(totals, name).update(counts)
        return totals

    def to_dict(self) -> dict[str, Any]:
        """What the ledger keeps."""
        return {each.name: dict(getattr(self, each.name)) for each in fields(self)}

    def add_label(
        self,
        *,
        version: str,
        variant: str,
        status: str,
        delay_bin: int,
        labels: int,
        delay_us: int,
        skewed: int,
        **_place: int,
    ) -> None:
        """Count labels (or take some back), wherever they belong; the late ones have no place among the delays."""
        self.labels[status] += labels
        if skewed:
            key = split_key(version, variant)
            self.skewed[key] = self.skewed.get(key, 0) + skewed
        if status == "late":
            return
        bins = len(semconv.LABEL_DELAY_BOUNDS) + 1
        kept = self.delays.setdefault(split_key(version, variant), [0] * (bins + 1))
        kept[delay_bin] += labels
        kept[bins] += delay_us

    def add_invalid(self, problems: Iterable[str]) -> None:
        """Count labels that cannot be used by what is wrong with them."""
        for problem in problems:
            self.labels["invalid"] += 1
            reason = problem.replace(" ", "_")
            self.invalid[reason] = self.invalid.get(reason, 0) + 1

    def add_closed(self, key: str, window_us: int, labelled: Mapping[int, int]) -> None:
        """Note how many predictions of a complete window were labelled at each maturity; old windows are forgotten."""
        windows = self.closed.setdefault(key, {})
        windows[str(window_us)] = {str(maturity): count for maturity, count in labelled.items()}
        for old in sorted(windows, key=int)[:-CLOSED_WINDOWS]:
            del windows[old]

    def completeness(self, key: str) -> dict[int, float]:
        """Share of the labels of complete windows that were there at each maturity."""
        counts: Counter[int] = Counter()
        for window in self.closed[key].values():
            counts.update({int(maturity): count for maturity, count in window.items()})
        whole = counts[max(counts)]
        return {maturity: count / whole for maturity, count in sorted(counts.items())} if whole else {}


def split_key(version: str, variant: str) -> str:
    """Version and variant as a key of the totals, whatever characters they have."""
    return json.dumps([version, variant])


@dataclass(frozen=True)
class Waiting:
    """Labels that wait for their prediction.

    Args:
        labels: How many.
        age_us: Since when the oldest of them does.
        held: How many others are held back for a later run.
    """

    labels: int = 0
    age_us: int = 0
    held: int = 0


class Emission:
    """Turns the groups of a run into points.

    Args:
        evaluation: Whose points.
        now_us: Instant at which the outbox rows are written.
        start_us: Since when the ledger counts.
    """

    def __init__(self, evaluation: Evaluation, *, now_us: int, start_us: int) -> None:
        self._evaluation = evaluation
        self._now = now_us * _NANO_PER_US
        self._start = start_us * _NANO_PER_US
        self._measures = {measure.name: measure for measure in evaluation.all_measures}

    def current(self, groups: Iterable[Group]) -> list[LaggingPoint]:
        """Every value of these groups as the current state, stamped now."""
        return [
            point
            for group in groups
            for point in self._of_group(group, self._now) + self._of_values(group, self._now, group.values.keys())
        ]

    def history(
        self, groups: Mapping[GroupKey, Group], changes: Changes, first: AbstractSet[GroupKey]
    ) -> list[LaggingPoint]:
        """The named values of these groups, each stamped with its window's end, the oldest window first.

        Args:
            groups: Where the values are.
            changes: By group, the measures to send.
            first: Groups whose support and coverage are sent as well: a backend takes one value per series and time.
        """
        points = []
        for key in sorted(first | changes.keys()):
            group = groups[key]
            time = (group.judgement.window_us + self._evaluation.window.us) * _NANO_PER_US
            found = self._of_group(group, time) if key in first else []
            points += found + self._of_values(group, time, changes.get(key, frozenset()))
        return points

    def counts(self, totals: Totals, *, waiting: Waiting) -> list[LaggingPoint]:
        """The cumulative metrics, the labels that wait, and how many are to be expected."""
        counters = [
            *((semconv.LABELS, {semconv.LABEL_STATUS: status}, count) for status, count in totals.labels.items()),
            *((semconv.LABELS_SKEWED, self._split(*json.loads(key)), n) for key, n in sorted(totals.skewed.items())),
            *(
                (semconv.EVALUATION_REVISIONS, self._split(*json.loads(key)), count)
                for key, count in sorted(totals.revisions.items())
            ),
            *(
                (metric, {semconv.REASON: why}, count)
                for metric, counts in (
                    (semconv.LABELS_INVALID, totals.invalid),
                    (semconv.EVALUATION_UNDEFINED, totals.undefined),
                    (semconv.EVALUATION_LEFT_OUT, totals.left_out),
                )
                for why, count in sorted(counts.items())
            ),
        ]
        points = [self._counter(totals, *each) for each in counters]
        points += [self._delays(key, kept) for key, kept in sorted(totals.delays.items())]
        points += [point for key in sorted(totals.closed) for point in self._completeness(key, totals)]
        points.append(LaggingPoint.gauge(semconv.LABELS_WAITING, self._model(), self._now, waiting.labels))
        points.append(
            LaggingPoint.gauge(semconv.LABELS_WAITING_AGE, self._model(), self._now, waiting.age_us / SECOND_US)
        )
        if self._evaluation.hold_back is not None:
            points.append(LaggingPoint.gauge(semconv.LABELS_HELD, self._model(), self._now, waiting.held))
        return points

    def _completeness(self, key: str, totals: Totals) -> list[LaggingPoint]:
        shown = {each.seconds_whole: str(each) for each in self._evaluation.maturities}
        attributes = self._model() | self._split(*json.loads(key))
        return [
            LaggingPoint.gauge(
                semconv.LABEL_COMPLETENESS,
                attributes | {semconv.EVALUATION_MATURITY: shown[maturity]},
                self._now,
                share,
            )
            for maturity, share in totals.completeness(key).items()
            if maturity in shown
        ]

    def _of_group(self, group: Group, time: int) -> list[LaggingPoint]:
        attributes = self._attributes(group)
        end = group.judgement.window_us / SECOND_US + self._evaluation.window.seconds_whole
        points = [
            LaggingPoint.gauge(semconv.EVALUATION_SUPPORT, attributes, time, group.labelled),
            LaggingPoint.gauge(semconv.EVALUATION_WINDOW_END, attributes, time, end),
        ]
        if group.folded:
            points.append(LaggingPoint.gauge(semconv.EVALUATION_SLICES_FOLDED, attributes, time, group.folded))
        if group.coverage is not None and group.predictions >= self._evaluation.minimum_support:
            points.append(LaggingPoint.gauge(semconv.LABEL_COVERAGE, attributes, time, group.coverage))
        return points

    def _of_values(self, group: Group, time: int, measures: Iterable[str]) -> list[LaggingPoint]:
        attributes = self._attributes(group)
        return [point for name in sorted(measures) for point in self._of_value(group.values[name], attributes, time)]

    def _of_value(self, value: Value, attributes: Mapping[str, str], time: int) -> list[LaggingPoint]:
        measure = self._measures[value.measure]
        metric = semconv.evaluation_metric(value.measure)
        numbers = (("", value.value), (".lower", value.lower), (".upper", value.upper))
        told = {"": "", ".lower": " Lower end of the 95 % interval.", ".upper": " Upper end of the 95 % interval."}
        return [
            LaggingPoint(
                metric=f"{metric}{end}",
                unit=measure.unit,
                description=f"{measure.description}{told[end]}",
                kind="gauge",
                attributes=attributes,
                time_unix_nano=time,
                value=number,
            )
            for end, number in numbers
            if number is not None
        ]

    def _model(self) -> dict[str, str]:
        return {semconv.MODEL_NAME: self._evaluation.model}

    def _split(self, version: str, variant: str) -> dict[str, str]:
        given = {semconv.MODEL_VERSION: version, semconv.MODEL_VARIANT: variant}
        return {name: value for name, value in given.items() if value}

    def _attributes(self, group: Group) -> dict[str, str]:
        """Attributes of a group's series; a slice that is absent means all of it."""
        _, _, output, version, variant, _ = group.key
        attributes = self._model() | self._split(version, variant)
        if output:
            attributes[semconv.OUTPUT_NAME] = output
        attributes[semconv.EVALUATION_WINDOW] = str(self._evaluation.window)
        attributes[semconv.EVALUATION_MATURITY] = str(group.judgement.maturity)
        attributes[semconv.EVALUATION_STAGE] = (
            semconv.STAGE_FINAL if group.judgement.is_final else semconv.STAGE_PROVISIONAL
        )
        return attributes | {f"{semconv.SLICE_PREFIX}{name}": value for name, value in group.slice.items()}

    def _counter(
        self, totals: Totals, metric: MetricDefinition, attributes: Mapping[str, str], count: int
    ) -> LaggingPoint:
        series = f"{metric.name}{sorted(attributes.items())}"
        totals.shown[series] = max(count, totals.shown.get(series, 0))
        return LaggingPoint(
            metric=metric.name,
            unit=metric.unit,
            description=metric.description,
            kind="counter",
            attributes={**self._model(), **attributes},
            time_unix_nano=self._now,
            start_time_unix_nano=self._start,
            value=totals.shown[series],
        )

    def _delays(self, key: str, kept: Sequence[int]) -> LaggingPoint:
        metric = semconv.LABEL_DELAY
        return LaggingPoint(
            metric=metric.name,
            unit=metric.unit,
            description=metric.description,
            kind="histogram",
            attributes=self._model() | self._split(*json.loads(key)),
            time_unix_nano=self._now,
            start_time_unix_nano=self._start,
            bounds=metric.bounds,
            counts=tuple(kept[:-1]),
            sum=kept[-1] / SECOND_US,
            count=sum(kept[:-1]),
        )


def changed(before: Mapping[GroupKey, Group], after: Mapping[GroupKey, Group]) -> tuple[Changes, Changes]:
    """Which values are new, and which final values are others than before (value, interval, support or coverage).

    Returns:
        By group, the measures whose value was not there before; and those whose value was another.
    """
    new: Changes = {}
    revised: Changes = {}
    for key, group in after.items():
        earlier = before[key].values if key in before else {}
        fresh = frozenset(name for name in group.values if name not in earlier)
        other = frozenset(name for name, value in group.values.items() if name in earlier and earlier[name] != value)
        if fresh:
            new[key] = fresh
        if other:
            revised[key] = other
    return new, revised
