"""What `init` writes: settings that load, a server that answers, deployment files that are those of the repository."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from otel_ml_metrics.checks.predictions import look_at_log
from otel_ml_metrics.configuration import TASKS, Evaluation
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.scaffold.tasks import LINES
from otel_ml_metrics.scaffold.writing import write_project

if TYPE_CHECKING:
    from tests.scaffold.conftest import Init

CHECKOUT: Final = Path(__file__).resolve().parents[2]

ASK: Final = """
import json, re, runpy, sys
from fastapi.testclient import TestClient
for folder in sys.argv[1:]:
    serving = runpy.run_path(f"{folder}/serving.py", run_name="serving")
    (request,) = re.findall(r"-d '(.*?)'", open(f"{folder}/README.md").read())
    client = TestClient(serving["app"])
    print(client.get("/health").status_code, client.post("/predict", json=json.loads(request)).status_code)
    print(serving["monitor"].shutdown())
"""
"""Ask the model servers of projects what their READMEs ask."""


def test_every_task_has_its_lines() -> None:
    """A task that monitoring.yaml knows can be started with."""
    assert set(LINES) == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_the_first_run_of_an_example_gives_every_measure(init: Init, task: str) -> None:
    """Predictions, labels and settings of each task fit together, so that a new user sees values at once."""
    folder = init("--task", task, "--example")
    evaluation = Evaluation.from_file(folder / "monitoring.yaml")

    with Evaluator(evaluation, environ={}) as evaluator:
        report = evaluator.run()

    assert {value.measure for value in report.values} == {measure.name for measure in evaluation.all_measures}
    assert {value.slice.get("country") for value in report.values} == {None, "DE", "FR", "NL"}


def test_the_model_server_answers_and_logs(tmp_path: Path) -> None:
    """The lines of each task work as they stand, and what they log is what monitoring.yaml expects."""
    folders = [tmp_path / task for task in TASKS]
    for folder in folders:
        write_project(folder, model="flights/delay", task=folder.name)

    asked = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASK, *map(str, folders)],
        env={"PYTHONPATH": str(CHECKOUT), "OTEL_METRICS_EXPORTER": "none"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert asked.stdout.splitlines() == ["200 200", "True"] * len(folders), asked.stderr
    for folder in folders:
        (found,) = look_at_log(Evaluation.from_file(folder / "monitoring.yaml"))
        assert "every field is there" in found.told, folder


def test_the_settings_teach_every_key(init: Init) -> None:
    """Whoever reads monitoring.yaml has seen everything that it may say."""
    written = "\n".join((init("--task", task) / "monitoring.yaml").read_text() for task in ["multiclass"])
    of_other_tasks = {"quantiles", "query"}

    keys = set(re.findall(r"^(?:# )?(\w+):", written, re.MULTILINE))

    assert set(Evaluation.__init__.__kwdefaults__ or {}) - of_other_tasks - keys == set()


def commented(text: str) -> list[tuple[str, Any]]:
    """The keys behind a #, with what they would say."""
    lines = re.findall(r"^# (\w+: .*)$", text, re.MULTILINE)
    return [pair for line in lines for pair in yaml.safe_load(line).items()]


def test_every_commented_key_can_be_used(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    """An example that does not work is worse than none; the two that name code and passwords of users find them."""
    folder = init()
    monkeypatch.setenv("SHOP_PASSWORD", "secret")
    monkeypatch.syspath_prepend(str(folder))
    (folder / "mypackage").mkdir()
    (folder / "mypackage" / "outcomes.py").write_text("def received(after, until):\n    return None\n")
    text = (folder / "monitoring.yaml").read_text(encoding="utf-8")
    examples = commented(text)
    assert len(examples) > 10

    for key, value in examples:
        said = yaml.safe_load(text) | {key: value} | ({"timestamps": "event"} if key == "resend_revisions" else {})
        if key == "provisional":
            said["hold_back"] = None
        (folder / "tried.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
        assert Evaluation.from_file(folder / "tried.yaml").model == "my-model", key


def test_the_code_is_tidy(init: Init) -> None:
    """The linter and the formatter of whoever takes the project over have nothing to say."""
    folder = init("--model", "m", "--task", "ranking")

    for command in (["check", "--select=A,B,D1,E,F,I,N,UP,W"], ["format", "--check", "--diff"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length=120", str(folder)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_left_blank(init: Init) -> None:
    """Every blank of every template was filled in."""
    folder = init()

    texts = {path: path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}

    assert [path for path, text in texts.items() if re.search(r"<<\w", text)] == []
    assert [path for path in texts if path.suffix == ".tmpl"] == []


def test_deployment_files_are_those_of_the_repository(init: Init) -> None:
    """What is deployed is what the tests of the repository run, not a second copy."""
    folder = init()

    for name in ("prefect.yaml", "collector-config.yaml", "docker-compose.yml"):
        source = (CHECKOUT / name).read_text(encoding="utf-8")
        assert (folder / name).read_text(encoding="utf-8") == source.replace("examples/deploy", "deploy")


def services_of(path: Path) -> dict[str, dict[str, Any]]:
    """The services of a compose file."""
    compose: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return compose["services"]


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.override.yml"])
def test_compose_files_meet_their_specification(init: Init, name: str) -> None:
    """Docker cannot run everywhere; the published schema of the specification can."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(init() / name)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout


def test_compose_finds_what_it_mounts_and_changes(init: Init) -> None:
    """The override names services that there are, and every file that is mounted or built was written."""
    folder = init()
    whole, changed = (services_of(folder / f"docker-compose{kind}.yml") for kind in ("", ".override"))
    mounts = [mount.split(":")[0] for each in whole.values() for mount in each.get("volumes", [])]
    builds = [each["build"]["dockerfile"] for each in whole.values() if "build" in each]

    assert changed.keys() <= whole.keys()
    assert [name for name in [*mounts, *builds] if "/" in name and not (folder / name).exists()] == []


def test_every_secret_of_the_compose_file_is_asked_for(init: Init) -> None:
    """What compose does not start without stands in .env.example, so `cp` and filling in is enough."""
    folder = init()
    required = set(re.findall(r"\$\{(\w+):\?", (folder / "docker-compose.yml").read_text(encoding="utf-8")))

    asked = set(re.findall(r"^(\w+)=", (folder / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))

    assert required
    assert required <= asked


def test_the_request_of_the_readme_is_json(init: Init) -> None:
    """The line to paste can be pasted, whatever the task."""
    (body,) = re.findall(r"-d '(.*?)'", (init("--task", "ranking") / "README.md").read_text(encoding="utf-8"))

    assert json.loads(body) == {"country": "NL", "amount": 250.0, "search_id": "s1"}
