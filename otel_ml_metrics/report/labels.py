"""The section on labels: when they come, how many to expect, and what cannot be used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from otel_ml_metrics.charts.delays import delay_names, draw_delays
from otel_ml_metrics.instants import Duration
from otel_ml_metrics.report.page import Card, Cell, Section, Table
from otel_ml_metrics.report.values import share
from otel_ml_metrics.semconv import LABEL_STATUSES
from otel_ml_metrics.spelling import arm_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.spelling import Arm
    from otel_ml_metrics.survey import Survey


def labels(survey: Survey) -> Section:
    """Delay of labels, completeness by age, and counts of everything that came."""
    lead = "All that the ledger has seen. A label's delay is the time from its prediction to its arrival."
    cards = [*_delays(survey), *_expected(survey), _counts(survey)]
    missing = [] if cards[:-1] else ["No label has met its prediction yet, so there is no delay to show."]
    return Section(key="labels", title="Label delay and coverage", lead=lead, cards=cards, missing=missing)


def _delays(survey: Survey) -> list[Card]:
    by_arm = {_arm(key): counts[:-1] for key, counts in survey.totals.delays.items()}
    summed = [sum(bucket) for bucket in zip(*by_arm.values(), strict=True)]
    if not any(summed):
        return []
    names, whole = arm_names(by_arm), sum(summed)
    columns = list(names) if len(names) > 1 else []
    rows, so_far = [], 0
    for at, bucket in enumerate(delay_names()):
        so_far += summed[at]
        if summed[at]:
            of_arms = [Cell(f"{by_arm[arm][at]:,}") for arm in columns]
            rows.append([Cell(bucket), Cell(f"{summed[at]:,}"), Cell(share(so_far / whole)), *of_arms])
    table = Table(
        caption="Labels by delay",
        header=["within", "labels", "come by then", *(names[arm] for arm in columns)],
        rows=rows,
        is_open=False,
    )
    note = "Bars: labels per bucket of delay. Line: the share that had come by then. Late labels are not among them."
    return [Card(title="Label delay", note=note, picture=draw_delays(summed), tables=[table])]


def _expected(survey: Survey) -> list[Card]:
    """Of complete windows, which share of the final labels was there at each age."""
    found = {_arm(key): survey.totals.completeness(key) for key in survey.totals.closed}
    names = arm_names(arm for arm, shares in found.items() if shares)
    if not names:
        return []
    ages = {each.seconds_whole: str(each) for each in survey.evaluation.maturities}
    table = Table(
        caption="Share of the labels of complete windows that were there at each age",
        header=["version or variant", *(f"at {age}" for age in ages.values())],
        rows=[
            [
                Cell("all" if name == "-" else name),
                *(Cell(share(found[arm].get(age)), tint=found[arm].get(age)) for age in ages),
            ]
            for arm, name in names.items()
        ],
    )
    note = "What a window can expect, seen on the newest complete ones."
    return [Card(title="Completeness by age", note=note, tables=[table])]


def _counts(survey: Survey) -> Card:
    totals = survey.totals
    rows = [[Cell(status), Cell(f"{totals.labels[status]:,}")] for status in LABEL_STATUSES]
    rows.append([Cell("waiting", "for their prediction"), Cell(f"{survey.waiting:,}")])
    rows.append([Cell("held back", "for a later run"), Cell(f"{survey.held:,}")])
    tables = [Table(caption="Labels by status", header=["status", "labels"], rows=rows)]
    for caption, counts in (
        ("Labels that cannot be used, by reason", totals.invalid),
        ("Labelled predictions that measures left out, by reason", totals.left_out),
        ("Values that could not be given, by reason", totals.undefined),
    ):
        if any(counts.values()):
            tables.append(Table(caption=caption, header=["reason", "count"], rows=_reasons(counts)))
    late = f"Late ones came after {Duration(survey.evaluation.attribution_window)} and are not used."
    return Card(title="What came", note=late, tables=tables)


def _reasons(counts: Mapping[str, int]) -> list[list[Cell]]:
    return [[Cell(why.replace("_", " ")), Cell(f"{count:,}")] for why, count in sorted(counts.items()) if count]


def _arm(key: str) -> Arm:
    version, variant = json.loads(key)
    return version or None, variant or None
