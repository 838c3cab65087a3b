"""The command `check` on deployments and Prefect's API: schedules that cannot be read, keys, versions."""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from prefect.client.schemas.schedules import CronSchedule

from otel_ml_metrics.checks.cron import trouble_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.cli.conftest import Run
    from tests.flows.material import Material

pytestmark = pytest.mark.usefixtures("receiver")

DEPLOYMENTS: Final = (Path(__file__).resolve().parents[2] / "prefect.yaml").read_text(encoding="utf-8")
CRONS: Final = """
    * * * * *|7 * * * *|60 * * * *|* 24 * * *|* * 0 * *|* * 32 * *|* * * 13 *|* * * * 8|* * * * 7|@daily|@reboot||7
    */15 6-18 * * mon-fri|* * * jan,feb *|* * * * * *|* * * *|22-2 * * * *|* * * * fri-mon|* * L * *|* * * * fri#2
    * * ? * *|*/0 * * * *|*/70 * * * *|1,2,,3 * * * *|a * * * *|5/10 * * * *|* * * * sun|-1 * * * *|1-5/2 * * * *
    0 0 31 2 *|07 08 * * *|* * * * 5L|*,5 * * * *|* * * JAN MON|* * 1W * *|* * * * * 61|5-61 * * * *|x# * * * *
"""


@pytest.mark.parametrize("cron", [cron.strip() for line in CRONS.strip().splitlines() for cron in line.split("|")])
def test_a_cron_is_one_where_prefect_says_so(cron: str) -> None:
    """What is called wrong would be refused at deploy, and the other way about."""
    try:
        CronSchedule(cron=cron)
        is_one = True
    except ValueError:
        is_one = False

    assert (trouble_of(cron) is None) is is_one


def row(output: str, subject: str) -> list[str]:
    """The verdicts and words about one subject, what to do included."""
    found = ""
    for line in output.splitlines():
        if line[:1].strip():
            found += f"\n{line}"
        else:
            found += f" {line.strip()}"
    return [line for line in found.splitlines() if re.split("  +", line)[1:2] == [subject]]


def deploy(material: Material, *changes: tuple[str, str]) -> None:
    """Put the repository's prefect.yaml beside the settings, changed."""
    text = DEPLOYMENTS
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (material.folder / "prefect.yaml").write_text(text, encoding="utf-8")


@pytest.fixture
def deployable(material: Material, monkeypatch: pytest.MonkeyPatch) -> Material:
    """The small evaluation, with the variable that prefect.yaml takes."""
    monkeypatch.setenv("OTEL_ML_METRICS_MONITORING", str(material.monitoring))
    return material


def test_the_deployments_of_the_repository_are_in_order(deployable: Material, run: Run) -> None:
    """What `init` writes is right as it stands."""
    deploy(deployable)

    (told,) = row(run("check", deployable.monitoring).stdout, "deployments")

    assert told.startswith("ok")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("cron: 7 * * * *", "cron: 7 * * *", "'7 * * *' is no cron: it has 4 fields"),
        ("cron: 7 * * * *", "cron: 70 * * * *", "'70 * * * *' is no cron: its minute is '70', expected 0 to 59"),
        ("timezone: UTC", "timezone: Berlin", "'Berlin' is no time zone"),
        ("flows.evaluate_labels.evaluate", "flows.evaluate_label.evaluate", "there is no flow"),
    ],
)
def test_what_would_be_refused_at_deploy_is_told_with_its_line(
    deployable: Material, run: Run, *, old: str, new: str, told: str
) -> None:
    """Before `prefect deploy`, which would say it with less."""
    deploy(deployable, (old, new))

    done = run("check", deployable.monitoring)

    wrong = row(done.stdout, "deployments")[0]
    assert done.exit_code == 2
    assert wrong.startswith("fail")
    assert re.search(r"prefect\.yaml:\d+: evaluate-labels: ", wrong)
    assert told in wrong


def test_a_variable_that_deployments_need_is_named(material: Material, run: Run) -> None:
    """`prefect deploy` would deploy it empty, without a word."""
    deploy(material)

    (told,) = row(run("check", material.monitoring).stdout, "deployments")

    assert told.startswith("warn")
    assert "Set OTEL_ML_METRICS_MONITORING where `prefect deploy` runs." in told


@dataclass(frozen=True)
class Api:
    """Something that answers like Prefect's API.

    Args:
        url: Where it listens, with /api.
    """

    url: str


