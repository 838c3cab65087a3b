"""Every row that a measure leaves out has a reason, whichever measure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ml_metrics.measures.adapted import weighted
from otel_ml_metrics.measures.exclusions import LABELLED, exclusions_of
from otel_ml_metrics.measures.multiclass import multiclass_measures
from otel_ml_metrics.measures.totals import add_up
from tests.measures.material import KINDS, ROWS_OF, as_columns
from tests.measures.test_conformance import EVERY_TASK, OF_TASK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_ml_metrics.expressions import Kind
    from otel_ml_metrics.measures.measure import Measure

CLASSES: Final = ("cat", "dog")
KINDS_OF_CLASSES: Final[Mapping[str, Kind]] = {
    "label": "string", "prediction": "string", "score[0]": "number", "score[1]": "number", "weight": "number",
}  # fmt: skip


def every_row_has_a_reason(
    measures: Sequence[Measure], columns: Mapping[str, Any], kinds: Mapping[str, Kind], classes: Sequence[str] = ()
) -> None:
    """See that rows are left out where reasons are counted, and nowhere else."""
    found = [(measure, exclusions_of([measure], classes)) for measure in measures if measure.support.rows == "labelled"]
    counts = [each for _, exclusions in found for exclusion in exclusions for each in exclusion.sums]
    added = add_up([LABELLED, *counts, *(measure.support for measure in measures)], columns, kinds).whole
    whole = {key: int(value) for key, value in added.items() if not isinstance(value, np.ndarray)}
    for measure, exclusions in found:
        reasons = [each.count(whole) for each in exclusions]
        left_out = whole[LABELLED.key] - whole[measure.support.key]
        assert min(reasons, default=0) >= 0, measure
        assert max(reasons, default=0) <= left_out <= sum(reasons), measure


@EVERY_TASK
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_row_that_is_left_out_has_a_reason(task: str, data: st.DataObject) -> None:
    """And no reason counts a row that the measure uses, weighted or not."""
    rows = data.draw(ROWS_OF[task])

    every_row_has_a_reason(OF_TASK[task], as_columns(rows, task), KINDS[task])


@pytest.mark.parametrize("is_weighted", [False, True])
def test_every_row_of_several_classes_that_is_left_out_has_a_reason(is_weighted: bool) -> None:
    """A decision that is no class, scores that are no distribution, or something that is not there."""
    rows = [
        ("cat", "cat", 0.5, 0.5, 1.0),
        ("cat", "owl", 0.5, 0.5, 1.0),
        ("dog", None, 0.5, 0.5, -1.0),
        ("dog", "dog", 0.9, 0.9, 0.0),
        ("dog", "dog", -0.5, 1.5, np.nan),
        ("dog", "cat", np.nan, 1.0, 1.0),
        (None, "cat", 0.5, 0.5, 1.0),
    ]
    kinds = KINDS_OF_CLASSES
    columns = {
        name: np.array(column, dtype=object if kinds[name] == "string" else np.float64)
        for name, column in zip(kinds, zip(*rows, strict=True), strict=True)
    }
    measures = multiclass_measures(CLASSES)

    every_row_has_a_reason(list(map(weighted, measures)) if is_weighted else measures, columns, kinds, CLASSES)
