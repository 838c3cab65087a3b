"""What the commands agree on: how a TIME is written, what a missing extra says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import click
import pytest

from otel_ml_metrics.console.terms import INSTANT, needing
from otel_ml_metrics.errors import MissingExtraError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2013-04-09", datetime(2013, 4, 9, tzinfo=UTC)),
        ("2013-04-09T06:00Z", datetime(2013, 4, 9, 6, tzinfo=UTC)),
        ("2013-04-09 06:00:30+00:00", datetime(2013, 4, 9, 6, 0, 30, tzinfo=UTC)),
        ("2013-04-09T02:00-04:00", datetime(2013, 4, 9, 2, tzinfo=timezone(timedelta(hours=-4)))),
    ],
)
def test_an_instant_is_read_with_its_zone(text: str, expected: datetime) -> None:
    """ISO 8601 as people write it; a date is its midnight UTC."""
    assert INSTANT.convert(text, None, None) == expected


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("2013-04-09T06:00", "2013-04-09T06:00Z"),
        ("09.04.2013", "2013-04-09"),
        ("yesterday", "2013-04-09"),
        ("", "2013-04-09"),
    ],
)
def test_what_names_no_instant_is_refused_with_a_hint(text: str, hint: str) -> None:
    """A naive time could be read in two ways, so it is not read at all."""
    with pytest.raises(click.BadParameter, match=hint):
        INSTANT.convert(text, None, None)


def test_a_missing_library_prints_the_line_that_installs_it() -> None:
    """A user without the extra learns which one, not where an import failed."""
    with pytest.raises(MissingExtraError, match=r"pip install 'otel-ml-metrics\[demo\]'"), needing("demo", "The demo"):
        raise ModuleNotFoundError(name="sklearn.ensemble")


def test_a_hole_in_our_own_package_is_not_called_a_missing_extra() -> None:
    """A broken installation must not send its user to install what is there."""
    with pytest.raises(ModuleNotFoundError) as broken, needing("demo", "The demo"):
        raise ModuleNotFoundError(name="otel_ml_metrics.evaluator")

    assert broken.type is ModuleNotFoundError
