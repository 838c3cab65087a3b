"""Which source reads the labels that an evaluation declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from otel_ml_metrics.declared_labels import LabelFiles, LabelFunction, LabelsFrom, LabelTable
from otel_ml_metrics.labels.files import LabelFolder
from otel_ml_metrics.labels.function import LabelsOfFunction
from otel_ml_metrics.labels.table import LabelsInTable

if TYPE_CHECKING:
    from otel_ml_metrics.attribution.inputs import LabelSource, Survey
    from otel_ml_metrics.configuration import Evaluation


@runtime_checkable
class Glancing(Protocol):
    """A source that can show a little of what it has."""

    def glance(self, *, now_us: int) -> Survey:
        """A few labels, to see whether they can be read."""


def source_of(evaluation: Evaluation) -> LabelSource:
    """The source of an evaluation's labels."""
    labels = evaluation.labels
    if isinstance(labels, LabelTable):
        return LabelsInTable(labels, horizon_us=evaluation.horizon.us)
    if isinstance(labels, LabelFunction):
        return LabelsOfFunction(labels)
    if isinstance(labels, LabelsFrom):
        source: LabelSource = labels.source
        return source
    if isinstance(labels, LabelFiles):
        return LabelFolder(labels)
    message = f"{type(labels).__name__} is no kind of labels."
    raise AssertionError(message)  # pragma: no cover  # settings refuse it
