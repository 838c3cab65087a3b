"""The measure that is chosen above a dashboard, as PromQL: its value, and the ends of its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml_metrics import semconv
from otel_ml_metrics.dashboards.panels import LOWER, UPPER
from otel_ml_metrics.dashboards.promql import AT_MATURITY, OF_GROUP, named

if TYPE_CHECKING:
    from collections.abc import Callable

NAMED: Final = '__name__=~"$measure"'
NO_END: Final = f'__name__!~".+_({LOWER}|{UPPER})(_.+)?"'
"""Leaves the value, of the names that stand in the variable `measure`: it holds nothing else but the ends."""

VALUE: Final = (NAMED, NO_END, *OF_GROUP, AT_MATURITY)


def columns(read: Callable[..., str], *, by: str) -> dict[str, str]:
    """PromQL of the value, its interval, and what it rests on, by the title of a column.

    Args:
        read: From the name of a metric and matchers to the newest values.
        by: The label that is kept.
    """
    values = {"value": read("", *VALUE), LOWER: read("", *_end(LOWER)), UPPER: read("", *_end(UPPER))}
    behind = {"support": semconv.EVALUATION_SUPPORT, "coverage": semconv.LABEL_COVERAGE}
    values |= {title: read(named(metric), *OF_GROUP, AT_MATURITY) for title, metric in behind.items()}
    return {title: f"max by ({by}) ({expression})" for title, expression in values.items()}


def _end(which: str) -> tuple[str, ...]:
    return (NAMED, f'__name__=~".+_{which}(_.+)?"', *OF_GROUP, AT_MATURITY)
