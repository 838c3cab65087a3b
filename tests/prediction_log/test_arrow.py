"""Arrow arrays from buffers of our own hold what they were made of."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from otel_ml_metrics.prediction_log import arrow


@given(st.lists(st.none() | st.text() | st.sampled_from(["", "UA", "Zürich", "東京"])))
def test_texts_come_back(values: list[str | None]) -> None:
    """Whether all of them are ASCII, some are missing, or there are none."""
    made = arrow.texts(values)
    made.validate(full=True)

    assert made.to_pylist() == values
    assert arrow.texts(np.array(values, dtype=object)).to_pylist() == values
