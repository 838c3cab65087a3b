"""The command `history`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.flows.material import Material


@pytest.fixture
def evaluated(material: Material, run: Run) -> Material:
    """Two days of predictions and labels, evaluated at three instants."""
    for instant in ("2013-04-02", "2013-04-02T06:00Z", "2013-04-04"):
        assert run("evaluate", material.monitoring, "--as-of", instant).exit_code == 0
    return material


def test_a_line_says_which_commit_moved_what_and_what_came(evaluated: Material, run: Run) -> None:
    """And below it stand the values by age."""
    done = run("history", evaluated.monitoring, "--measure", "accuracy", "--window", "2013-04-01T12:00Z")

    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert done.exit_code == 0, done.output
    assert "2013-04-01 1 2013-04-02 00:00Z +89 matched, +96 predictions" in lines
    assert "2013-04-01 2 2013-04-02 06:00Z +7 matched" in lines
    assert [line for line in lines if line.startswith("2013-04-01 2 6h accuracy challenger 0.")] != []
    assert "By age, as they stand now" in done.stdout
    assert {line[:10] for line in lines if line.startswith("2013-")} == {"2013-04-01"}


def test_json_has_steps_moves_and_settled_values(evaluated: Material, run: Run) -> None:
    """Of every slice, unless one is asked for."""
    everything = json.loads(run("history", evaluated.monitoring, "--format", "json").stdout)
    one = json.loads(run("history", evaluated.monitoring, "--slice", "carrier=UA", "--format", "json").stdout)

    assert len(everything["moves"]) == len(everything["settled"]) == 2 * 2 * 2 * 2 * 3
    assert {str(move["slice"]) for move in one["moves"]} == {"{'carrier': 'UA'}"}
    assert [step["ledger_version"] for step in everything["steps"]] == [1, 2, 3, 1, 2, 3]
    assert sum(step["labels"].get("matched", 0) for step in everything["steps"]) == 192


def test_a_slice_is_written_as_field_and_value(evaluated: Material, run: Run) -> None:
    """The message shows how."""
    done = run("history", evaluated.monitoring, "--slice", "UA")

    assert done.exit_code == 2
    assert "carrier=UA" in done.stderr


def test_a_ledger_that_is_not_there_is_not_made(material: Material, run: Run) -> None:
    """There is no history yet."""
    done = run("history", material.monitoring)

    assert done.exit_code == 2
    assert "The first `otel-ml-metrics evaluate` makes it" in done.stderr
    assert not material.ledger.exists()
