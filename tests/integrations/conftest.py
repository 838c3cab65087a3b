"""Fixtures of the tests of integrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_ml_metrics.testing import TelemetryCapture

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def telemetry() -> Iterator[TelemetryCapture]:
    """Metrics in memory."""
    with TelemetryCapture() as capture:
        yield capture
