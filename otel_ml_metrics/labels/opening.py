"""Which source reads the labels that an evaluation declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_ml_metrics.labels.files import LabelFolder

if TYPE_CHECKING:
    from otel_ml_metrics.attribution.inputs import LabelSource
    from otel_ml_metrics.declared_labels import LabelFiles


def source_of(labels: LabelFiles) -> LabelSource:
    """The source of declared labels."""
    return LabelFolder(labels)