def answering(
    *, says: str, wants: str | None = None, has: Sequence[dict[str, object]] = (), leases: str = "memory"
) -> type[BaseHTTPRequestHandler]:
    """Answer with version and deployments those who know the key; anybody may ask for the health, as Prefect has it."""
    storage = f"prefect.server.concurrency.lease_storage.{leases}"
    settings = {"server": {"concurrency": {"lease_storage": storage}}}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self) -> None:
            known = wants is None or self.headers["Authorization"] == wants
            status, text = {
                "/api/health": (200, "true"),
                "/api/admin/version": (200, f'"{says}"') if known else (401, ""),
                "/api/admin/settings": (200, json.dumps(settings)) if known else (401, ""),
                "/api/deployments/filter": (200, json.dumps(has)) if known else (401, ""),
            }.get(self.path, (404, ""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """Say nothing."""

    return Handler


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[Api]:
    """Answer on a free port until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Api(f"http://127.0.0.1:{server.server_port}/api")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """An API as a test describes it, to which the environment points."""
    with serving(answering(**request.param)) as api:
        monkeypatch.setenv("PREFECT_API_URL", api.url)
        yield api


OURS: Final = version("prefect")
BASIC: Final = "Basic YWRtaW46c2VjcmV0"  # admin:secret


@pytest.mark.parametrize(
    ("api", "verdict", "told"),
    [
        ({"says": OURS}, "ok", f"answers with version {OURS}; {OURS} is installed here"),
        ({"says": "4.0.1"}, "fail", f"Run the same on both sides: a server of version {OURS}"),
        ({"says": "3.0.1"}, "warn", f"Take the server to {OURS}"),
        ({"says": OURS, "wants": BASIC}, "fail", "Set PREFECT_API_AUTH_STRING=user:password."),
    ],
    indirect=["api"],
)
@pytest.mark.usefixtures("api")
def test_the_api_is_asked_for_its_version(material: Material, run: Run, *, verdict: str, told: str) -> None:
    """Another major version, or a key that is missing, stops flows in ways that are hard to read."""
    (found,) = row(run("check", material.monitoring).stdout, "Prefect")

    assert found.startswith(verdict)
    assert told in found


@pytest.mark.parametrize("api", [{"says": OURS, "wants": BASIC}], indirect=True)
@pytest.mark.parametrize(
    ("auth", "verdict", "told"), [("admin:secret", "ok", "answers"), ("admin:old", "fail", "Mend PREFECT_API_AUTH")]
)
@pytest.mark.usefixtures("api")
def test_the_key_is_sent(
    material: Material, run: Run, monkeypatch: pytest.MonkeyPatch, *, auth: str, verdict: str, told: str
) -> None:
    """And a wrong one is told apart from a missing one; neither is shown."""
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", auth)

    output = run("check", material.monitoring).stdout

    (found,) = row(output, "Prefect")
    assert found.startswith(verdict)
    assert told in found
    assert auth not in output


@pytest.mark.parametrize(
    ("api", "found"),
    [
        (
            {"says": OURS},
            ["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem"],
        ),
        ({"says": OURS, "leases": "filesystem"}, []),
        ({"says": OURS, "wants": BASIC}, []),
    ],
    indirect=["api"],
)
@pytest.mark.usefixtures("api")
def test_a_server_that_forgets_who_is_at_work_is_told(material: Material, run: Run, found: list[str]) -> None:
    """After a power cut a run that is no more would hold the only place of its deployment for ever."""
    told = row(run("check", material.monitoring).stdout, "leases")

    assert [each.split("Start it with ")[1].rstrip(".") for each in told] == found


@pytest.mark.parametrize("api", [{"says": OURS}], indirect=True)
def test_an_address_without_its_path_is_told(
    api: Api, material: Material, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of the UI is what people paste."""
    monkeypatch.setenv("PREFECT_API_URL", api.url.removesuffix("/api"))

    (found,) = row(run("check", material.monitoring).stdout, "Prefect")

    assert found.startswith("fail")
    assert f"Write PREFECT_API_URL with /api at its end, such as {api.url}." in found


@pytest.mark.parametrize(
    ("address", "told"),
    [("http://127.0.0.1:9/api", "prefect server start"), ("localhost:4200/api", "like http://127.0.0.1:4200/api")],
)
def test_an_address_where_nobody_answers_is_told(
    material: Material, run: Run, monkeypatch: pytest.MonkeyPatch, *, address: str, told: str
) -> None:
    """The line says how to start a server, or how to write an address."""
    monkeypatch.setenv("PREFECT_API_URL", address)

    (found,) = row(run("check", material.monitoring).stdout, "Prefect")

    assert found.startswith("fail")
    assert told in found


def test_no_api_is_a_warning_where_prefect_is_installed(material: Material, run: Run) -> None:
    """Whoever evaluates by cron or by hand needs none."""
    done = run("check", material.monitoring)

    (found,) = row(done.stdout, "Prefect")
    assert found.startswith("warn")
    assert done.exit_code == 0


def deployed(monitoring: str, **changes: object) -> dict[str, object]:
    """A deployment as Prefect tells it."""
    return {
        "name": "served",
        "parameters": {"monitoring": monitoring},
        "schedules": [{"active": True}],
        "paused": False,
        "status": "READY",
        "work_pool_name": None,
    } | changes


@pytest.mark.parametrize(
    ("changes", "verdict", "told"),
    [
        ({}, "ok", "the deployment served is scheduled"),
        ({"status": "NOT_READY"}, "warn", "Start one: python -m otel_ml_metrics.flows.serve."),
        ({"status": "NOT_READY", "work_pool_name": "models"}, "warn", "prefect worker start --pool models"),
        ({"paused": True}, "warn", "has no active schedule"),
        ({"schedules": []}, "warn", "has no active schedule"),
        ({"parameters": {"monitoring": ["/other.yaml"]}}, "warn", "those that are there evaluate /other.yaml"),
    ],
)
def test_a_schedule_that_nobody_runs_is_told(
    material: Material,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    *,
    changes: dict[str, object],
    verdict: str,
    told: str,
) -> None:
    """Everything else can be right, and still nothing happens."""
    with serving(answering(says=OURS, has=[deployed(str(material.monitoring.resolve()), **changes)])) as api:
        monkeypatch.setenv("PREFECT_API_URL", api.url)
        (found,) = row(run("check", material.monitoring).stdout, "schedule")

    assert found.startswith(verdict)
    assert told in found


@pytest.mark.parametrize("api", [{"says": OURS}], indirect=True)
@pytest.mark.usefixtures("api")
def test_no_deployment_is_told_with_the_next_command(material: Material, run: Run) -> None:
    """The last step of a new user."""
    (found,) = row(run("check", material.monitoring).stdout, "schedule")

    assert found.startswith("warn")
    assert f"`python -m otel_ml_metrics.flows.serve {material.monitoring}`" in found
