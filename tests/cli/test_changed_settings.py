"""A monitoring.yaml that changes over a live ledger: what it takes over, what it refuses, and what it says then."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.cli.conftest import Run
    from tests.flows.material import Material

MIDDLE: Final = "2013-04-03T06:00Z"
LAST: Final = "2013-04-04"
SECOND: Final = "2013-04-02T00:00:00Z"

TAKEN_OVER: Final = {
    "a measure more": ("log_loss]", "log_loss, brier_score]"),
    "a declared measure more": ("log_loss]", "log_loss, {name: s, unit: '1', sum: score, description: All}]"),
    "a binned measure more": ("log_loss]", "log_loss, roc_auc]"),
    "a measure less": ("accuracy, log_loss]", "accuracy]"),
    "another measure": ("accuracy, log_loss]", "accuracy, f1]"),
    "a slice more": ("slices: []", "slices: [carrier]"),
    "a slice less": ("slices: [carrier]", "slices: []"),
    "an age more": ("[6h, 1d]", "[3h, 6h, 1d]"),
    "an age less": ("[6h, 1d]", "[1d]"),
    "another order": ("[accuracy, log_loss]", "[log_loss, accuracy]"),
    "another service": ("service: flight-delay-api", "service: another-api"),
    "the history in place of the state": ("by: [variant]", "by: [variant]\ntimestamps: event"),
}
FIRST: Final = {"a slice more": ("slices: [carrier]", "slices: []")}
"""What the settings are at first, where they are not the material's."""

REFUSED: Final = {
    "window": ("window: 1d\natt", "window: 6h\natt"),
    "window_offset": ("window: 1d\natt", "window: 1d\nwindow_offset: 6h\natt"),
    "attribution_window": ("attribution_window: 1d", "attribution_window: 2d"),
    "grace": ("attribution_window: 1d", "attribution_window: 1d\nimplicit_negative: {grace: 6h}"),
    "by": ("by: [variant]", "by: [version, variant]"),
    "tile": ("by: [variant]", "by: [variant]\nprovisional: true"),
    "model": ("model: flight-delay\n", "model: flight-delays\n"),
    "another expression": ("sum: score", "sum: score * 2"),
    "aggregate": ("label: late,", "label: late, aggregate: any,"),
    "key": ("id: prediction_id,", "key: carrier,"),
}
OWN: Final = "[accuracy, log_loss, {name: own, unit: '1', sum: score, description: All}]"


def change(material: Material, old: str, new: str) -> None:
    """Write something else into monitoring.yaml."""
    written = material.monitoring.read_text(encoding="utf-8")
    assert written.count(old) == 1
    material.monitoring.write_text(written.replace(old, new), encoding="utf-8")


