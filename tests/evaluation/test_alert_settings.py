"""What monitoring.yaml may say under `alerts:` and `dashboard:`, and what is refused with what would have worked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

GOOD: Final = """\
model: flight-delay
predictions: predictions
labels: {path: labels}
ledger: sqlite:///ledger.db
attribution_window: 1d
maturities: [6h]
slices: [carrier, [carrier, origin]]
measures: [accuracy, log_loss]
dashboard: https://grafana.example.com/d/${BOARD}
alerts:
  - {measure: accuracy, below: 0.8}
  - {measure: log_loss, rise: 10%, against: previous_window, maturity: 6h,
     slices: [carrier, {carrier: UA, origin: EWR}]}
  - {name: worse_than_champion, measure: accuracy, drop: 0.02, against: {variant: champion}, severity: critical,
     variant: challenger, minimum_support: 1, minimum_coverage: 0.9, description: "Do not promote it"}
"""


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that the good file reads."""
    monkeypatch.setenv("BOARD", "flights")


def read(folder: Path, text: str) -> Evaluation:
    """The evaluation that a file of this text makes."""
    path = folder / "monitoring.yaml"
    path.write_text(text)
    return Evaluation.from_file(path)


def with_alerts(*alerts: Any, **other: Any) -> Evaluation:
    """The same in code, with these alerts."""
    labels = {"path": "labels"}
    given: dict[str, Any] = {"labels": labels, "measures": ["accuracy", "log_loss"], "attribution_window": "1d"} | other
    return Evaluation(model="m", predictions="p", ledger="sqlite:///l.db", alerts=alerts, **given)


@pytest.mark.usefixtures("board")
def test_an_alert_is_a_line(tmp_path: Path) -> None:
    """The shortest one is a measure and a bound; rules read as sentences."""
    short, relative, long = read(tmp_path, GOOD).alerts

    assert (short.name, short.rule) == ("accuracy_below", "accuracy below 0.8")
    assert relative.rule == "log_loss rises by more than 10% against the window before"
    assert long.rule == "accuracy drops by more than 0.02 against variant champion"
    assert relative.slices == ({"carrier": None}, {"carrier": "UA", "origin": "EWR"})
    assert (long.severity, long.variant, long.minimum_support, long.minimum_coverage) == (
        "critical", "challenger", 1, 0.9,
    )  # fmt: skip


@pytest.mark.usefixtures("board")
def test_an_alert_that_says_little_waits_for_the_whole_picture(tmp_path: Path) -> None:
    """All rows at the last maturity, with rows and labels enough: what is immature never pages."""
    short = read(tmp_path, GOOD).alerts[0]

    assert (str(short.maturity), short.slices) == ("1d", ({},))
    assert (short.minimum_support, short.minimum_coverage, short.severity) == (100, 0.5, "warning")


def test_where_silence_means_no_few_labels_are_no_reason_to_wait() -> None:
    """Coverage counts explicit labels only, which stay few there for ever."""
    (alert,) = with_alerts({"measure": "accuracy", "below": 0.8}, implicit_negative={"grace": "1d"}).alerts

    assert (str(alert.maturity), alert.minimum_coverage) == ("2d", 0.0)


@pytest.mark.usefixtures("board")
def test_the_dashboard_is_read_from_the_environment(tmp_path: Path) -> None:
    """One monitoring.yaml serves staging and production."""
    assert read(tmp_path, GOOD).dashboard == "https://grafana.example.com/d/flights"


@pytest.mark.usefixtures("board")
@pytest.mark.parametrize(
    ("right", "wrong", "line", "told"),
    [
        ("{measure: accuracy, below", "{measure: acuracy, below", 11, "accuracy, log_loss; Did you mean 'accuracy'"),
        ("{measure: accuracy, below", "{measure: recall, below", 11, "declared measures: accuracy, log_loss"),
        ("below: 0.8", "bellow: 0.8", 11, "'below'"),
        ("below: 0.8", "below: 80", 11, "a number from 0 to 1"),
        ("below: 0.8", "below: .nan", 11, "a number from 0 to 1"),
        ("below: 0.8", "below: 80%", 11, "a number from 0 to 1"),
        ("below: 0.8", "below: 0.8, above: 0.9", 11, "exactly one of above, below, drop, rise"),
        ("below: 0.8", "below: 0.8, against: previous_window", 11, "drop: or rise:"),
        ("below: 0.8", "below: 0.8, minimum_support: 0", 11, "a whole number from 1"),
        ("below: 0.8", "below: 0.8, minimum_coverage: 90", 11, "a share from 0 to 1"),
        ("below: 0.8", "below: 0.8, severity: page", 11, "critical, warning, info"),
        ("below: 0.8", "below: 0.8, name: 'a b'", 11, "letters, digits, _ and -"),
        ("below: 0.8", "below: 0.8, name: worse_than_champion", 14, "twice"),
        ("rise: 10%", "rise: -0.1", 12, "not negative"),
        ("against: previous_window", "against: champion", 12, "{variant: champion}"),
        ("maturity: 6h,", "maturity: 12h,", 12, "one of the maturities, 6h, 1d"),
        ("[carrier, {", "[origin, {", 13, "declared: carrier, carrier x origin"),
        ("variant: challenger", "variant: champion", 15, "another variant"),
        ("measures: [", "by: [version]\nmeasures: [", 15, "Name variant under by:"),
        ("https://grafana.example.com/d/${BOARD}", "grafana", 9, "a URL to open"),
    ],
)
def test_an_error_names_its_line_and_offers_what_works(
    tmp_path: Path, right: str, wrong: str, line: int, told: str
) -> None:
    """An alert that could never fire, or always would, is told at set-up."""
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, GOOD.replace(right, wrong, 1))

    assert f":{line}:" in str(raised.value)
    assert told in str(raised.value)


@pytest.mark.parametrize("found", ["accuracy < 0.8", 3, {"below": 0.8}, {"measure": ["accuracy"], "below": 1}])
def test_what_is_no_alert_is_refused(found: object) -> None:
    """The error shows one that is."""
    with pytest.raises(ConfigurationError, match=r"alerts\[0\].*expected (a mapping such as|one of the declared)"):
        with_alerts(found)
