"""Commits and ledgers for tests."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from otel_ml_metrics.attribution.tables import EXACT, SUMS, fact_schema
from otel_ml_metrics.ledger.commit import Commit
from otel_ml_metrics.ledger.store import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME: Final = "flight-delay-api/flight-delay"
NOW_US: Final = 1_365_465_600_000_000
DAY: Final = "2013-04-09"
FACTS: Final = fact_schema("boolean")


@contextmanager
def opened(url: str, **given: Any) -> Iterator[Ledger]:
    """A ledger, closed at the end."""
    ledger = Ledger(url, **{"name": NAME, "label_kind": "boolean", **given})
    try:
        yield ledger
    finally:
        ledger.close()


def commit(read_version: int = 0, **given: Any) -> Commit:
    """A commit that changes nothing but what is given."""
    defaults: dict[str, Any] = {
        "read_version": read_version,
        "as_of_us": NOW_US + read_version,
        "now_us": NOW_US + read_version,
        "definition": {"model": "flight-delay"},
        "totals": {"labels": {"matched": read_version}},
    }
    return Commit(**defaults | given)


def facts(ids: range, *, received_us: int = NOW_US) -> pa.Table:
    """One label for each id."""
    columns: list[pa.Array[Any]] = [
        pa.array([f"p-{number}" for number in ids]),
        pa.array([received_us] * len(ids)),
        pa.array([0] * len(ids)),
        pa.array([number % 3 == 0 for number in ids]),
    ]
    return pa.table(columns, schema=FACTS)


def sums(value: int, *, name: str = "labelled", count: int = 1) -> pa.Table:
    """Sums of one tile."""
    row = {"output": "", "version": "1", "variant": "champion", "slice": "{}", "bucket": 0, "bin": -1}
    return pa.Table.from_pylist([row | {"sum": f"{name}-{at}", "value": value} for at in range(count)], SUMS)


def exact_values(value: float) -> pa.Table:
    """The value of an exact measure in one window."""
    row = {"maturity_s": 86_400, "output": "", "version": "1", "variant": "champion", "slice": "{}", "measure": "mine"}
    return pa.Table.from_pylist([row | {"value": float(value), "support": 3, "undefined": None}], EXACT)
