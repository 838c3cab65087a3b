"""Run one flow again and again in one process, loaded by its entrypoint as a deployment would load it.

    python -m otel_ml_metrics.flows.sequence otel_ml_metrics.flows.evaluate_labels.evaluate_labels

Each line of standard input is a JSON object with the parameters of one run; each line of standard output is a JSON
object about it. The first line out says that Prefect's API answers, the end of standard input ends the process. For
programs that want flow runs but must not import Prefect, such as the demo. What Prefect logs goes to standard
error.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO, cast

from prefect.client.orchestration import get_client
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import State


def run_sequence(entrypoint: str, *, requests: Iterable[str], answers: TextIO) -> None:
    """Load the flow, then run it once per line of parameters.

    Args:
        entrypoint: Module path of a flow.
        requests: Lines of JSON objects, parameters of one run each.
        answers: Where to write a line per run: `name`, `state`, `ok`, `message`.
    """
    # The thread that sends heartbeats takes a second to end: too long for runs of a tenth of it.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), get_client(sync_client=True) as client:
        flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
        client.hello()
        say(answers, {"ready": flow.name})
        for line in requests:
            say(answers, outcome(flow, json.loads(line), client))


def outcome(flow: Flow[..., Any], parameters: dict[str, Any], client: SyncPrefectClient) -> dict[str, object]:
    """Run the flow once and say how it went; a failed run is an answer, not an error."""
    state = cast("State[Any]", flow(**parameters, return_state=True))
    run = state.state_details.flow_run_id
    return {
        "name": client.read_flow_run(run).name if run else "",
        "state": state.name,
        "ok": state.is_completed(),
        "message": state.message,
    }


def say(answers: TextIO, content: dict[str, object]) -> None:
    """Write one line at once."""
    answers.write(json.dumps(content) + "\n")
    answers.flush()


if __name__ == "__main__":
    protocol = sys.stdout
    with redirect_stdout(sys.stderr):
        run_sequence(sys.argv[1], requests=sys.stdin, answers=protocol)
