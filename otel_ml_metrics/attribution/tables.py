"""The Arrow tables that pass between engine and ledger."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

LABEL_TYPES: Final = {"boolean": pa.bool_(), "number": pa.float64(), "string": pa.string()}


def fact_schema(label_kind: str) -> pa.Schema:
    """One row per label as it was received."""
    return pa.schema(
        [
            ("prediction_id", pa.string()),
            ("received_us", pa.int64()),
            ("revision", pa.int64()),
            ("label", LABEL_TYPES[label_kind]),
        ]
    )


SUMS: Final = pa.schema(
    [
        ("output", pa.string()),
        ("version", pa.string()),
        ("variant", pa.string()),
        ("slice", pa.string()),  # JSON object, "{}" for all rows
        ("bucket", pa.int64()),  # maturity in seconds from which on it counts; 0 for sums over predictions
        ("sum", pa.string()),
        ("bin", pa.int16()),  # -1 for sums without bins
        ("value", pa.decimal128(38, 0)),
    ]
)

LOST: Final = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("date", pa.string()),
        ("segment", pa.string()),
        ("row", pa.int64()),
    ]
)
"""Rows of the prediction log whose id an earlier row has: they count for nothing."""