def evaluate(run: Run, material: Material, as_of: str) -> dict[str, Any]:
    """Evaluate, and read the report."""
    done = run("evaluate", material.monitoring, "--as-of", as_of, "--format", "json")
    assert done.exit_code == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def named(report: Mapping[str, Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    """The values of a report, by what they are the values of, each once."""
    names = ("measure", "window_start", "maturity", "variant")
    found = {(*(str(value[name]) for name in names), json.dumps(value["slice"])): value for value in report["values"]}
    assert len(found) == len(report["values"])
    return found


@pytest.mark.parametrize("which", TAKEN_OVER)
def test_what_is_taken_over_is_as_if_it_had_always_been_so(material: Material, run: Run, which: str) -> None:
    """Every window, those that were final long ago included; and only what is new is told."""
    if which in FIRST:
        change(material, *FIRST[which])
    before = named(evaluate(run, material, MIDDLE))
    change(material, *TAKEN_OVER[which])

    told = named(evaluate(run, material, LAST))
    found = [named(evaluate(run, material, as_of)) for as_of in (MIDDLE, "2013-04-03T12:00Z")]
    again = evaluate(run, material, LAST)
    change(material, "ledger.db", "fresh.db")
    fresh = {**named(evaluate(run, material, MIDDLE)), **named(evaluate(run, material, LAST))}

    assert found[0] == {key: value for key, value in fresh.items() if key in found[0]}
    assert again["values"] == []
    assert told == {key: value for key, value in fresh.items() if before.get(key) != value}


@pytest.mark.parametrize("which", REFUSED)
def test_what_would_mix_two_meanings_is_refused(material: Material, run: Run, which: str) -> None:
    """Exit code 2 with what changed and how to go on; the old settings and a new ledger both do."""
    change(material, "[accuracy, log_loss]", OWN)
    before = evaluate(run, material, MIDDLE)
    written = material.monitoring.read_text(encoding="utf-8")
    change(material, *REFUSED[which])

    refused = run("evaluate", material.monitoring, "--as-of", LAST)
    refilled = run("backfill", material.monitoring, "--since", "2013-04-01", "--until", "2013-04-02")
    changed = material.monitoring.read_text(encoding="utf-8")
    material.monitoring.write_text(written, encoding="utf-8")
    after = evaluate(run, material, MIDDLE)

    assert (refused.exit_code, refilled.exit_code) == (2, 2)
    assert which in refused.stderr
    assert "new ledger" in refused.stderr
    assert refilled.stderr == refused.stderr
    assert (after["values"], after["ledger_version"]) == ([], before["ledger_version"] + 1)
    if which not in {"model", "key"}:  # of which log and labels have nothing
        material.monitoring.write_text(changed.replace("ledger.db", "fresh.db"), encoding="utf-8")
        assert evaluate(run, material, LAST)["values"]


def test_an_age_in_other_words_is_the_same(material: Material, run: Run) -> None:
    """Nothing is new, so nothing is told."""
    evaluate(run, material, LAST)
    change(material, "[6h, 1d]", "[360m, 24h]")

    assert evaluate(run, material, LAST)["values"] == []


def test_another_name_is_refused(material: Material, run: Run) -> None:
    """It may be another evaluation that was given this ledger by mistake."""
    evaluate(run, material, MIDDLE)
    change(material, "name: flight-delay-api/", "name: flights/")

    refused = run("evaluate", material.monitoring, "--as-of", LAST)

    assert refused.exit_code == 2
    assert "write name: flight-delay-api/flight-delay again" in refused.stderr


@pytest.mark.parametrize("arguments", [("--as-of", "2013-04-02"), ("--as-of", LAST, "--dry-run")])
def test_a_query_waits_for_the_run_that_takes_the_change_over(
    material: Material, run: Run, arguments: tuple[str, ...]
) -> None:
    """The ledger has no sums of what is new yet, and a query makes none."""
    evaluate(run, material, MIDDLE)
    change(material, "log_loss]", "log_loss, f1]")

    refused = run("evaluate", material.monitoring, *arguments)
    evaluate(run, material, LAST)

    assert refused.exit_code == 2
    assert "changed since the last run" in refused.stderr
    assert run("evaluate", material.monitoring, *arguments).exit_code == 0


def test_a_backfill_takes_a_change_over_as_well(material: Material, run: Run) -> None:
    """For every window, whatever its range is: a ledger has sums of one definition."""
    evaluate(run, material, LAST)
    change(material, "log_loss]", "log_loss, f1]")

    done = run("backfill", material.monitoring, "--since", "2013-04-02", "--until", "2013-04-03", "--format", "json")

    told = named(json.loads(done.stdout))
    assert done.exit_code == 0
    assert {(measure, start) for measure, start, *_ in told} == {("f1", "2013-04-01T00:00:00Z"), ("f1", SECOND)}


def test_what_went_comes_back_as_it_was(material: Material, run: Run) -> None:
    """Its values are told anew, since they were not there for a while."""
    first = named(evaluate(run, material, LAST))
    change(material, "accuracy, log_loss]", "accuracy]")
    evaluate(run, material, LAST)
    change(material, "[accuracy]", "[accuracy, log_loss]")

    back = named(evaluate(run, material, LAST))

    assert back == {key: value for key, value in first.items() if key[0] == "log_loss"}
