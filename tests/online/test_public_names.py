"""What `import otel_ml_metrics` offers."""

from __future__ import annotations

import pytest

import otel_ml_metrics


def test_public_names_are_sorted_and_found() -> None:
    """Every name that is promised is there, and `dir` shows it before it is loaded."""
    names = otel_ml_metrics.__all__

    assert names == sorted(names)
    assert set(names) <= set(dir(otel_ml_metrics))
    assert all(getattr(otel_ml_metrics, name) is not None for name in names)


def test_another_name_is_an_attribute_error() -> None:
    """A typo fails as it does with every module."""
    with pytest.raises(AttributeError, match="has no attribute 'ModelMonitr'"):
        _ = otel_ml_metrics.ModelMonitr
