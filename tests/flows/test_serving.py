"""What cannot be served is told before anything is deployed, in words that say what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.flows.serve import main, troubles
from otel_ml_metrics.telemetry.grpc_receiver import GrpcReceiver
from tests.cli.test_checking_prefect import BASIC, OURS, answering, serving
from tests.flows.material import CLOSED_PORT

if TYPE_CHECKING:
    from otel_ml_metrics.telemetry.receiver import Receiver
    from tests.flows.material import Material

ALERT: Final = "alerts: [{measure: acuracy, below: 0.8}]\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--evaluate-labels", "7 * * *"], "'7 * * *' is no cron. Write minute, hour, day, month and weekday"),
        (["--keep-alive", "61 * * * *"], "'61 * * * *' is no cron. Write minute, hour, day, month and weekday"),
        (["--every", "hourly"], "'hourly' is no duration. Write a whole number above 0 and a unit"),
        (["--every", "0h"], "'0h' is no duration"),
    ],
)
def test_an_option_that_is_wrong_is_told(
    material: Material, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    """Prefect would take some of them, and never run."""
    with pytest.raises(SystemExit) as refused:
        main([str(material.monitoring), *arguments])

    assert refused.value.code == 2
    assert told in " ".join(capsys.readouterr().err.split())


def test_a_measure_that_an_alert_misspells_is_told(material: Material, capsys: pytest.CaptureFixture[str]) -> None:
    """With its line, and the names that would have worked."""
    known = material.monitoring.read_text(encoding="utf-8")
    material.monitoring.write_text(known + ALERT, encoding="utf-8")

    code = main([str(material.monitoring)])

    told = capsys.readouterr().err
    assert code == 2
    assert "monitoring.yaml:14: alerts[0].measure: found 'acuracy'" in told
    assert "Did you mean 'accuracy'?" in told


@pytest.mark.parametrize(
    ("auth", "says", "told"),
    [
        (None, OURS, "Set PREFECT_API_AUTH_STRING=user:password."),
        ("admin:wrong", OURS, "Mend PREFECT_API_AUTH_STRING."),
        ("admin:secret", "4.0.1", f"Run the same on both sides: a server of version {OURS}"),
    ],
)
@pytest.mark.usefixtures("receiver")
def test_an_api_that_takes_no_deployments_is_told(
    material: Material, capsys: pytest.CaptureFixture[str], *, auth: str | None, says: str, told: str
) -> None:
    """A password that is missing or wrong, or another major version."""
    with (
        serving(answering(says=says, wants=BASIC)) as api,
        temporary_settings({PREFECT_API_URL: api.url, PREFECT_API_AUTH_STRING: auth}),
    ):
        code = main([str(material.monitoring)])

    assert code == 2
    assert told in capsys.readouterr().err


@pytest.mark.usefixtures("receiver")
def test_an_api_that_nobody_answers_at_is_told(material: Material, capsys: pytest.CaptureFixture[str]) -> None:
    """The line says how to start one."""
    with temporary_settings({PREFECT_API_URL: f"{CLOSED_PORT}/api"}):
        code = main([str(material.monitoring)])

    assert code == 2
    assert "prefect server start" in capsys.readouterr().err


def test_an_endpoint_of_another_protocol_is_told(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the setting to change, and apart from what keeps the flows from being served."""
    with GrpcReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        (found,) = troubles(Evaluation.from_file(material.monitoring))

    assert found.subject == "endpoint"
    assert "set OTEL_EXPORTER_OTLP_PROTOCOL=grpc" in found.fix


def test_nothing_is_said_where_all_is_well(material: Material, receiver: Receiver) -> None:
    """A line that is always there is not read."""
    with serving(answering(says=OURS)) as api, temporary_settings({PREFECT_API_URL: api.url}):
        found = troubles(Evaluation.from_file(material.monitoring))

    assert found == []
    assert receiver.exchanges
